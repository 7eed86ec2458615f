//! What a snapshot is worth that is not as it was written.

use std::path::Path;

use tempfile::TempDir;

use super::file::Sealed;
use super::*;
use crate::key::{AccountState, KeyState, Kind, Permissions, Presented, Standing};
use crate::store::log::Subject;
use crate::store::replica::Instance;

const NOW: BootTime = BootTime::from_nanos(1_000);
const DEADLINE: BootTime = BootTime::from_nanos(2_000);

fn place(folder: &TempDir, pepper: &[u8]) -> Place {
    let text = |text: &str| text.to_owned();
    let about = About { form: text("test"), boot: text("this"), folder: text("1:2"), store: text("postgres://a/b") };
    Place { path: folder.path().join("keyward.snapshot"), about, root: root(b"test", pepper) }
}

fn lease(applied: u64, deadline: BootTime) -> Lease {
    let zero = BootTime::from_nanos(0);
    let (instance, fence) = (Instance("one".into()), Duration::from_secs(10));
    let stale = deadline.plus(Duration::from_nanos(500));
    Lease::new(applied, Terms { deadline, stale, heard: zero, time: None, instance, fence })
}

fn kept(first: u8) -> Kept {
    let standing = Standing {
        id: "key_1".parse().unwrap(),
        serial: 1,
        kind: Kind::Service,
        state: KeyState::Active,
        secret: Presented::Grace(crate::clock::Timestamp::from_millis(5)),
        number: 2,
        not_before: None,
        expires_at: Some(crate::clock::Timestamp::from_millis(1_700_000_000_123)),
        account: Some(("101".parse().unwrap(), AccountState::Active)),
        user: None,
        memberships: vec![("101".parse().unwrap(), AccountState::Suspended, Permissions::default())],
        licensed: true,
        permissions: ["jobs:run".parse().unwrap()].into_iter().collect(),
        allowed_ips: vec!["192.0.2.0/24".parse().unwrap()],
    };
    let mut bytes = [7; 32];
    bytes[0] = first;
    Kept::new(&Digest::from_bytes(bytes), 3, standing)
}

fn revoked(seq: u64) -> log::Entry {
    log::Entry { seq, subject: Subject::Secret([7; 16]) }
}

