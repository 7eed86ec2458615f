//! A Rust source file as far as the floors need it: code without comments and strings, the paths that start at this
//! crate, and the count of lines that are neither test, comment nor blank. Lines keep their numbers throughout.

/// Each path that starts at the top of this crate: the line it stands on and the module it names. Tests are judged too.
///
/// Such a path begins with `crate`, or with as many `super` as the module lies deep; `depth` is that of the file.
pub(super) fn imports(text: &str, depth: usize) -> Vec<(usize, String)> {
    let code = blank(text);
    let tops = words(&code, "crate").filter_map(|at| Some((at, step(&code[at..], "crate")?)));
    let climbs = words(&code, "super").filter_map(|at| Some((at, climb(&code, at, depth)?)));
    let mut imports = Vec::new();
    for (at, rest) in tops.chain(climbs) {
        let line = code[..at].matches('\n').count() + 1;
        let heads = rest.strip_prefix('{').map_or_else(|| vec![head(rest)], group);
        imports.extend(heads.into_iter().map(|module| (line, module)));
    }
    imports
}

/// Where `word` stands as a word of its own and begins a path.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let begins = |before: &str| !before.ends_with(is_word) && !before.trim_end().ends_with("::");
    code.match_indices(word).map(|(at, _)| at).filter(move |at| begins(&code[..*at]))
}

/// What follows `word::`. `pub(crate)` and `extern crate` go no further than the word.
fn step<'a>(path: &'a str, word: &str) -> Option<&'a str> {
    Some(path.strip_prefix(word)?.trim_start().strip_prefix("::")?.trim_start())
}

/// What follows the `super`s at `at`, when they lead out of every module around them.
fn climb(code: &str, at: usize, depth: usize) -> Option<&str> {
    let (mut rest, mut climbed) = (&code[at..], 0);
    while let Some(further) = step(rest, "super") {
        (rest, climbed) = (further, climbed + 1);
    }
    (climbed > 0 && climbed == depth + inline_modules(&code[..at])).then_some(rest)
}

/// How many `mod name {` are open at the end of `code`.
fn inline_modules(code: &str) -> usize {
    let mut open = Vec::new();
    for (at, character) in code.char_indices() {
        match character {
            '{' => {
                let before = code[..at].trim_end().trim_end_matches(is_word);
                open.push(before.trim_end().ends_with("mod") && before.ends_with(char::is_whitespace));
            }
            '}' => {
                open.pop();
            }
            _ => {}
        }
    }
    open.into_iter().filter(|is_module| *is_module).count()
}

/// Lines of code, without those of `#[cfg(test)] mod …`.
pub(super) fn code_lines(text: &str) -> usize {
    let code = blank(text);
    let mut count = 0;
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            skip_item(&mut lines);
        } else if !line.trim().is_empty() {
            count += 1;
        }
    }
    count
}

/// Passes over the item that an attribute stands on: up to its `;`, or to the brace that closes it.
fn skip_item<'a>(lines: &mut impl Iterator<Item = &'a str>) {
    let mut depth = 0_i32;
    for line in lines {
        for character in line.chars() {
            depth += match character {
                '{' => 1,
                '}' => -1,
                _ => 0,
            };
        }
        let end = line.trim_end();
        if depth == 0 && (end.ends_with('}') || end.ends_with(';')) {
            return;
        }
    }
}

/// The first words of a brace group: `{a::b, c::{d, e}}` names `a` and `c`.
fn group(inside: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, character) in inside.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                heads.push(head(inside[start..at].trim_start()));
                start = at + 1;
                if character == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

fn head(path: &str) -> String {
    path.chars().take_while(|character| is_word(*character)).collect()
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The text with comments, strings and character literals blanked out; line ends stay.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after_word = code.ends_with(is_word);
        let hidden = hidden_prefix(rest, after_word);
        if hidden > 0 {
            code.extend(rest[..hidden].chars().map(|character| if character == '\n' { '\n' } else { ' ' }));
            rest = &rest[hidden..];
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

/// How many bytes at the start of `rest` are a comment or a literal; 0 when it starts with code.
fn hidden_prefix(rest: &str, after_word: bool) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if let Some(inside) = rest.strip_prefix('"') {
        return 1 + quoted(inside, '"');
    }
    if !after_word {
        for prefix in ["br", "cr", "r"] {
            if let Some(length) = rest.strip_prefix(prefix).and_then(raw_string) {
                return prefix.len() + length;
            }
        }
    }
    character(rest)
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length up to and with the closing quote, escapes heeded.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `#"…"#` with any number of hashes, also none; nothing for a raw identifier such as `r#type`.
fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let inside = rest[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(hashes + 1 + inside.find(&end).map_or(inside.len(), |at| at + end.len()))
}

/// A character literal; 0 for a lifetime.
fn character(rest: &str) -> usize {
    let Some(inside) = rest.strip_prefix('\'') else {
        return 0;
    };
    let mut characters = inside.chars();
    match (characters.next(), characters.next()) {
        (Some('\\'), _) => 1 + quoted(inside, '\''),
        (Some(one), Some('\'')) => 1 + one.len_utf8() + 1,
        _ => 0,
    }
}

#[test]
fn comments_strings_and_characters_are_not_imports() {
    let text = r###"
        // use crate::store::A;
        /* use crate::store::B; /* nested */ crate::store::C */
        const S: &str = "crate::store::D \" crate::store::E";
        const R: &str = r#"crate::store::"F""#;
        const B: &[u8] = br"crate::store::G\";
        const Q: char = '"';
        pub(crate) fn f<'a>(x: &'a str, mycrate: u8) { mycrate::store::h(); }
        use crate::key::I;
    "###;
    assert_eq!(imports(text, 1), [(9, "key".to_owned())]);
}

#[test]
fn a_group_names_each_of_its_heads() {
    let text =
        "use crate::{\n    clock::{Clock, Timestamp},\n    key::{self, token::{Prefix, Token}},\n    secret,\n};";
    let heads: Vec<_> = imports(text, 1).into_iter().map(|(_, head)| head).collect();
    assert_eq!(heads, ["clock", "key", "secret"]);
}

#[test]
fn a_climb_to_the_top_is_an_import_and_a_shorter_one_is_not() {
    let text = "use super::beside;\nuse super::super::store::Store;\nmod tests {\n    use super::super::beside;\n}\n";
    assert_eq!(imports(text, 2), [(2, "store".to_owned())]);
    assert_eq!(imports("mod tests {\n    use super::*;\n    pub(super) fn f() {}\n}", 1), []);
}

#[test]
fn only_code_is_counted() {
    let text =
        "//! Why.\n\nfn f() {\n    // because\n    g();\n}\n\n#[cfg(test)]\nmod tests {\n    fn h() {}\n}\nfn i() {}\n";
    assert_eq!(code_lines(text), 4);
    assert_eq!(code_lines("#[cfg(test)]\nmod tests;\nfn i() {}\n"), 1);
}
