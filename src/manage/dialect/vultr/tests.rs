use super::wire::{Links, cut, page};
use super::*;

#[test]
fn the_paths_that_are_answered_here_are_those_of_keys_and_the_account() {
    for path in [
        "/v2/apikeys",
        "/v2/apikeys/",
        "/v2/apikeys/key_1/",
        "/v2/apikeys/key_1/rotate",
        "/v2/users/paul/apikeys",
        "/v2/users/paul/apikeys/key_1",
        "/v2/account",
        "/v2/account/",
    ] {
        assert!(has(path) && words(path), "{path}");
    }
    for path in ["/v2", "/v2/", "/v2/instances", "/v2/apikeysx", "/v2/users/paul", "/v2/users", "/v2/account/bgp"] {
        assert!(!has(path) && words(path), "{path}");
    }
    assert!(!words("/v2x/apikeys") && !has("/v1/apikeys"));
}

#[test]
fn pages_lead_forth_and_back_through_all_keys_and_nowhere_else() {
    let serials = [3, 5, 8, 13, 21];
    let at = |cursor: &str| cut(&serials, page(Some(&format!("per_page=2&cursor={cursor}"))).unwrap());
    let (first, links) = at("");
    assert_eq!((first, links.prev.as_str()), (0..2, ""));
    let (second, links) = at(&links.next);
    assert_eq!(second, 2..4);
    let (last, end) = at(&links.next);
    assert_eq!((last, end.next.as_str()), (4..5, ""));
    assert_eq!(at(&end.prev).0, 2..4);
    assert_eq!(at(&links.prev).0, 0..2);
    assert_eq!(cut(&[], page(None).unwrap()), (0..0, Links::default()));
    assert_eq!(cut(&serials, page(Some("per_page=500&type=all")).unwrap()), (0..5, Links::default()));
    for query in ["per_page=0", "per_page=501", "per_page=x", "cursor=x", "per_page=1&per_page=2"] {
        assert_eq!(page(Some(query)).unwrap_err().code, Code::ValidationFailed, "{query}");
    }
}