/// A snapshot as it is written: a base, and what came later.
fn written(place: &Place) -> Sealed {
    let mut file = Sealed::create(&place.path, &place.about, &place.root).unwrap();
    for record in [
        Record::Owner(ReplicaId::of([1; 8])),
        Record::Keys(vec![kept(1), kept(2)]),
        Record::Entries(vec![revoked(4)]),
        Record::Lease(lease(4, DEADLINE)),
        Record::Whole,
        Record::Entries(vec![revoked(5)]),
        Record::Lease(lease(5, DEADLINE.plus(Duration::from_nanos(100)))),
    ] {
        file.append(&record).unwrap();
    }
    file
}

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn a_snapshot_reads_what_it_was_told_up_to_its_last_lease() {
    let folder = TempDir::new().unwrap();
    let place = place(&folder, b"pepper");
    drop(written(&place));
    use std::os::unix::fs::MetadataExt;
    assert_eq!(std::fs::metadata(&place.path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(place.owner(), Some(ReplicaId::of([1; 8])));
    let left = place.read(NOW, Duration::from_nanos(300)).unwrap();
    assert_eq!(left.lease, lease(5, DEADLINE.plus(Duration::from_nanos(100))));
    assert_eq!(left.entries, [revoked(4), revoked(5)]);
    assert_eq!(left.stale, BootTime::from_nanos(2_400), "no longer beyond it than these settings allow");
    let keys: Vec<_> = left.into_keys().collect();
    assert_eq!((keys.len(), keys[1].0.as_bytes()[0], keys[1].1), (2, 2, 3));
    assert_eq!(keys[0].2, kept(1).standing);
    let clear = String::from_utf8_lossy(&bytes(&place.path)).into_owned();
    assert!(!clear.contains("key_1") && !clear.contains("jobs:run"), "nothing but its head can be read");
}

#[test]
fn a_snapshot_that_was_cut_short_holds_no_more_than_was_told_before() {
    let folder = TempDir::new().unwrap();
    let place = place(&folder, b"pepper");
    drop(written(&place));
    let whole = bytes(&place.path);
    let mut leases = Vec::new();
    for length in 0..whole.len() {
        std::fs::write(&place.path, &whole[..length]).unwrap();
        match place.read(NOW, Duration::ZERO) {
            // Every entry that a lease's answer told stands before it.
            Ok(left) => {
                assert!(left.entries.iter().any(|entry| entry.seq == left.lease.applied), "{length}");
                leases.push(left.lease.applied);
            }
            Err(Unusable::Torn | Unusable::OtherForm) => {}
            Err(why) => panic!("{length}: {why}"),
        }
    }
    leases.dedup();
    assert_eq!(leases, [4], "the last record is whole only with its last byte");
}

#[test]
fn a_snapshot_that_was_changed_anywhere_is_of_no_use() {
    let folder = TempDir::new().unwrap();
    let place = place(&folder, b"pepper");
    drop(written(&place));
    let whole = bytes(&place.path);
    let head = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let outcome = |changed: &[u8]| {
        std::fs::write(&place.path, changed).unwrap();
        place.read(NOW, Duration::ZERO).map(|left| left.lease.applied)
    };
    for at in head..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        // A length that grew takes the end of the file for the end of the record, as if it had been cut short there.
        assert!(!matches!(outcome(&changed), Ok(5)), "byte {at}");
    }
    // Records in another order, and records of another file under the same pepper.
    let lengths = |from: usize| u32::from_be_bytes(whole[from..from + 4].try_into().unwrap()) as usize + 4;
    let (first, second) = (lengths(head), lengths(head + lengths(head)));
    let mut swapped = whole[..head].to_vec();
    swapped.extend_from_slice(&whole[head + first..head + first + second]);
    swapped.extend_from_slice(&whole[head..head + first]);
    swapped.extend_from_slice(&whole[head + first + second..]);
    assert!(matches!(outcome(&swapped), Err(Unusable::Forged)));
    drop(written(&place));
    let other = bytes(&place.path);
    let mixed = [&other[..head], &whole[head..]].concat();
    assert!(matches!(outcome(&mixed), Err(Unusable::Forged)), "no two files have one key");
}

#[test]
fn a_snapshot_of_another_start_place_store_pepper_or_time_is_of_no_use() {
    let folder = TempDir::new().unwrap();
    let own = place(&folder, b"pepper");
    drop(written(&own));
    let read = |change: fn(&mut About)| {
        let mut other = own.clone();
        change(&mut other.about);
        other.read(NOW, Duration::ZERO).unwrap_err().to_string()
    };
    assert!(read(|about| about.boot = "another".into()).contains("before this machine was started"));
    assert!(read(|about| about.folder = "1:3".into()).contains("copied here"));
    assert!(read(|about| about.store = "postgres://a/c".into()).contains("another store"));
    assert!(read(|about| about.form = "later".into()).contains("none that this keyward can read"));
    let peppered = place(&folder, b"another").read(NOW, Duration::ZERO).unwrap_err();
    assert!(matches!(peppered, Unusable::Forged));
    assert_eq!(place(&folder, b"another").owner(), None);
    let late = DEADLINE.plus(Duration::from_nanos(100));
    assert!(own.read(late, Duration::from_nanos(1)).is_ok(), "it may be used for a while beyond");
    assert!(matches!(own.read(late, Duration::ZERO), Err(Unusable::Late)));
    assert!(matches!(own.read(late.plus(Duration::from_nanos(1)), Duration::from_nanos(1)), Err(Unusable::Late)));
    std::fs::remove_file(&own.path).unwrap();
    assert!(matches!(own.read(NOW, Duration::ZERO), Err(Unusable::Missing)));
}

#[test]
fn this_start_of_this_machine_has_a_name() {
    let boot = boot().unwrap();
    assert!(boot.len() >= 36 && super::boot().as_deref() == Some(boot.as_str()), "{boot}");
}

/// A keyring that remembers one key, and what writes down what it remembers. Its store is of no matter.
async fn writing(folder: &TempDir) -> (crate::keyring::Keyring, Snapshot, Place) {
    use crate::keyring::tests::small;
    use crate::store::{Access, Store, tests};
    let store = Store::open(&tests::config(folder), [0; 8], Access::Create).unwrap();
    let (digester, clock, control) =
        (Default::default(), crate::clock::Clock::System, tokio::runtime::Handle::current());
    let keyring = crate::keyring::Keyring::open(&small(), 1, store, digester, clock, control).await.unwrap();
    // Whose log is another one than these tests tell of.
    keyring.store().gate().lose_log(true);
    let (shared, kept) = (Arc::clone(&keyring.shared), kept(1));
    shared.cache.warm(kept.digest(), shared.entry(3, NOW, Some(kept.standing)));
    let place = place(folder, b"pepper");
    let snapshot = Snapshot::start(&shared, place.clone()).unwrap();
    (keyring, snapshot, place)
}

/// What the log's position `seq` brings, applied.
fn apply(keyring: &crate::keyring::Keyring, seq: u64) -> (Point, Vec<log::Entry>) {
    let (fence, entries) = (&keyring.shared.fence, vec![revoked(seq)]);
    let news = log::News::Entries(entries.clone());
    fence.apply(fence.point(), &log::Tail { head: seq, news });
    (fence.point(), entries)
}

/// The same, told to who writes it down; what is settled once it is written.
fn tell(keyring: &crate::keyring::Keyring, snapshot: &Snapshot, seq: u64) -> Point {
    let (point, entries) = apply(keyring, seq);
    snapshot.applied(point, entries, lease(seq, DEADLINE));
    point
}

async fn until(met: impl Fn() -> bool) {
    for _ in 0..6000 {
        if met() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within a minute");
}

#[tokio::test]
async fn what_is_settled_stands_in_the_snapshot() {
    let folder = TempDir::new().unwrap();
    let (keyring, snapshot, place) = writing(&folder).await;
    let start = keyring.shared.fence.applied();
    assert!(snapshot.settled(keyring.shared.fence.point()).await, "what is not there lacks nothing");
    let applied = |seq| tell(&keyring, &snapshot, seq);
    applied(start + 1);
    until(|| place.path.exists()).await;
    for seq in start + 2..start + 200 {
        let point = applied(seq);
        assert!(snapshot.settled(point).await);
        let left = place.read(NOW, Duration::ZERO).unwrap();
        assert!(left.lease.applied == seq && left.entries.iter().any(|entry| entry.seq == seq), "{seq}");
    }
    let looked_up = keyring.shared.entry(start + 200, NOW, Some(kept(9).standing));
    snapshot.remembered(vec![(kept(9).digest(), looked_up)]);
    until(|| snapshot.keys() == 2).await;
    let keys: Vec<_> =
        place.read(NOW, Duration::ZERO).unwrap().into_keys().map(|(digest, at, _)| (digest, at)).collect();
    assert!(keys == [(kept(9).digest(), start + 200), (kept(1).digest(), 3)]);
    assert!(snapshot.end(true).await && place.path.exists());
    assert!(!snapshot.end(true).await, "it has ended");
}

#[tokio::test]
async fn a_snapshot_of_another_history_is_removed_and_so_is_one_at_a_goodbye() {
    let folder = TempDir::new().unwrap();
    let (keyring, snapshot, place) = writing(&folder).await;
    let start = keyring.shared.fence.applied();
    let applied = |seq| tell(&keyring, &snapshot, seq);
    applied(start + 1);
    until(|| snapshot.keys() == 1).await;
    let fence = &keyring.shared.fence;
    fence.turn(fence.point(), 7);
    snapshot.turned();
    until(|| !place.path.exists()).await;
    assert!(snapshot.settled(fence.point()).await);
    applied(8);
    until(|| place.path.exists()).await;
    let left = place.read(NOW, Duration::ZERO).unwrap();
    assert_eq!((left.lease.applied, left.into_keys().count()), (8, 0), "what was read before the turn is void");
    assert!(snapshot.end(false).await && !place.path.exists());
}

#[tokio::test]
async fn nothing_is_acknowledged_that_a_snapshot_lacks_which_cannot_be_removed() {
    let folder = TempDir::new().unwrap();
    let (keyring, snapshot, place) = writing(&folder).await;
    let start = keyring.shared.fence.applied();
    // A folder stands in its way: it can neither be put in place nor removed.
    std::fs::create_dir(&place.path).unwrap();
    let applied = |seq| tell(&keyring, &snapshot, seq);
    applied(start + 1);
    let mut seq = start + 1;
    while snapshot.settled(applied(seq)).await {
        seq += 1;
    }
    assert!(!snapshot.settled(applied(seq + 1)).await);
    std::fs::remove_dir(&place.path).unwrap();
    let point = applied(seq + 2);
    while !snapshot.settled(point).await {
        applied(seq + 2);
    }
}

#[tokio::test]
async fn who_came_before_is_succeeded_only_once_nothing_is_left_that_could_be_gone_on_with() {
    let folder = TempDir::new().unwrap();
    let (keyring, snapshot, place) = writing(&folder).await;
    let start = keyring.shared.fence.applied();
    // A folder stands in the way of its own, as a process that stopped there would leave what was before.
    std::fs::create_dir(&place.path).unwrap();
    let in_place = async || tokio::time::timeout(Duration::ZERO, snapshot.in_place()).await.is_ok_and(|placed| placed);
    let applied = || tell(&keyring, &snapshot, start + 1);
    applied();
    until(|| *snapshot.written.borrow() != u64::MAX).await;
    assert!(!in_place().await, "it is about to be put there");
    std::fs::remove_dir(&place.path).unwrap();
    until(|| {
        applied();
        *snapshot.placed.borrow()
    })
    .await;
    assert!(in_place().await);
}

#[test]
fn a_key_that_was_read_twice_is_gone_on_with_as_it_was_last() {
    let folder = TempDir::new().unwrap();
    let place = place(&folder, b"pepper");
    let mut file = written(&place);
    let again = Kept::new(&kept(1).digest(), 5, kept(1).standing);
    file.append(&Record::Keys(vec![again])).unwrap();
    let left = place.read(NOW, Duration::ZERO).unwrap();
    let first = left.into_keys().find(|(digest, ..)| *digest == kept(1).digest()).unwrap();
    assert_eq!(first.1, 5, "what was read before the change at 4 is void");
}

#[tokio::test]
async fn no_lease_stands_where_something_before_it_is_missing() {
    let folder = TempDir::new().unwrap();
    let (keyring, snapshot, place) = writing(&folder).await;
    let start = keyring.shared.fence.applied();
    tell(&keyring, &snapshot, start + 1);
    until(|| snapshot.keys() == 1).await;
    // The very file, under a name that stays.
    let linked = Place { path: folder.path().join("linked"), ..place.clone() };
    std::fs::hard_link(&place.path, &linked.path).unwrap();
    apply(&keyring, start + 2);
    snapshot.gap.store(true, Ordering::Release);
    let point = tell(&keyring, &snapshot, start + 3);
    until(|| !snapshot.gap.load(Ordering::Acquire)).await;
    assert!(snapshot.settled(point).await && !place.path.exists());
    assert_eq!(linked.read(NOW, Duration::ZERO).unwrap().lease.applied, start + 1);
}
