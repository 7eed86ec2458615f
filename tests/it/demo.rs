//! The demo's promise: every line it prints, run in a shell, answers what is announced above it.

use std::process::{Command, Stdio};

use crate::support::eventually;
use crate::support::keyward::{Lines, binary};

#[test]
fn every_printed_line_answers_what_is_announced() {
    let mut demo =
        binary().arg("demo").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (stdout, stderr) = (Lines::of(demo.stdout.take().unwrap()), Lines::of(demo.stderr.take().unwrap()));
    // The last announcement's line is there once it is followed by something that runs.
    let lines = || -> Vec<(String, String)> {
        let all = stdout.all();
        let pairs = all.windows(2).filter(|pair| pair[0].starts_with("# "));
        pairs.map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    };
    eventually("the demo prints its six lines", || lines().len() == 6);
    let mut announced_codes = Vec::new();
    for (announcement, line) in lines() {
        let announced = announcement.rsplit_once("-> ").expect("an announcement").1;
        let (status, code) = announced.split_once(' ').unwrap_or((announced, ""));
        let output = Command::new("sh").arg("-c").arg(&line).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{announcement}\n{line}\n{said}");
        assert!(code.is_empty() || said.contains(&format!("\"code\":\"{code}\"")), "{announcement}\n{line}\n{said}");
        announced_codes.push(announced.to_owned());
    }
    assert_eq!(
        announced_codes,
        ["200", "404 ACCOUNT_NOT_FOUND", "200", "401 API_KEY_REQUIRED", "200", "401 API_KEY_INVALID"]
    );
    let folder = lines()
        .iter()
        .find_map(|(_, line)| Some(line.split_once("sqlite://")?.1.split(' ').next()?.to_owned()))
        .unwrap();
    assert!(std::path::Path::new(&folder).exists());
    // Ctrl-C ends it with success and leaves nothing behind.
    assert!(Command::new("kill").args(["-s", "INT", &demo.id().to_string()]).status().unwrap().success());
    assert!(demo.wait().unwrap().success(), "{:?}", stderr.all());
    assert!(!std::path::Path::new(&folder).parent().unwrap().exists());
}
