//! The command line's way into a running server on its machine: a Unix socket next to the store, over which
//! [`commands`] pass.
//!
//! The file has mode 0600 before anybody can connect, and the peer's user is asked of the kernel as well: the server's own,
//! or root. Whoever binds holds the store's lock, so a socket file that is there already is a dead server's and may be
//! replaced.

#[cfg(test)]
mod tests;

use std::fs::{File, Permissions};
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::commands::{self, Answer, AskError, BEAT, LONGEST, SILENCE, carry_out};
use crate::keyring::command::{By, Command, Outcome, Problem};
use crate::keyring::receipt::Done;

/// Where the socket of the store in file `database` is.
#[must_use]
pub fn path_beside(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".sock");
    path.into()
}

/// The server's end. The file is gone when this is dropped.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Binds `path`. The caller holds the store's lock.
    ///
    /// # Errors
    /// What the system says, or that something other than a socket is in the way.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
            Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "something that is no socket is in the way")),
            Err(_) => {}
        }
        let address = Address::of(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(&address.path)?)?;
        // Between bind and listen every connect is refused, so at no moment can others come in.
        std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
        socket.listen(64)?;
        socket.set_nonblocking(true)?;
        let listener = UnixListener::from_std(OwnedFd::from(socket).into())?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Answers clients until `shutdown`, then lets commands in hand finish for a few seconds.
    ///
    /// Whatever a command changed holds here when `operate` answers, and as widely as its receipt says; the client hears it no
    /// sooner.
    pub async fn serve<F, A>(self, operate: F, shutdown: impl Future<Output = ()>)
    where
        F: Fn(By, Command, Duration) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<Done, Problem>> + Send,
    {
        let own = rustix::process::geteuid().as_raw();
        let places = Arc::new(Semaphore::new(CLIENTS));
        let mut clients = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            let accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, self.listener.accept().await)
            };
            tokio::select! {
                () = &mut shutdown => break,
                Some(_) = clients.join_next() => {}
                (place, accepted) = accepted => match accepted {
                    Ok((stream, _)) => {
                        let operate = operate.clone();
                        clients.spawn(async move {
                            let _place = place;
                            let peer = stream.peer_cred().map(|peer| peer.uid());
                            let peer = peer.ok().filter(|peer| may_ask(*peer, own)).map(By::command_line);
                            if let Err(error) = converse(stream, peer, operate).await {
                                tracing::debug!(%error, "a client of the command socket left early");
                            }
                        });
                    }
                    Err(error) => {
                        // Too many open files, most likely; trying again at once would only burn the core.
                        tracing::warn!(%error, "the command socket cannot accept a client");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
        drop(self);
        let finish = async { while clients.join_next().await.is_some() {} };
        let _ = timeout(FINISH, finish).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The command line's end.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    /// How long to wait for a server that says nothing.
    patience: Duration,
}

impl Client {
    /// Connects to the server behind `path`; none where no server is.
    ///
    /// # Errors
    /// What the system says otherwise, such as that this user may not.
    pub async fn connect(path: &Path) -> io::Result<Option<Self>> {
        let address = Address::of(path)?;
        match UnixStream::connect(&address.path).await {
            Ok(stream) => Ok(Some(Self { stream: BufReader::new(stream), patience: SILENCE })),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Has the server carry `command` out. What it takes away is taken away everywhere when this answers.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask(&mut self, command: Command) -> Result<Outcome, AskError> {
        self.ask_within(command, Duration::MAX).await?.in_force().map_err(AskError::Problem)
    }

    /// The same, but waits for others no longer than patience lasts, and tells how far it came.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask_within(&mut self, command: Command, patience: Duration) -> Result<Done, AskError> {
        let line = commands::line(command, patience)?;
        // A server that refuses may answer and leave before it has read everything; its answer says more than the error.
        let sent = self.send(&line).await;
        if let Err(error) = &sent
            && error.kind() == io::ErrorKind::TimedOut
        {
            return Err(AskError::NotTaken { server: self.server(), patience: self.patience });
        }
        loop {
            let answer = match self.hear().await {
                Ok(answer) => answer,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return Err(AskError::Silent { server: self.server(), patience: self.patience });
                }
                Err(lost) => {
                    let server = self.server();
                    return Err(match sent {
                        Err(error) => AskError::NotSent { server, error: error.into() },
                        Ok(()) => AskError::Lost { server, error: lost.into() },
                    });
                }
            };
            if let Some(done) = commands::heard(&answer, || self.server())? {
                return Ok(done);
            }
        }
    }

    /// Sends it all, however long that takes, as long as it goes on.
    async fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = timeout(self.patience, self.stream.get_mut().write(bytes)).await??;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Reads a line, however long that takes, as long as it goes on.
    async fn hear(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            let bytes = timeout(self.patience, self.stream.fill_buf()).await??;
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let count = end.map_or(bytes.len(), |end| end + 1);
            line.extend_from_slice(&bytes[..count]);
            self.stream.consume(count);
            match (end, count) {
                (Some(_), _) => return Ok(line),
                (None, 0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                (None, _) => {}
            }
        }
    }

    /// The server as a message names it.
    fn server(&self) -> String {
        let process = self.stream.get_ref().peer_cred().ok().and_then(|peer| peer.pid());
        process.map_or_else(|| "the running server".to_owned(), |pid| format!("the running server (process {pid})"))
    }
}

/// `peer` is who is there, where they may ask.
async fn converse<F, A>(stream: UnixStream, peer: Option<By>, operate: F) -> io::Result<()>
where
    F: Fn(By, Command, Duration) -> A,
    A: Future<Output = Result<Done, Problem>>,
{
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = if peer.is_some() { LONGEST } else { 0 };
        let mut bounded = (&mut stream).take(limit as u64);
        timeout(PATIENCE, bounded.read_until(b'\n', &mut line)).await??;
        let whole = line.last() == Some(&b'\n');
        if peer.is_some() && !whole && line.len() < LONGEST {
            return Ok(());
        }
        let answer = match (&peer, whole) {
            (None, _) => Answer::Refused("only root and the user it runs as may give it commands".to_owned()),
            (Some(_), false) => Answer::Refused(format!("the command is longer than {LONGEST} bytes")),
            (Some(peer), true) => {
                attend(stream.get_mut(), &line, |command, patience| operate(peer.clone(), command, patience)).await
            }
        };
        say(stream.get_mut(), &answer).await?;
        if peer.is_none() || !whole {
            return Ok(());
        }
    }
}

async fn say(stream: &mut UnixStream, answer: &Answer) -> io::Result<()> {
    timeout(PATIENCE, stream.write_all(&answer.line())).await?
}

/// Carries a command out, and tells who waits for it that it is being worked on. A client that left changes nothing.
async fn attend<F, A>(stream: &mut UnixStream, line: &[u8], operate: F) -> Answer
where
    F: Fn(Command, Duration) -> A,
    A: Future<Output = Result<Done, Problem>>,
{
    let mut work = std::pin::pin!(carry_out(line, operate));
    loop {
        match timeout(BEAT, work.as_mut()).await {
            Ok(answer) => return answer,
            Err(_) => {
                let _ = say(stream, &Answer::Working).await;
            }
        }
    }
}

/// Whether a process of user `peer` may give commands to one of user `own`.
const fn may_ask(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

/// A path short enough for the system: 107 bytes is all a socket's address holds, so a longer one is reached through its
/// open folder.
struct Address {
    path: PathBuf,
    _folder: Option<File>,
}

impl Address {
    fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().as_bytes().len() <= SUN_PATH {
            return Ok(Self { path: path.to_owned(), _folder: None });
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no path of a socket"));
        };
        // A bare name lies where this process stands.
        let folder = File::open(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
        let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
        if short.as_os_str().as_bytes().len() > SUN_PATH {
            let message = "the file name is too long for a socket: keep the store's below 80 bytes";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(Self { path: short, _folder: Some(folder) })
    }
}

/// Longest path in a socket's address, without the zero byte at its end.
const SUN_PATH: usize = 107;
/// Clients at one time; the next waits.
const CLIENTS: usize = 16;
/// How long a client may keep its place without saying or taking anything whole.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long commands in hand may take at the end.
const FINISH: Duration = Duration::from_secs(5);
