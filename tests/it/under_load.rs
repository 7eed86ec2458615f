//! Reloads and the end, while clients of every kind ask without a pause: nothing of what was sent is lost.

use crate::support::load::{Load, Manner, every_manner};
use crate::support::pki::Root;
use crate::support::tls::Tls;
use crate::support::{Keyward, eventually, keyward};

fn config(root: &Root, folder: &std::path::Path) -> String {
    let files = root.certificate(folder, &["a.test"]);
    format!(
        "reload.watch = false\naccess_log.enabled = false\n[server]\nlisten = [\"127.0.0.1:0\"]\n\
         tls_listen = [\"127.0.0.1:0\"]\n[[server.certificates]]\nchain_file = {:?}\nkey_file = {:?}\n\
         [services.api]\nurl = \"echo\"\n[[routes]]\npath = \"/**\"\nservice = \"api\"\nopen = true\n",
        files.chain, files.key
    )
}

fn started() -> (Keyward, Root) {
    let setup = keyward();
    let root = Root::new(setup.folder());
    let config = config(&root, setup.folder());
    (setup.config(config).start(), root)
}

#[test]
fn twenty_reloads_fail_no_request_and_close_no_connection() {
    let (mut keyward, root) = started();
    let clients = every_manner(keyward.address(), keyward.tls_address(), &Tls::trusting(&root), 2);
    let count = clients.len();
    let load = Load::start(clients);
    for turn in 1..=20 {
        let before = load.answered();
        eventually("each client is answered meanwhile", || load.answered() >= before + 2 * count);
        // Another certificate, another number and another route each time; every other time another origin too.
        let more = format!(
            "[server.limits]\nheader_bytes = \"{}KiB\"\nconnections = {}\n[origin]\nconnect = \"{}s\"\n",
            32 + turn,
            100 + turn,
            3 + turn % 2
        );
        let text = config(&root, keyward.folder()) + &more;
        let route = format!("[[routes]]\npath = \"/turn/{turn}\"\nservice = \"api\"\nopen = true\n");
        let text = text.replacen("[[routes]]", &format!("{route}[[routes]]"), 1);
        std::fs::write(keyward.folder().join("keyward.toml"), text).unwrap();
        keyward.signal("HUP");
        let applied = || keyward.stderr.all().iter().filter(|line| line.contains("were reloaded")).count() == turn;
        eventually("the settings are reloaded", applied);
    }
    let (answered, connections) = (load.answered(), load.connections());
    assert_eq!(load.finish(), [""; 0], "of {answered}");
    assert_eq!(connections, count, "connections for {answered} requests");
    assert_eq!(keyward.stop().code(), Some(0));
}

#[test]
fn through_sigterm_nothing_that_was_sent_is_lost() {
    let (mut keyward, root) = started();
    let trusted = Tls::trusting(&root);
    let mut clients = every_manner(keyward.address(), keyward.tls_address(), &trusted, 3);
    clients.extend(clients.clone().into_iter().take(3).map(|manner| Manner { anew: true, ..manner }));
    let load = Load::start(clients);
    eventually("all is in full swing", || load.answered() >= 300);
    load.ending();
    keyward.signal("TERM");
    assert_eq!(keyward.ended().code(), Some(0));
    let answered = load.answered();
    assert_eq!(load.finish(), [""; 0], "of {answered}");
    keyward.stderr.expect("stopped connections.cut=0");
}
