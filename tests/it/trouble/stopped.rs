//! A keyward that is stopped says nothing, and nobody waits for it for ever.

use super::Scene;

#[test]
fn the_command_line_does_not_wait_for_ever_for_a_stopped_server() {
    let scene = Scene::new();
    scene.keyward.signal("STOP");
    let said = scene.keyward.fails(&["key", "revoke", &scene.remembered.id]);
    let server = format!("the running server (process {}) has said nothing for", scene.keyward.pid());
    assert!(said.contains(&server) && said.contains("look with `list` or `show`"), "{said}");
    // What it had received it carries out as soon as it goes on, as the message says.
    scene.keyward.signal("CONT");
    crate::support::eventually("the key is revoked", || scene.status(&scene.remembered) == 401);
}
