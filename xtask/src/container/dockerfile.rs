//! What can be said about the Dockerfile without an engine, so that it is said also where none can start.
//!
//! It is no parser of the whole language: it joins continued lines, and asks of each instruction the few things that
//! have broken an image before.

use std::fs;

use crate::place;
use crate::run::Trouble;

pub(super) fn check() -> Result<(), Trouble> {
    let text = fs::read_to_string(place::root().join("Dockerfile")).map_err(Trouble::io("read Dockerfile"))?;
    // dist/keyward is made by a build; everything else must be in the repository.
    let faults = faults(&text, |source| source.starts_with("dist/") || place::root().join(source).exists());
    if faults.is_empty() {
        return Ok(());
    }
    Err(Trouble::Wrong(format!("Dockerfile:\n  {}", faults.join("\n  "))))
}

fn faults(text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    let mut stages: Vec<&str> = Vec::new();
    let lines = instructions(text);
    if text.lines().any(|line| line.starts_with("# syntax=")) {
        faults.push("a `# syntax=` line makes the builder fetch a front end".to_owned());
    }
    for line in &lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["FROM", image, rest @ ..] => {
                if !(*image == "scratch" || image.starts_with("${") || stages.contains(image)) {
                    faults.push(format!("FROM {image}: neither scratch, nor an argument, nor a stage"));
                }
                if let ["AS", stage] = rest {
                    stages.push(stage);
                }
            }
            ["COPY", rest @ ..] if !rest.iter().any(|word| word.starts_with("--from=")) => {
                let mut sources: Vec<&&str> = rest.iter().filter(|word| !word.starts_with("--")).collect();
                sources.pop();
                for source in sources.into_iter().filter(|source| !exists(source)) {
                    faults.push(format!("COPY {source}: no such file"));
                }
            }
            ["USER", user, ..] if user.starts_with('0') || !user.starts_with(|c: char| c.is_ascii_digit()) => {
                faults.push(format!("USER {user}: must be a number that is not root's, so that runAsNonRoot can tell"));
            }
            ["ENTRYPOINT" | "CMD", first, ..] if !first.starts_with('[') => {
                faults.push(format!("{line}: there is no shell, so it must be a list"));
            }
            _ => {}
        }
    }
    for needed in ["USER", "ENTRYPOINT", "HEALTHCHECK", "VOLUME"] {
        if !lines.iter().any(|line| line.split_whitespace().next() == Some(needed)) {
            faults.push(format!("{needed} is missing"));
        }
    }
    faults
}

/// The instructions, one a line, without comments.
fn instructions(text: &str) -> Vec<String> {
    let mut instructions = vec![String::new()];
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (part, continues) = line.strip_suffix('\\').map_or((line, false), |part| (part, true));
        if let Some(last) = instructions.last_mut() {
            last.push_str(part);
        }
        if !continues {
            instructions.push(String::new());
        }
    }
    instructions.retain(|line| !line.is_empty());
    instructions
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "FROM scratch AS base\nCOPY a /a\nUSER 7:7\nVOLUME /v\nHEALTHCHECK CMD [\"/a\"]\nENTRYPOINT [\"/a\"]\n";

    #[test]
    fn a_good_file_has_no_faults() {
        assert_eq!(faults(GOOD, |_| true), Vec::<String>::new());
    }

    #[test]
    fn a_missing_source_is_named() {
        assert_eq!(faults(GOOD, |source| source != "a"), ["COPY a: no such file"]);
    }

    #[test]
    fn a_shell_form_a_root_user_and_a_pulled_image_are_found() {
        let bad = GOOD
            .replace("FROM scratch", "FROM debian:12")
            .replace("USER 7:7", "USER root")
            .replace("ENTRYPOINT [\"/a\"]", "ENTRYPOINT \\\n  /a");
        assert_eq!(faults(&bad, |_| true).len(), 3);
    }
}
