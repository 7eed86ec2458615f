//! When a change became true, as the API tells it: alone with the store, and beside a replica that says nothing.

use std::time::Duration;

use super::*;
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::manage::tests::face_at;
use crate::store::replica::{Incarnation, Instance, Replica, ReplicaId, ReplicaState, Replicas};

/// So long a silent replica is waited for.
const FENCE: Duration = Duration::from_secs(10);
/// And with the margin.
const BOUND: Duration = Duration::from_millis(10_020);

/// A desk whose keyward serves beside one that has said nothing, and its clock.
async fn beside_a_silent_one() -> (Desk, ManualClock) {
    let clock = ManualClock::at(Timestamp::from_millis(1_800_000_000_000));
    let desk = desk_over(face_at(Clock::Manual(clock.clone())).await).await;
    let silent = Replica {
        id: ReplicaId::of([7; 8]),
        incarnation: Incarnation(1),
        state: ReplicaState::Live,
        applied: None,
        node: "beta".to_owned(),
        version: "1".to_owned(),
        joined: Timestamp::from_millis(0),
        heard: Timestamp::from_millis(0),
    };
    let replicas = vec![silent];
    let all = Replicas { head: 0, fence: FENCE, instance: Instance("a".into()), replicas };
    desk.face.keyring().serve_among(all);
    (desk, clock)
}

impl Desk {
    async fn key(&self) -> String {
        self.ask(Method::POST, "/v1/accounts", json!({"id": "101"})).await;
        let made = self.ask(Method::POST, "/v1/keys", json!({"account_id": "101"})).await;
        assert_eq!(made.status, 201, "{made:?}");
        assert!(made.headers.contains_key("keyward-revision"));
        assert!(made.json().get("receipt").is_none(), "what only gives has none: {made:?}");
        made.json()["key"]["id"].as_str().unwrap().to_owned()
    }
}

/// The revision that an answer tells of, in its header and its receipt alike.
fn revision(answer: &Answer) -> u64 {
    let value = answer.json();
    let receipt = value.get("receipt").unwrap_or(&value);
    let revision = receipt["rev"].as_u64().unwrap();
    assert_eq!(answer.headers["keyward-revision"], revision.to_string());
    revision
}

