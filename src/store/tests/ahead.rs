//! What is read ahead, in the same snapshot rules as a look-up.

use super::*;
use crate::store::{Chunk, Place, Which, Words};

/// All chunks of so many keys, and the ids in them.
async fn read(store: &Store, which: Which, most: usize) -> (Vec<Chunk>, Vec<String>) {
    let (mut chunks, mut next, mut words) = (Vec::new(), Some(which.first()), Words::many());
    while let Some(place) = next {
        let (chunk, met) = store.living(place, words, most).await.unwrap();
        (next, words) = (chunk.next, met);
        chunks.push(chunk);
    }
    let ids = chunks.iter().flat_map(|chunk| &chunk.keys).map(|(_, key)| key.id.to_string()).collect();
    (chunks, ids)
}

const ALL: Which = Which::NotUsedSince(Timestamp::from_millis(i64::MAX));

pub(super) async fn what_is_read_ahead_is_what_a_look_up_finds(store: &Store) {
    furnish(store).await;
    store.create_account("103".parse().unwrap(), None, NOW).await.unwrap();
    store.set_account_state("102".parse().unwrap(), AccountState::Suspended).await.unwrap();
    let lists = Draft {
        permissions: permissions(&["jobs:run", "users:read"]),
        allowed_ips: vec!["192.0.2.0/24".parse().unwrap()],
        not_before: Some(NOW),
        expires_at: Some(NOW.plus(Duration::from_secs(60))),
        ..service("key_1", ONE)
    };
    store.mint(lists, NOW).await.unwrap();
    store.mint(of_user(Kind::Personal, Some("101"), "paul", "key_2", TWO), NOW).await.unwrap();
    store.mint(of_user(Kind::User, None, "paul", "key_3", THREE), NOW).await.unwrap();
    store.mint(operator("op_1", "an-operator-of-keyward"), NOW).await.unwrap();
    store
        .mint(Draft { account: Some("102".parse().unwrap()), ..service("key_4", "suspended-account") }, NOW)
        .await
        .unwrap();
    for most in [1, 2, 3, 100] {
        let (chunks, ids) = read(store, ALL, most).await;
        assert_eq!(ids, ["key_4", "op_1", "key_3", "key_2", "key_1"], "the newest first, {most} at a time");
        for (digest, key) in chunks.iter().flat_map(|chunk| &chunk.keys) {
            assert_eq!(store.load(*digest).await.unwrap().standing.as_ref(), Some(key));
        }
        assert!(chunks.iter().all(|chunk| chunk.keys.len() <= most));
    }
}

pub(super) async fn only_living_keys_are_read_ahead_and_by_their_current_secret(store: &Store) {
    furnish(store).await;
    for (id, text) in [("key_1", ONE), ("key_2", TWO), ("key_3", THREE)] {
        store.mint(service(id, text), NOW).await.unwrap();
    }
    store.set_key_state("key_1".parse().unwrap(), KeyState::Revoked, None, NOW).await.unwrap();
    store.set_key_state("key_2".parse().unwrap(), KeyState::Suspended, None, NOW).await.unwrap();
    store.rotate("key_3".parse().unwrap(), secret("the-secret-that-follows"), Rotation::IMMEDIATE, NOW).await.unwrap();
    let (chunks, _) = read(store, ALL, 100).await;
    let [(digest, key)] = &chunks[0].keys[..] else { panic!("{chunks:?}") };
    assert!(*digest == super::digest("the-secret-that-follows") && key.secret == Presented::Current);
}

pub(super) async fn keys_read_ahead_are_told_apart_by_their_last_use(store: &Store) {
    furnish(store).await;
    let at = |second| NOW.plus(Duration::from_secs(second));
    let mut uses = Vec::new();
    for number in 0..6 {
        let key = store.mint(service(&format!("key_{number}"), &format!("{ONE}-{number}")), NOW).await.unwrap().record;
        uses.extend((number % 2 == 0).then(|| (key.serial, at(number))));
    }
    store.record_uses(uses.clone()).await.unwrap();
    assert_eq!(read(store, Which::UsedSince(at(2)), 1).await.1, ["key_4", "key_2"]);
    assert_eq!(read(store, Which::NotUsedSince(at(2)), 1).await.1, ["key_5", "key_3", "key_1", "key_0"]);
    assert!(read(store, Which::UsedSince(Timestamp::from_millis(i64::MAX)), 1).await.1.is_empty());
    let (mut seen, mut above) = (Vec::new(), i64::MIN);
    while let [read] = store.uses(above, 1).await.unwrap()[..] {
        above = read.0;
        seen.push(read);
    }
    assert_eq!(seen, uses);
}

pub(super) async fn each_chunk_knows_its_own_position(store: &Store) {
    furnish(store).await;
    store.mint(service("key_1", ONE), NOW).await.unwrap();
    store.mint(service("key_2", TWO), NOW).await.unwrap();
    let (first, words) = store.living(ALL.first(), Words::many(), 1).await.unwrap();
    assert_eq!(first.as_of, head(store).await);
    let revoked = store.set_key_state("key_1".parse().unwrap(), KeyState::Revoked, None, NOW).await.unwrap();
    let (second, _) = store.living(first.next.unwrap(), words, 1).await.unwrap();
    assert_eq!((second.as_of, second.keys.len()), (revoked.head, 0));
    assert!(second.next.is_none() && first.as_of < second.as_of);
}

pub(super) async fn every_secrets_digest_is_read_whatever_became_of_it(store: &Store) {
    furnish(store).await;
    assert_eq!(store.digests(None, 10, Vec::new()).await.unwrap(), []);
    store.mint(service("key_1", ONE), NOW).await.unwrap();
    store.mint(service("key_2", TWO), NOW).await.unwrap();
    store.rotate("key_1".parse().unwrap(), secret(THREE), Rotation::IMMEDIATE, NOW).await.unwrap();
    store.set_key_state("key_2".parse().unwrap(), KeyState::Revoked, None, NOW).await.unwrap();
    let mut expected = [digest(ONE), digest(TWO), digest(THREE)];
    expected.sort_by_key(|digest| *digest.as_bytes());
    assert_eq!(store.digests(None, 10, Vec::new()).await.unwrap(), expected);
    assert_eq!((store.secrets(10).await.unwrap(), store.secrets(2).await.unwrap()), (3, 2));
    let mut one_by_one = Vec::new();
    while let [next] = store.digests(one_by_one.last().copied(), 1, Vec::new()).await.unwrap()[..] {
        one_by_one.push(next);
    }
    assert_eq!(one_by_one, expected);
}

/// Where a chunk begins is a number like any other.
pub(super) async fn below_the_first_key_there_is_none(store: &Store) {
    furnish(store).await;
    store.mint(service("key_1", ONE), NOW).await.unwrap();
    let (chunk, _) = store.living(Place { which: ALL, below: 1 }, Words::many(), 10).await.unwrap();
    assert!(chunk.keys.is_empty() && chunk.next.is_none());
}
