//! Every face of a replica whose database is away says that there is trouble, and that it is ours.

use super::scene::{Scene, assert_unavailable};
use crate::support::{Wire, eventually};

const CONFIG: &str = "\
store.fence = \"1s\"
store.outage = { stale_unsafe = \"60s\" }
keyring.warm = false
self_service.path = \"/self\"
[dialects]
dbt.enabled = true
vultr.enabled = true
userplane.enabled = true
";

/// One of each way in which a holder manages keys.
const PATHS: [&str; 4] =
    ["/self/v1/keys", "/api/v3/accounts/101/service-tokens/", "/v2/apikeys", "/api/v1/public/me/api-keys"];

#[test]
fn store_trouble_is_503_with_retry_after_at_every_face_and_never_a_401() {
    let scene = Scene::new(CONFIG);
    scene.cut();
    let stale = |secret: &str| scene.ask(secret).header("keyward-stale").is_some();
    eventually("requests are served stale", || stale(&scene.remembered.secret));
    // Whose keys are managed is not left to what is remembered, whoever asks and in whichever words.
    for secret in [&scene.remembered.secret, &scene.unused.secret] {
        for path in PATHS {
            let answer = scene.keyward.get(path, secret);
            assert_unavailable(&answer);
            assert_eq!(answer.header("keyward-stale"), None, "{path}");
        }
    }
    let mut admin = Wire::connect(scene.keyward.admin());
    for path in ["/v1/keys", "/v1/replicas", "/v1/whoami"] {
        let bearer = format!("Bearer {}", scene.operator);
        assert_unavailable(&admin.ask("GET", path, &[("Authorization", &bearer)]));
    }
    assert_unavailable(&scene.ask("an-opaque-secret-that-nobody-has"));
    assert_eq!(scene.ready(), 200, "who forwards requests is ready");
    assert_eq!(scene.keyward.metric("keyward_store_readable"), 0);
    scene.mend();
    eventually("it is as before", || !stale(&scene.remembered.secret) && scene.ask(&scene.unused.secret).status == 200);
}
