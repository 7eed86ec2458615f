//! Pages that show commands, and the promise that they do what they show.
//!
//! The lines of a console block run one after the other in one shell, and each must print what stands below it. `[..]`
//! stands for any text within a line.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

/// A fenced block: the words behind its fence, and what stands in it.
pub(crate) struct Block {
    pub(crate) kind: String,
    pub(crate) text: String,
}

/// The fenced blocks of a page that have a kind.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(kind) = line.strip_prefix("```").filter(|kind| !kind.is_empty()) {
            let text: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(Block { kind: kind.to_owned(), text: text.join("\n") + "\n" });
        }
    }
    blocks
}

/// Runs a console block in `folder`; each command's output is kept apart by a mark.
pub(crate) fn run(block: &str, folder: &Path) {
    let mut script = "set -m\n".to_owned();
    let mut expected: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), expected.last_mut()) {
            (Some(command), _) => {
                script.push_str(&format!("{command}\nprintf '\\036'\nprintf '\\036' >&2\n"));
                expected.push((command, Vec::new()));
            }
            (None, Some((_, output))) => output.push(line),
            (None, None) => panic!("a block begins with a command, not with {line:?}"),
        }
    }
    let bin = Path::new(env!("CARGO_BIN_EXE_keyward")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash").arg("-c").arg(&script).current_dir(folder).env("PATH", path).output().unwrap();
    let part =
        |bytes: &[u8]| -> Vec<String> { String::from_utf8_lossy(bytes).split('\u{1e}').map(str::to_owned).collect() };
    let (stdout, stderr) = (part(&output.stdout), part(&output.stderr));
    for (at, (command, expected)) in expected.iter().enumerate() {
        // The shell's own word about its jobs is not the command's.
        let said = format!("{}{}", stdout[at], stderr[at]);
        let said: Vec<&str> =
            said.lines().filter(|line| !line.starts_with('[') && !line.contains("Terminated")).collect();
        let equal =
            said.len() == expected.len() && said.iter().zip(expected).all(|(said, expected)| fits(said, expected));
        assert!(
            equal,
            "$ {command}\nsays {said:#?}\nand not {expected:#?}\n{}",
            fs::read_to_string(folder.join("keyward.log")).unwrap_or_default()
        );
    }
}

/// Whether `said` is `expected`, where `[..]` is any text.
fn fits(said: &str, expected: &str) -> bool {
    let mut parts = expected.split("[..]");
    let Some(mut rest) = said.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut open = false;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = if part.is_empty() { "" } else { &rest[at + part.len()..] };
        open = part.is_empty();
    }
    rest.is_empty() || open
}

/// An address nobody listens at, to stand in for one of the page's.
pub(crate) fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn a_pattern_fits_what_it_says_and_no_more() {
    for (said, expected, fit) in [
        ("abc", "abc", true),
        ("abc", "a[..]", true),
        ("abc", "a[..]c", true),
        ("abc", "a[..]b", false),
        ("abc", "ab", false),
        ("abc", "[..]", true),
    ] {
        assert_eq!(fits(said, expected), fit, "{said} {expected}");
    }
}
