//! Secrets in a text that somebody found.

use super::token::{Shape, shape};
use crate::secret::Secret;

/// What a text holds of secrets, each once: all that have our form and an intact checksum; where there is none, the text itself
/// where it is one word, which may be an adopted secret.
#[must_use]
pub fn secrets(text: &[u8]) -> Vec<Secret> {
    // As \b has it in the pattern that scanners know.
    let words = text.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
    let mut found: Vec<&[u8]> = words.filter(|word| matches!(shape(word), Shape::Ours { intact: true, .. })).collect();
    found.sort_unstable();
    found.dedup();
    if found.is_empty() {
        let alone = text.trim_ascii();
        found.extend(Some(alone).filter(|alone| crate::secret::is_visible(alone) && LENGTHS.contains(&alone.len())));
    }
    found.into_iter().map(Secret::new).collect()
}

/// No secret is shorter or longer, minted or adopted.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_in_any_text_or_are_the_text() {
        let key = format!("kw_live_{}{}4AlRon", "0".repeat(12), "a".repeat(32));
        let held = |text: &[u8]| -> Vec<String> {
            secrets(text).iter().map(|secret| secret.expose_str().unwrap().to_owned()).collect()
        };
        for around in ["{}", " {}\n", "key={}&x=1", "\"{}\"", "a\u{e9}{}\u{e9}", "{} and {} again"] {
            assert_eq!(held(around.replace("{}", &key).as_bytes()), [key.as_str()], "{around}");
        }
        assert_eq!(held(&[&[0xff, b' '], key.as_bytes(), &[0]].concat()), [key.as_str()]);
        assert_eq!(held(b"  adopted-from-elsewhere\n"), ["adopted-from-elsewhere"]);
        for none in ["", "short", "a text of several words", "x kw_live_short"] {
            assert!(held(none.as_bytes()).is_empty(), "{none}");
        }
        let wrong = key.replace("4AlRon", "4AlRoo");
        assert!(held(format!("see {wrong}").as_bytes()).is_empty(), "its checksum does not hold");
    }
}
