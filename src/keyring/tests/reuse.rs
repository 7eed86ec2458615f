//! Rule 9: a dead secret that is presented is counted and noted, and its key revoked where that is wanted.

use std::net::IpAddr;

use super::*;
use crate::keyring::command::Who;
use crate::keyring::config::OnReuse;
use crate::store::audit::{Action, Ending};

impl Ring {
    /// A key whose first secret is dead, that secret, and the one that lives.
    async fn superseded(&self) -> (Key, Secret, Secret) {
        let (old, key) = self.remembered().await;
        let (new, imprint) = fresh();
        self.operate(Command::RotateKey(key.id.clone(), imprint, Rotation::IMMEDIATE)).await;
        assert!(self.verify(&old).await.unwrap_err().is_reuse());
        (key, old, new)
    }

    fn heeds(&self, on_reuse: OnReuse) {
        self.keyring.heed(Watch { on_reuse, ..Watch::default() });
    }
}

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

#[tokio::test]
async fn rule_9_uses_of_a_dead_secret_are_counted_and_an_hours_are_one_entry() {
    let clock = ManualClock::at(Timestamp::from_millis(10_000_000));
    let ring = ring_with(Clock::Manual(clock.clone()), |config, _| config.usage_flush = "1h".parse().unwrap()).await;
    let (key, old, _) = ring.superseded().await;
    for _ in 0..3 {
        ring.keyring.reused(&old, Some([192, 0, 2, 1].into()));
    }
    ring.keyring.flush_reuses().await;
    clock.advance(Duration::from_secs(3599));
    ring.keyring.reused(&old, Some(ADDRESS));
    ring.keyring.flush_reuses().await;
    let noted = ring.noted(Action::KeyReuse).await;
    assert_eq!(noted.len(), 1);
    let entry = &noted[0];
    assert_eq!((entry.key.as_ref(), entry.count, entry.outcome), (Some(&key.id), 4, Ending::Refused));
    assert_eq!((&entry.by.who, entry.by.address), (&Who::Stranger, Some(ADDRESS)));
    assert_eq!((entry.at.as_millis(), entry.last_at.as_millis()), (10_000_000, 10_000_000 + 3_599_000));
    assert_eq!(entry.account, key.account);
    clock.advance(Duration::from_secs(3));
    ring.keyring.reused(&old, None);
    ring.keyring.flush_reuses().await;
    assert_eq!(ring.noted(Action::KeyReuse).await.len(), 2);
    assert_eq!(ring.keyring.stats().reuses, 5);
}

#[tokio::test]
async fn rule_9_what_is_gathered_is_written_when_the_keyring_shuts_down() {
    let ring = ring_with(Clock::System, |config, _| config.usage_flush = "1h".parse().unwrap()).await;
    let (_, old, _) = ring.superseded().await;
    ring.keyring.reused(&old, None);
    ring.keyring.shutdown().await;
    let db = Connection::open(ring.folder.path().join("keyward.db")).unwrap();
    let count = "SELECT count FROM audit WHERE action = 'key.reuse'";
    assert_eq!(db.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
}

#[tokio::test]
async fn rule_9_ignore_counts_and_notes_nothing() {
    let ring = ring().await;
    ring.heeds(OnReuse::Ignore);
    let (_, old, _) = ring.superseded().await;
    ring.keyring.reused(&old, None);
    ring.keyring.flush_reuses().await;
    assert_eq!((ring.keyring.stats().reuses, ring.noted(Action::KeyReuse).await.len()), (1, 0));
}

#[tokio::test]
async fn rule_9_revoke_family_acts_only_where_keys_are_rotated_or_managed() {
    let ring = ring().await;
    let (key, old, new) = ring.superseded().await;
    ring.keyring.reused_to_manage(&old, ADDRESS, "req_1").await.unwrap();
    assert_eq!(ring.refusal(&new).await, None, "by default it is an alert");
    ring.heeds(OnReuse::RevokeFamily);
    ring.keyring.reused(&old, Some(ADDRESS));
    ring.keyring.flush_reuses().await;
    assert_eq!(ring.refusal(&new).await, None, "the data plane revokes nothing");
    // Neither a living secret nor one that nobody has is a dead one.
    ring.keyring.reused_to_manage(&new, ADDRESS, "req_1").await.unwrap();
    ring.keyring.reused_to_manage(&fresh().0, ADDRESS, "req_1").await.unwrap();
    assert_eq!(ring.refusal(&new).await, None);
    ring.keyring.reused_to_manage(&old, ADDRESS, "req_1").await.unwrap();
    assert_eq!((ring.refusal(&new).await, ring.refusal(&old).await), (Some(REVOKED), Some(REVOKED)));
    let revoked = ring.noted(Action::KeyRevoke).await;
    assert_eq!(revoked.len(), 1);
    assert_eq!((revoked[0].key.as_ref(), &revoked[0].by.who), (Some(&key.id), &Who::Keyward));
    assert_eq!((revoked[0].by.address, &revoked[0].details["because"]), (Some(ADDRESS), &"key.reuse".into()));
    // Once is enough.
    ring.keyring.reused_to_manage(&old, ADDRESS, "req_1").await.unwrap();
    assert_eq!(ring.noted(Action::KeyRevoke).await.len(), 1);
}

#[tokio::test]
async fn rule_9_a_secret_in_grace_is_not_dead_and_one_whose_grace_is_over_is() {
    let clock = ManualClock::at(Timestamp::from_millis(1_000_000));
    let ring = ring_with(Clock::Manual(clock.clone()), |_, _| ()).await;
    ring.heeds(OnReuse::RevokeFamily);
    let (old, key) = ring.remembered().await;
    let mode = crate::key::rotation::Mode::Grace(Duration::from_secs(3600));
    ring.operate(Command::RotateKey(key.id.clone(), fresh().1, Rotation { mode, ..Rotation::IMMEDIATE })).await;
    ring.keyring.reused_to_manage(&old, ADDRESS, "req_1").await.unwrap();
    assert_eq!(ring.refusal(&old).await, None);
    clock.advance(Duration::from_secs(3600));
    assert!(ring.verify(&old).await.unwrap_err().is_reuse());
    ring.keyring.reused_to_manage(&old, ADDRESS, "req_1").await.unwrap();
    assert_eq!(ring.refusal(&old).await, Some(REVOKED));
}
