//! Tells when files are no longer what they were.
//!
//! The system tells at once of changes in a directory, where the file system can; a look at the contents now and then finds the
//! rest. It is directories that are watched, because a file is mostly replaced by another of its name, and every one in
//! which a symbolic link on the way stands: Kubernetes swaps the link `..data`, certbot points its links elsewhere.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::config::{Prints, ReloadConfig};

/// Files under watch.
pub(super) struct Watch {
    config: ReloadConfig,
    prints: Prints,
    told: mpsc::Receiver<()>,
    tell: mpsc::Sender<()>,
    system: Option<System>,
    warned: bool,
}

/// What the system was asked to watch.
struct System {
    _watcher: RecommendedWatcher,
    entries: BTreeSet<PathBuf>,
}

impl Watch {
    /// Watches the files of `prints`, whose contents these were.
    pub(super) fn new(config: ReloadConfig, prints: Prints) -> Self {
        let (tell, told) = mpsc::channel(1);
        let mut watch = Self { config, prints, told, tell, system: None, warned: false };
        watch.arm();
        watch
    }

    /// Watches these from now on.
    pub(super) fn follow(&mut self, config: &ReloadConfig, prints: Prints) {
        self.config.clone_from(config);
        self.prints = prints;
        self.arm();
    }

    /// Waits until a file is not what it was. Called again before [`Self::follow`], it may tell of the same change.
    pub(super) async fn changed(&mut self) {
        if !self.config.watch {
            return std::future::pending().await;
        }
        loop {
            // Before the first waiting too: what changed before the system was asked to watch, it does not tell of.
            let before = self.prints.clone();
            let now = tokio::task::spawn_blocking(move || before.again()).await;
            if now.is_ok_and(|now| now != self.prints) {
                return self.calm().await;
            }
            // A link may lead another way to the same content.
            if self.arm() {
                continue;
            }
            tokio::select! {
                Some(()) = self.told.recv() => {}
                () = pause(self.config.poll.0) => {}
            }
        }
    }

    /// Waits until nothing more comes for a moment: files are written in pieces, and certificates change with their keys.
    async fn calm(&mut self) {
        let calm = async { while timeout(MOMENT, self.told.recv()).await.is_ok() {} };
        let _ = timeout(LONGEST, calm).await;
    }

    /// Asks the system to watch what is to be watched now, and tells whether that is news to it.
    fn arm(&mut self) -> bool {
        if !self.config.watch {
            self.system = None;
            return false;
        }
        let entries: BTreeSet<PathBuf> = self.prints.files().flat_map(entries).collect();
        if self.system.as_ref().is_some_and(|system| system.entries == entries) {
            return false;
        }
        // The new one first, so that nothing falls between the two.
        match self.watcher(&entries) {
            Ok(watcher) => {
                self.system = Some(System { _watcher: watcher, entries });
                return true;
            }
            Err(error) if !std::mem::replace(&mut self.warned, true) => {
                tracing::warn!(%error, poll = %self.config.poll, "the system tells of no changed files; they are only looked at");
            }
            Err(_) => {}
        }
        false
    }

    fn watcher(&self, entries: &BTreeSet<PathBuf>) -> notify::Result<RecommendedWatcher> {
        let (tell, ours) = (self.tell.clone(), entries.clone());
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| matters(&event, &ours)) {
                // Where it is full, it says so already.
                let _ = tell.try_send(());
            }
        })?;
        for directory in entries.iter().filter_map(|entry| entry.parent()).collect::<BTreeSet<_>>() {
            match watcher.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => {}
                Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(watcher)
    }
}

/// Our own reading is no news, nor is what else is written beside our files.
fn matters(event: &Event, entries: &BTreeSet<PathBuf>) -> bool {
    let read = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        _ => false,
    };
    !read && (event.paths.is_empty() || event.paths.iter().any(|path| entries.contains(path)))
}

async fn pause(poll: Duration) {
    match poll {
        Duration::ZERO => std::future::pending().await,
        poll => sleep(poll).await,
    }
}

/// The entries of directories that decide what is found at `path`: the file's own, and each symbolic link's on the way.
fn entries(path: &Path) -> Vec<PathBuf> {
    let Ok(path) = std::path::absolute(path) else { return Vec::new() };
    let (mut found, mut at, mut links) = (Vec::new(), PathBuf::from("/"), 0);
    let mut left = parts(&path);
    while let Some(part) = left.pop_front() {
        if part == ".." {
            at.pop();
            continue;
        }
        let entry = at.join(&part);
        let target = std::fs::read_link(&entry).ok().filter(|_| links < MOST_LINKS);
        if target.is_some() || left.is_empty() {
            found.push(entry.clone());
        }
        let Some(target) = target else {
            at = entry;
            continue;
        };
        links += 1;
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        for part in parts(&target).into_iter().rev() {
            left.push_front(part);
        }
    }
    found
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let named = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    named.collect()
}

/// So long without a further change is calm, and at most so long is waited for it.
const MOMENT: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(2);

/// As many as Linux follows.
const MOST_LINKS: usize = 40;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_on_the_way_is_watched() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        let name = |path: &str| top.join(path);
        std::fs::create_dir(name("..2026")).unwrap();
        std::fs::write(name("..2026/tls.crt"), "").unwrap();
        symlink("..2026", name("..data")).unwrap();
        symlink("..data/tls.crt", name("tls.crt")).unwrap();
        symlink(&top, name("here")).unwrap();
        assert_eq!(entries(&name("tls.crt")), [name("tls.crt"), name("..data"), name("..2026/tls.crt")]);
        assert_eq!(entries(&name("here/../absent")), [name("here"), top.parent().unwrap().join("absent")]);
        symlink("loop", name("loop")).unwrap();
        assert_eq!(entries(&name("loop")).len(), MOST_LINKS + 1);
    }

    #[test]
    fn what_others_write_and_what_we_read_is_no_news() {
        let ours = BTreeSet::from([PathBuf::from("/a/b")]);
        let event = |kind, path: &str| Event::new(kind).add_path(path.into());
        let modified = EventKind::Modify(notify::event::ModifyKind::Any);
        assert!(matters(&event(modified, "/a/b"), &ours));
        assert!(matters(&event(EventKind::Access(AccessKind::Close(AccessMode::Write)), "/a/b"), &ours));
        assert!(matters(&Event::new(EventKind::Other), &ours));
        assert!(!matters(&event(modified, "/a/keyward.db-wal"), &ours));
        assert!(!matters(&event(EventKind::Access(AccessKind::Open(AccessMode::Any)), "/a/b"), &ours));
    }
}
