//! What every refusal looks like, from outside and in the metrics.

use super::*;

fn every_stop() -> Vec<Stop> {
    let refusals = [
        Refusal::CredentialAmbiguous,
        Refusal::KeyRequired,
        Refusal::KeyInvalid(Invalid::Revoked),
        Refusal::KeyNotYetValid,
        Refusal::KeyExpired,
        Refusal::KeyDisabled,
        Refusal::AccountSuspended,
        Refusal::IpNotAllowed,
        Refusal::AccountMismatch,
        Refusal::ScopeInsufficient { needed: Some("jobs:run".parse().unwrap()) },
        Refusal::RouteNotFound,
    ];
    let malformed = [Malformed::Method, Malformed::Host, Malformed::Connection, Malformed::Body];
    let mut stops: Vec<Stop> = refusals.into_iter().map(Stop::Refused).collect();
    stops.extend(malformed.into_iter().map(Stop::Malformed));
    stops.push(Stop::Failed(Failure::Unavailable));
    stops.extend([
        Stop::HeadTooLarge,
        Stop::Misdirected,
        Stop::TooLarge,
        Stop::Stalled,
        Stop::TooSlow,
        Stop::UnsupportedBody,
        Stop::Gone(Box::default()),
        Stop::Unfilterable(Unfilterable::TooLarge),
        Stop::Overloaded,
        Stop::Origin(OriginError::Busy),
        Stop::Origin(OriginError::QueueFull),
        Stop::Origin(OriginError::HeadTooLarge),
    ]);
    stops
}

#[test]
fn every_answer_is_a_problem_with_a_code_and_the_request_id() {
    for stop in every_stop() {
        for verbose in [true, false] {
            let face = face_of(&stop, Mismatch::NotFound);
            let json: serde_json::Value = serde_json::from_slice(&body(&stop, &face, verbose, "id-1")).unwrap();
            assert_eq!(json["status"], face.status.as_u16(), "{stop:?}");
            assert_eq!(json["code"], face.code);
            assert_eq!(json["request_id"], "id-1");
            assert_eq!(json["instance"], "urn:keyward:request:id-1");
            assert!(json["detail"].as_str().unwrap().len() > 5);
            assert!(json["type"].as_str().unwrap().ends_with(face.code));
        }
    }
}

#[test]
fn a_401_always_challenges_and_nothing_tells_why_a_key_is_invalid() {
    let body_of = |invalid| {
        let stop = Stop::Refused(Refusal::KeyInvalid(invalid));
        body(&stop, &face_of(&stop, Mismatch::NotFound), false, "id")
    };
    assert_eq!(body_of(Invalid::Unknown), body_of(Invalid::Revoked));
    assert_eq!(body_of(Invalid::Unknown), body_of(Invalid::Malformed));
    for stop in every_stop() {
        let face = face_of(&stop, Mismatch::NotFound);
        if face.status == StatusCode::UNAUTHORIZED {
            assert!(!matches!(face.challenge, Challenge::None), "{stop:?}");
        }
    }
}

#[test]
fn our_own_trouble_is_a_503_that_says_when_to_try_again_and_no_challenge() {
    let plan = Plan::new(
        &crate::gateway::test_config(),
        &crate::gateway::test_origin(),
        &std::collections::BTreeMap::new(),
        &[],
    );
    for failure in [Failure::Unavailable, Failure::TimedOut, Failure::Overloaded] {
        let answer = refusal(&Stop::Failed(failure), plan.as_ref().unwrap(), &Challenges::new("keyward"), "id");
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()[header::RETRY_AFTER], "1");
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
        assert!(!answer.headers().contains_key(header::WWW_AUTHENTICATE));
    }
}

#[test]
fn every_reason_is_known_to_the_metrics() {
    for stop in every_stop() {
        assert!(REASONS.contains(&stop.reason()), "{}", stop.reason());
    }
}
