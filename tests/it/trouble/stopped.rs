//! A keyward that is stopped says nothing, and nobody waits for it for ever.

use super::Scene;
use crate::support::keyward::binary;

#[test]
fn the_command_line_does_not_wait_for_ever_for_a_stopped_server() {
    let scene = Scene::new();
    let operator = scene.keyward.mint(&["--kind", "operator"]).secret;
    scene.keyward.signal("STOP");
    let url = format!("http://{}", scene.keyward.admin());
    let mut elsewhere = binary();
    elsewhere.args(["key", "revoke", &scene.other.id, "--admin", &url]).env("KEYWARD_OPERATOR_KEY", operator);
    let elsewhere = elsewhere.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let said = scene.keyward.fails(&["key", "revoke", &scene.remembered.id]);
    let server = format!("the running server (process {}) has said nothing for", scene.keyward.pid());
    assert!(said.contains(&server) && said.contains("look with `list` or `show`"), "{said}");
    let elsewhere = elsewhere.wait_with_output().unwrap();
    let heard = String::from_utf8_lossy(&elsewhere.stderr);
    assert!(heard.contains(&format!("cannot ask the keyward at {url}: it has said nothing for 15s")), "{heard}");
    // What it had received it carries out as soon as it goes on, as the message says.
    scene.keyward.signal("CONT");
    crate::support::eventually("the key is revoked", || scene.status(&scene.remembered) == 401);
}
