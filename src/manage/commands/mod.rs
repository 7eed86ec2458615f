//! What the command line and a running server say to each other, over the [socket](super::socket) beside the store or over
//! HTTP: a command there, its outcome back, a line of JSON each.
//!
//! ```text
//!  keyward key revoke … --{"v":2,"command":…}\n--> socket, or POST /v1/commands --operate--> keyring
//!                       <--"working" …--'                                                      |
//!                       <--{"ok":…} | {"problem":…} | {"refused":…}----------------------------'
//! ```
//!
//! While a command takes long a line now and then says so: a server that says nothing at all is stopped or stuck, and its
//! client need not wait for ever. No secret passes here, only imprints. Both sides are of one version, or refuse each other:
//! this is no interface for others, who have the native API.

mod reply;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(super) use self::reply::{Reply, greeting, reply};
use crate::keyring::command::{Command, Problem};
use crate::keyring::receipt::Done;
use crate::net::BoxError;

/// A command as it is sent.
#[derive(Serialize, Deserialize)]
pub(super) struct Request {
    v: u32,
    command: Command,
    /// How long to wait until it is true everywhere.
    patience: Duration,
}

/// Read before the rest, which another version may shape differently.
#[derive(Deserialize)]
struct RequestVersion {
    v: u32,
}

/// `command` as it is sent, in one line, and how long is waited until it is true everywhere.
///
/// # Errors
/// [`AskError::TooLong`]: more than a server takes.
pub fn line(command: Command, patience: Duration) -> Result<Vec<u8>, AskError> {
    let unreadable = |why| AskError::Unreadable { server: "this keyward".to_owned(), why };
    let mut line = serde_json::to_vec(&Request { v: VERSION, command, patience }).map_err(unreadable)?;
    line.push(b'\n');
    if line.len() > LONGEST { Err(AskError::TooLong { bytes: line.len() }) } else { Ok(line) }
}

/// What a server says of a command.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// It was carried out.
    Ok(Box<Done>),
    /// The keyring did not carry it out.
    Problem(Problem),
    /// It was not looked at.
    Refused(String),
    /// Not the answer yet.
    Working,
}

impl Answer {
    /// As it is sent.
    pub(super) fn line(&self) -> Vec<u8> {
        // What is written is ours, and a vector takes all of it; a line that it did not is one that the client cannot read.
        let mut text = serde_json::to_vec(self).unwrap_or_default();
        text.push(b'\n');
        text
    }
}

/// What a line of `server` says; none where it is not the answer yet.
///
/// # Errors
/// The command was not carried out, or nobody can tell.
pub fn heard(line: &[u8], server: impl Fn() -> String) -> Result<Option<Done>, AskError> {
    match serde_json::from_slice(line).map_err(|why| AskError::Unreadable { server: server(), why })? {
        Answer::Ok(done) => Ok(Some(*done)),
        Answer::Problem(problem) => Err(AskError::Problem(problem)),
        Answer::Refused(why) => Err(AskError::Refused { server: server(), why }),
        Answer::Working => Ok(None),
    }
}

/// Carries out the command in `line`.
pub(super) async fn carry_out<F, A>(line: &[u8], operate: F) -> Answer
where
    F: Fn(Command, Duration) -> A,
    A: Future<Output = Result<Done, Problem>>,
{
    match serde_json::from_slice(line) {
        Ok(RequestVersion { v: VERSION }) => {}
        Ok(RequestVersion { v }) => return Answer::Refused(format!("it speaks version {VERSION}, not {v}")),
        Err(error) => return Answer::Refused(format!("not a command: {error}")),
    }
    let Request { command, patience, .. } = match serde_json::from_slice(line) {
        Ok(request) => request,
        Err(error) => return Answer::Refused(format!("not a command: {error}")),
    };
    match operate(command, patience).await {
        Ok(done) => Answer::Ok(Box::new(done)),
        Err(problem) => Answer::Problem(problem),
    }
}

/// What a server says to who asks how it wants to be spoken to.
#[derive(Debug, Serialize, Deserialize)]
pub struct Greeting {
    /// The version of the commands that it understands.
    pub v: u32,
    /// Its own version.
    pub keyward: String,
}

/// Why a command brought no outcome back.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The keyring did not carry it out.
    #[error(transparent)]
    Problem(Problem),
    /// The server did not look at it.
    #[error("{server} refuses: {why}")]
    Refused {
        /// Who.
        server: String,
        /// Its words.
        why: String,
    },
    /// It never reached the server.
    #[error("{server} hung up before the command was sent; nothing was changed")]
    NotSent {
        /// Who.
        server: String,
        /// What the system says.
        #[source]
        error: BoxError,
    },
    /// The server was lost before it answered.
    #[error(
        "the connection to {server} was lost before it answered; the command may have been carried out: look with `list` or \
         `show` before trying again"
    )]
    Lost {
        /// Who.
        server: String,
        /// What the system says.
        #[source]
        error: BoxError,
    },
    /// The server has the command and says nothing, not even that it works on it.
    #[error(
        "{server} has said nothing for {patience:?}: it is stopped or overloaded. It may yet carry the command out, as soon \
         as it goes on: look with `list` or `show` before trying again"
    )]
    Silent {
        /// Who.
        server: String,
        /// How long it was waited for.
        patience: Duration,
    },
    /// The server did not take the whole command.
    #[error("{server} has taken nothing for {patience:?}: it is stopped or overloaded; nothing was changed")]
    NotTaken {
        /// Who.
        server: String,
        /// How long it was waited for.
        patience: Duration,
    },
    /// More than one line may hold.
    #[error(
        "the command has {bytes} bytes, more than a running server takes ({LONGEST}); give it in parts, or stop the server and \
         try again"
    )]
    TooLong {
        /// Length of the command.
        bytes: usize,
    },
    /// The two are not of the same version, most likely.
    #[error("cannot make sense of what {server} says; is it of another version?")]
    Unreadable {
        /// Who.
        server: String,
        /// Why not.
        #[source]
        why: serde_json::Error,
    },
}

/// The version of what is said here. It changes with whatever either side could misread.
pub const VERSION: u32 = 2;
/// Longest command: an import of 100,000 keys has about 40 MiB.
pub const LONGEST: usize = 64 << 20;
/// How often a client that waits is told that its command is being worked on.
pub(super) const BEAT: Duration = Duration::from_secs(3);
/// How long a client waits for a server that says nothing and takes nothing.
pub const SILENCE: Duration = Duration::from_secs(15);