#[tokio::test]
async fn alone_with_the_store_every_narrowing_change_is_answered_complete() {
    let desk = desk().await;
    let key = desk.key().await;
    let at = |rest: &str| format!("/v1/keys/{key}{rest}");
    desk.ask(Method::POST, "/v1/users", json!({"id": "paul"})).await;
    let member = "/v1/accounts/101/members/paul".to_owned();
    let grace = json!({"mode": "grace", "grace_seconds": 600});
    let mut last = 0;
    for (method, path, body, status) in [
        (Method::PUT, member.clone(), json!({}), 200),
        (Method::DELETE, member, Value::Null, 200),
        (Method::PATCH, at(""), json!({"status": "disabled"}), 200),
        (Method::PATCH, at(""), json!({"scopes": ["jobs:run"], "status": "active"}), 200),
        (Method::POST, at("/rotate"), json!({}), 201),
        (Method::POST, at("/rotate"), grace.clone(), 201),
        (Method::POST, at("/rotation/complete"), Value::Null, 200),
        (Method::POST, at("/rotate"), grace, 201),
        (Method::POST, at("/rotation/cancel"), Value::Null, 200),
        (Method::PATCH, "/v1/accounts/101".to_owned(), json!({"status": "suspended"}), 200),
        (Method::DELETE, at(""), Value::Null, 200),
        (Method::DELETE, at(""), Value::Null, 200),
    ] {
        let answer = desk.ask(method.clone(), &path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        let receipt = &answer.json()["receipt"];
        assert_eq!(receipt["complete"], true, "{method} {path}: {answer:?}");
        assert!(receipt["completed_at"].is_string() && receipt.get("complete_within_ms").is_none(), "{receipt}");
        let own = desk.face.keyring().replica().as_str();
        assert_eq!(
            (&receipt["replicas"][0]["id"], &receipt["replicas"][0]["state"]),
            (&json!(own), &json!("acknowledged"))
        );
        // What changed nothing is as true as what did last.
        assert!(revision(&answer) >= last, "{answer:?}");
        last = revision(&answer);
        let again = desk.ask(Method::GET, &format!("/v1/revisions/{last}"), Value::Null).await;
        assert_eq!((again.status, &again.json()), (200, receipt), "{method} {path}");
    }
    for (path, body) in [(at(""), json!({"name": "ci"})), ("/v1/accounts/101".to_owned(), json!({"status": "active"}))]
    {
        let widened = desk.ask(Method::PATCH, &path, body).await;
        // Revoked is for good, so the key's own name is not to be changed any more.
        if widened.status == 200 {
            assert!(widened.headers.contains_key("keyward-revision") && widened.json().get("receipt").is_none());
        }
    }
    let shown = desk.ask(Method::GET, "/v1/accounts/101", Value::Null).await;
    assert!(!shown.headers.contains_key("keyward-revision"));
}

#[tokio::test]
async fn a_rotation_with_a_grace_shows_the_old_secret_beside_the_new_one() {
    let desk = desk().await;
    let path = format!("/v1/keys/{}/rotate", desk.key().await);
    let graced = desk.ask(Method::POST, &path, json!({"mode": "grace", "grace_seconds": 600})).await.json();
    assert_eq!(graced["previous"], graced["key"]["rotation"]["previous"]);
    assert!(graced["previous"]["valid_until"].is_string(), "{graced}");
    let at_once = desk.ask(Method::POST, &path, json!({"supersede": true})).await.json();
    assert!(at_once.get("previous").is_none(), "{at_once}");
}

#[tokio::test]
async fn beside_a_silent_replica_a_change_is_accepted_and_complete_within_the_bound() {
    let (desk, clock) = beside_a_silent_one().await;
    let path = format!("/v1/keys/{}", desk.key().await);
    let accepted = desk.ask(Method::DELETE, &format!("{path}?wait=0s"), Value::Null).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    assert_eq!(accepted.json()["key"]["status"], "revoked", "it holds here");
    let receipt = &accepted.json()["receipt"];
    assert_eq!(receipt["complete"], false);
    assert_eq!(receipt["complete_within_ms"], 10_020);
    clock.advance(Duration::from_millis(9_000));
    let later = desk.ask(Method::GET, &format!("/v1/revisions/{}?wait=0s", revision(&accepted)), Value::Null).await;
    assert_eq!((later.status, &later.json()["complete_within_ms"]), (202, &json!(1020)), "since the commit: {later:?}");
    clock.advance(Duration::from_millis(1_020));
    let asked = format!("/v1/revisions/{}?wait=30s", revision(&accepted));
    let complete = desk.ask(Method::GET, &asked, Value::Null).await;
    assert_eq!((complete.status, &complete.json()["complete"]), (200, &json!(true)), "{complete:?}");
    let replica = &complete.json()["replicas"][0];
    assert_eq!(replica, &json!({"id": "rep_0707070707070707", "node": "beta", "state": "lapsed"}));
    let again = desk.ask(Method::DELETE, &format!("{path}?wait=0s"), Value::Null).await;
    assert_eq!((again.status, revision(&again)), (200, revision(&accepted)), "nothing was changed since: {again:?}");
}

#[tokio::test]
async fn a_barrier_waits_for_all_that_was_changed_before() {
    let (desk, clock) = beside_a_silent_one().await;
    let path = format!("/v1/keys/{}", desk.key().await);
    let accepted = desk.ask(Method::DELETE, &format!("{path}?wait=0ms"), Value::Null).await;
    let open = desk.ask(Method::POST, "/v1/barrier?wait=0s", Value::Null).await;
    assert_eq!((open.status, revision(&open)), (202, revision(&accepted)), "{open:?}");
    clock.advance(BOUND);
    let passed = desk.ask(Method::POST, "/v1/barrier?wait=30s", json!({"rev": revision(&accepted)})).await;
    assert_eq!((passed.status, revision(&passed)), (200, revision(&accepted)), "{passed:?}");
    let again = desk.ask(Method::POST, "/v1/barrier?wait=0s", Value::Null).await;
    assert_eq!(again.status, 200, "{again:?}");
}

#[tokio::test]
async fn a_rotation_that_comes_again_has_the_receipt_of_the_first_one_as_far_as_it_has_come() {
    let (desk, clock) = beside_a_silent_one().await;
    let path = format!("/v1/keys/{}/rotate", desk.key().await);
    let accepted = post_once(&desk, &format!("{path}?wait=0s"), "a", "").await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let open = post_once(&desk, &format!("{path}?wait=0s"), "a", "").await;
    assert_eq!((open.status, revision(&open)), (202, revision(&accepted)), "{open:?}");
    clock.advance(BOUND);
    let again = post_once(&desk, &format!("{path}?wait=30s"), "a", "").await;
    assert_eq!((again.status, revision(&again)), (201, revision(&accepted)), "{again:?}");
    assert_eq!(
        (&again.json()["receipt"]["complete"], &again.json()["secret"]),
        (&json!(true), &accepted.json()["secret"])
    );
}

#[tokio::test]
async fn how_long_to_wait_is_a_time_and_bounded() {
    let desk = desk().await;
    let path = format!("/v1/keys/{}", desk.key().await);
    for wait in ["", "2", "soon", "-1s", "61s", "2s&wait=3s"] {
        let answer = desk.ask(Method::DELETE, &format!("{path}?wait={wait}"), Value::Null).await;
        let status = if wait.contains('&') { 422 } else { 400 };
        assert_eq!((answer.status, answer.code().as_str()), (status, "VALIDATION_FAILED"), "{wait:?}");
        assert_eq!(answer.json()["errors"][0]["parameter"], "wait", "{wait:?}");
    }
    for (method, path) in
        [(Method::GET, path.as_str()), (Method::GET, "/v1/accounts/101"), (Method::GET, "/v1/replicas")]
    {
        let answer = desk.ask(method, &format!("{path}?wait=1s"), Value::Null).await;
        assert_eq!((answer.status, &answer.json()["errors"][0]["parameter"]), (422, &json!("wait")), "{path}");
    }
    let status = desk.ask(Method::GET, &path, Value::Null).await.json()["key"]["status"].clone();
    assert_eq!(status, "active", "nothing of it was done");
    for wait in ["60s", "500ms", "0s"] {
        let answer = desk.ask(Method::DELETE, &format!("{path}?wait={wait}"), Value::Null).await;
        assert_eq!(answer.status, 200, "{wait}");
    }
}

#[tokio::test]
async fn a_position_that_was_never_reached_is_not_found_and_says_so() {
    let desk = desk().await;
    for rev in ["1000000", "18446744073709551616", "-1", "01", "x"] {
        let answer = desk.ask(Method::GET, &format!("/v1/revisions/{rev}"), Value::Null).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "REVISION_NOT_FOUND"), "{rev}");
        assert_eq!(answer.json()["title"], "The log has not reached this revision.");
    }
}

