//! docs/scoping.md says what happens: its settings are used, its service answers what it shows, its commands print what stands
//! below them.

use std::collections::BTreeMap;
use std::fs;

use crate::support::Origin;
use crate::support::page::{blocks, free, run};

#[test]
fn every_example_does_what_it_shows() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/scoping.md")).unwrap();
    let (mut settings, mut commands, mut answers) = (String::new(), String::new(), BTreeMap::new());
    for block in blocks(&text) {
        match block.kind.split_once(' ').unwrap_or_default() {
            ("toml", "tested") => settings.push_str(&block.text),
            // One after the other in one shell.
            ("console", "tested") => commands.push_str(&block.text),
            ("json", path) => drop(answers.insert(path.to_owned(), block.text)),
            kind => panic!("nobody tests a block of kind {kind:?}"),
        }
    }
    assert_eq!(answers.len(), 5, "an example is gone, or one more wants a look here");
    let origin = Origin::scripted(move |line| {
        while let Some((head, _)) = line.request() {
            let path = head.split([' ', '?']).nth(1).unwrap_or_default();
            let body = answers.get(path).map_or("{}", String::as_str);
            let length = body.len();
            line.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            ));
        }
    });
    let (clients, admin) = (free(), free());
    let folder = tempfile::tempdir().unwrap();
    let origin = origin.url();
    let settings = settings.replace("127.0.0.1:3000", origin.strip_prefix("http://").unwrap());
    let addresses = format!("server.listen = [\"{clients}\"]\nadmin.listen = \"{admin}\"\n");
    fs::write(folder.path().join("keyward.toml"), addresses + &settings).unwrap();
    let commands = commands.replace("127.0.0.1:8080", &clients);
    run(&commands.replace("keyward health", &format!("keyward health --admin {admin}")), folder.path());
}
