//! What holds for settings, whatever a file says.

use super::layer::Layer;
use super::read::layered;
use super::{Place, Problem, Problems, Read, Settings};
use crate::measure::{Size, Span};

/// A file gives settings, or problems that each stand in it and tell no password; and what is shown of settings that are
/// good is read as the same settings.
///
/// The input is the file, but for its first line, which is a duration and a size.
pub fn settings(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (measures, file) = text.split_once('\n').unwrap_or(("", &text));
    measure(measures);
    let read = said(file);
    told(&read.problems, file);
    // Whatever file it names is not this property's to open.
    if names_a_file(&read.settings) {
        return;
    }
    let (toml, json) = (read.to_toml(), read.to_json());
    let hides = passwords(file);
    for password in &hides {
        assert!(!toml.contains(password) && !json.to_string().contains(password), "a password is shown");
    }
    match read.resolve() {
        Err(Problems(problems)) => told(&problems, file),
        Ok(settings) => {
            let again = said(&toml).resolve();
            let Ok(again) = again else { panic!("what is shown is not read: {again:?}\n{toml}") };
            let (one, other) = (serde_json::to_value(&settings), serde_json::to_value(&again));
            let (Ok(one), Ok(other)) = (one, other) else { panic!("settings are plain values") };
            // A user and password are not shown, so they are not read again.
            assert!(one == other || toml.contains("[redacted]"), "{one}\n{other}\n{toml}");
        }
    }
}

fn measure(text: &str) {
    if let Ok(span) = text.parse::<Span>() {
        assert_eq!(span.to_string().parse(), Ok(span), "{text}");
    }
    if let Ok(size) = text.parse::<Size>() {
        assert_eq!(size.to_string().parse(), Ok(size), "{text}");
    }
}

/// Reads `text` as the settings file.
fn said(text: &str) -> Read {
    let file = Layer::text("keyward.toml".into(), text.to_owned());
    match layered(Some(file), &[], &[]) {
        Ok(read) => read,
        Err(problems) => panic!("the defaults alone cannot be read: {problems:?}"),
    }
}

/// Every problem is one line, stands in the file or in nothing, and tells no password.
fn told(problems: &[Problem], file: &str) {
    let lines = file.split('\n').count();
    for problem in problems {
        match &problem.place {
            Place::Line(_, line, column) => {
                assert!((1..=lines).contains(line), "{problem}");
                let length = file.split('\n').nth(line - 1).map_or(0, |line| line.chars().count());
                assert!((1..=length + 1).contains(column), "{problem} of {length}");
            }
            Place::Default | Place::Implied => {}
            other => panic!("{other} says nothing here"),
        }
        let shown = problem.to_string();
        assert!(!problem.message.is_empty());
        for password in passwords(file) {
            assert!(!shown.contains(&password), "a password is shown: {shown}");
        }
    }
}

/// What stands before the `@` of URLs that are whole values, where it stands nowhere else and is no word of ours.
fn passwords(file: &str) -> Vec<String> {
    let in_line = |line: &str| {
        let (key, value) = line.split_once("= \"")?;
        key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-. ".contains(&byte)).then_some(())?;
        let (_, rest) = value.split('"').next()?.split_once("://")?;
        let user = rest.split('@').next().filter(|user| user.len() < rest.len())?;
        let password = user.rsplit(':').next()?;
        let plain = password.len() > 7 && password.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let alone = file.matches(password).count() == 1 && !super::read::DEFAULT.contains(password);
        (plain && alone && password.bytes().any(|b| b.is_ascii_digit())).then(|| password.to_owned())
    };
    file.lines().filter_map(in_line).collect()
}

fn names_a_file(settings: &Settings) -> bool {
    let Settings { server, admin, keys, services, .. } = settings;
    let certificates = !server.certificates.is_empty() || admin.chain_file.is_some() || admin.key_file.is_some();
    certificates || keys.pepper_file.is_some() || services.values().any(|service| service.ca_file.is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = String> {
        prop_oneof![
            "\"[a-z0-9 /:@.{}*\u{1}\u{e9}]{0,12}\"".prop_map(|text| text.replace('\u{1}', "\\n")),
            "[0-9]{1,20}|-1|true|1.5|nan|[0-9]{4}-01-01|\\[\\]|\\{\\}",
            "\"(http|sqlite|echo)://paul:s3cret[0-9]{4}@[a-z]{1,3}(:[0-9]{1,4})?\"",
            "\"(30s|1MiB|keep|refuse|echo|/a/\\{account\\}|api|127.0.0.1:0|http://127.0.0.1:1)\"",
            "\\[\"[a-z./:0-9]{0,9}\"(, \"[a-z./:0-9]{0,9}\")?\\]|\\{ (after|path|query|pth) = \"[a-z]{0,3}\" \\}",
        ]
    }

    fn file() -> impl Strategy<Value = String> {
        let reference: Vec<String> = crate::config::read::DEFAULT.lines().map(str::to_owned).collect();
        let key =
            "listen|url|level|idle|path|service|account|open|hosts|realm|body_limit|[a-z_]{1,4}|\"[a-z .é]{0,3}\"";
        let table = "server|admin|gateway|services.api|services.\"a b\"|server.limits|[a-z]{1,3}";
        let line = prop_oneof![
            3 => (key, value()).prop_map(|(key, value)| format!("{key} = {value}")),
            1 => table.prop_map(|name| format!("[{name}]")),
            1 => Just("[[routes]]".to_owned()),
            1 => proptest::sample::select(reference),
            1 => Just("[services.api]\nurl = \"echo\"".to_owned()),
        ];
        proptest::collection::vec(line, 0..8).prop_map(|lines| lines.join("\n"))
    }

    proptest! {
        #[test]
        fn a_file_gives_settings_or_its_own_problems(measure in "[0-9]{1,3}[a-zA-Z ]{0,4}", file in file()) {
            settings(format!("{measure}\n{file}").as_bytes());
        }

        #[test]
        fn a_measure_is_written_as_it_is_read(text in "[0-9]{1,20}([.][0-9]{1,3})? ?[a-zA-Z]{0,6}") {
            measure(&text);
        }
    }
}