#[tokio::test]
async fn the_replicas_are_listed_and_the_one_that_answers_is_marked() {
    let alone = desk().await;
    let all = alone.ask(Method::GET, "/v1/replicas", Value::Null).await.json();
    let one = &all["replicas"][0];
    assert_eq!((&one["id"], &one["asked"]), (&json!(alone.face.keyring().replica().as_str()), &json!(true)), "{all}");
    assert_eq!((&one["position"], &one["lag"], &one["state"]), (&all["head"], &json!(0), &json!("live")), "{all}");
    assert_eq!((&all["fence_ms"], &one["lease_ms"]), (&Value::Null, &Value::Null), "its lease has no end");
    assert!(!one["node"].as_str().unwrap().is_empty() && one["version"] == env!("CARGO_PKG_VERSION"), "{all}");
    let (beside, _) = beside_a_silent_one().await;
    let all = beside.ask(Method::GET, "/v1/replicas", Value::Null).await.json();
    assert_eq!((&all["fence_ms"], &all["replicas"][0]["asked"]), (&json!(10_000), &json!(false)), "{all}");
    assert_eq!((&all["replicas"][0]["position"], &all["replicas"][0]["lag"]), (&Value::Null, &Value::Null), "{all}");
}

#[tokio::test]
async fn who_was_told_of_a_position_is_judged_as_of_that_or_not_at_all() {
    let desk = desk().await;
    desk.key().await;
    let head = revision(&desk.ask(Method::POST, "/v1/barrier", Value::Null).await);
    let ask = async |value: &str| {
        let request = Request::get("/v1/whoami").header(AUTHORIZATION, &desk.line).header("Keyward-At-Least", value);
        desk.face.send(request.body(String::new()).unwrap()).await
    };
    assert_eq!(ask(&head.to_string()).await.status, 200);
    let ahead = ask(&(head + 1).to_string()).await;
    assert_eq!((ahead.status, ahead.code().as_str()), (503, "AUTH_UNAVAILABLE"), "a failure, and no refusal");
    assert!(ahead.headers.contains_key("retry-after"));
    for value in ["", "x", "-1"] {
        let answer = ask(value).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "VALIDATION_FAILED"), "{value:?}");
        assert_eq!(answer.json()["errors"][0]["header"], "Keyward-At-Least");
    }
}
