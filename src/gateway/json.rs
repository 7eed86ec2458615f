//! JSON that is judged: read in one way only, looked up by pointers, and written again as it came but for what was taken out.
//!
//! Two members of one name are read as the first by some programs and as the last by others, so such a text is refused. Numbers
//! and strings are kept as they were written: no program between client and service is to round them.

use std::collections::HashSet;

use serde::de::IgnoredAny;

/// A text, taken apart. Scalars are as they were written.
#[derive(Debug)]
pub(super) enum Json<'a> {
    Scalar(&'a str),
    /// How many items are left of a list, in the place of what the service counted.
    Count(usize),
    List(Vec<Self>),
    Object(Vec<Member<'a>>),
}

/// A member of an object.
#[derive(Debug)]
pub(super) struct Member<'a> {
    /// As it was written, with its quotes.
    raw: &'a str,
    pub(super) name: String,
    pub(super) value: Json<'a>,
}

/// The text is no JSON, is nested too deeply, or names a member twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no JSON that can be read in one way only")]
pub(super) struct Unreadable;

impl<'a> Json<'a> {
    /// Takes a text apart.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let text = std::str::from_utf8(bytes).map_err(|_| Unreadable)?;
        // Whether it is JSON is for a parser to say that many have looked at; what is left is to find the parts.
        serde_json::from_str::<IgnoredAny>(text).map_err(|_| Unreadable)?;
        let mut reader = Reader { text, at: 0 };
        reader.value(DEEPEST).ok_or(Unreadable)
    }

    /// Writes it again, after what is there.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Scalar(text) => out.push_str(text),
            Self::Count(count) => out.push_str(&count.to_string()),
            Self::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (at, member) in members.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    out.push_str(member.raw);
                    out.push(':');
                    member.value.write(out);
                }
                out.push('}');
            }
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Scalar("null"))
    }

    /// A string or a whole number as text: what an account can be written as.
    pub(super) fn id(&self) -> Option<String> {
        match self {
            Self::Scalar(text) if text.starts_with('"') => serde_json::from_str(text).ok(),
            Self::Scalar(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => Some((*text).to_owned()),
            _ => None,
        }
    }

    /// What a pointer's next step leads to: nothing where that is missing.
    ///
    /// # Errors
    /// [`Astray`] where there is no list or object to go into.
    fn step<'b>(&'b mut self, step: &Step) -> Result<Vec<&'b mut Self>, Astray> {
        match (self, step) {
            (Self::List(items), Step::Every) => Ok(items.iter_mut().collect()),
            (Self::Object(members), Step::Every) => Ok(members.iter_mut().map(|member| &mut member.value).collect()),
            (Self::Object(members), Step::Named(name)) => {
                let named = members.iter_mut().filter(|member| member.name == **name);
                Ok(named.map(|member| &mut member.value).collect())
            }
            (Self::List(items), Step::Named(name)) => {
                let at = name.parse::<usize>().ok().filter(|at| at.to_string() == **name).ok_or(Astray)?;
                Ok(items.get_mut(at).into_iter().collect())
            }
            (Self::Scalar(_) | Self::Count(_), _) => Err(Astray),
        }
    }
}

/// A pointer leads into what is no list and no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Astray;

/// A JSON pointer (RFC 6901), in which a step may be `*`: every item of a list, or every member's value of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    text: Box<str>,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Named(Box<str>),
    Every,
}

/// What stands where a pointer leads.
#[derive(Debug)]
pub(super) struct Found<'b, 'a> {
    pub(super) values: Vec<&'b mut Json<'a>>,
    /// On some way something was not there, or was null.
    pub(super) missing: bool,
    /// On some way there was something, and it was no list or object to go into.
    pub(super) astray: bool,
}

impl Pointer {
    /// Reads a pointer.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "{text:?} is no JSON pointer: write \"/data/id\", each name after a slash, \"~1\" for \"/\" and \"~0\" for \"~\""
            )
        };
        let steps = match text.strip_prefix('/') {
            None if text.is_empty() => Vec::new(),
            None => return Err(bad()),
            Some(rest) => rest.split('/').map(|name| step(name).ok_or_else(bad)).collect::<Result<_, _>>()?,
        };
        Ok(Self { text: text.into(), steps })
    }

    /// As it was written.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it leads to one place.
    pub(super) fn is_single(&self) -> bool {
        !self.steps.contains(&Step::Every)
    }

    /// Whether it leads into nothing: to the whole.
    pub(super) fn is_whole(&self) -> bool {
        self.steps.is_empty()
    }

    /// Everything it leads to.
    pub(super) fn find<'b, 'a>(&self, root: &'b mut Json<'a>) -> Found<'b, 'a> {
        let mut found = Found { values: vec![root], missing: false, astray: false };
        for step in &self.steps {
            let mut next = Vec::new();
            for value in found.values {
                if value.is_null() {
                    found.missing = true;
                    continue;
                }
                match value.step(step) {
                    Ok(values) if values.is_empty() && *step != Step::Every => found.missing = true,
                    Ok(values) => next.extend(values),
                    Err(Astray) => found.astray = true,
                }
            }
            found.values = next;
        }
        found
    }

    /// The values of the member it leads to, its name without regard to case, as some programs read it; none where it is missing.
    ///
    /// # Errors
    /// [`Astray`] where it leads into what is no object.
    pub(super) fn folded<'b, 'a>(&self, root: &'b Json<'a>) -> Result<Vec<&'b Json<'a>>, Astray> {
        let mut values = vec![root];
        for step in &self.steps {
            let Step::Named(name) = step else { return Err(Astray) };
            let mut next = Vec::new();
            for value in values.into_iter().filter(|value| !value.is_null()) {
                let Json::Object(members) = value else { return Err(Astray) };
                let named = members.iter().filter(|member| fold(&member.name) == fold(name));
                next.extend(named.map(|member| &member.value));
            }
            values = next;
        }
        Ok(values)
    }
}

fn step(name: &str) -> Option<Step> {
    let escapes = name.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    match name {
        "*" => Some(Step::Every),
        _ => escapes.then(|| Step::Named(name.replace("~1", "/").replace("~0", "~").into())),
    }
}

/// A name as programs compare it that have no regard to case: `ſ` is an `s` to them, and the Kelvin sign a `k`.
fn fold(name: &str) -> String {
    name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// Finds the parts of a text that is known to be JSON.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Option<Json<'a>> {
        match self.peek()? {
            b'[' => {
                let mut items = Vec::new();
                let depth = depth.checked_sub(1)?;
                self.at += 1;
                while self.peek()? != b']' {
                    items.push(self.value(depth)?);
                    self.skip_comma()?;
                }
                self.at += 1;
                Some(Json::List(items))
            }
            b'{' => {
                let mut members: Vec<Member<'a>> = Vec::new();
                let depth = depth.checked_sub(1)?;
                self.at += 1;
                while self.peek()? != b'}' {
                    let raw = self.string()?;
                    if self.peek()? != b':' {
                        return None;
                    }
                    self.at += 1;
                    members.push(Member { raw, name: serde_json::from_str(raw).ok()?, value: self.value(depth)? });
                    self.skip_comma()?;
                }
                self.at += 1;
                let mut names = HashSet::with_capacity(members.len());
                let single = members.iter().all(|member| names.insert(member.name.as_str()));
                single.then_some(Json::Object(members))
            }
            b'"' => self.string().map(Json::Scalar),
            _ => {
                let rest = &self.text[self.at..];
                let end = rest.find([',', ']', '}', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
                self.at += end;
                Some(Json::Scalar(&rest[..end]))
            }
        }
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        self.at += rest.iter().position(|byte| !b" \t\n\r".contains(byte))?;
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_comma(&mut self) -> Option<()> {
        if self.peek()? == b',' {
            self.at += 1;
        }
        Some(())
    }

    /// A string as it was written, with its quotes.
    fn string(&mut self) -> Option<&'a str> {
        self.peek().filter(|byte| *byte == b'"')?;
        let rest = &self.text[self.at..];
        let mut escaped = false;
        let end = rest.bytes().skip(1).position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })?;
        self.at += end + 2;
        rest.get(..end + 2)
    }
}

/// How deeply lists and objects may be nested.
const DEEPEST: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn written(text: &str) -> Result<String, Unreadable> {
        let mut out = String::new();
        Json::read(text.as_bytes())?.write(&mut out);
        Ok(out)
    }

    #[test]
    fn what_is_written_is_what_was_read_without_the_white_space() {
        let number = "123456789012345678901234567890.10e-400";
        let text =
            format!(" {{ \"b\\u0020\" : [ 1.10 , {number}, -0 ,\"a, \\\" ]\\\\\" ], \"a\":{{ }}, \"\":null }}\n");
        let expected = format!("{{\"b\\u0020\":[1.10,{number},-0,\"a, \\\" ]\\\\\"],\"a\":{{}},\"\":null}}");
        assert_eq!(written(&text), Ok(expected));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_not_read() {
        let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
        for text in
            ["", "{", "[1,]", "{} {}", "{\"a\":1,\"a\":2}", "[{\"a\":1,\"\\u0061\":2}]", "nul", "01", "'a'", &deep]
        {
            assert_eq!(written(text), Err(Unreadable), "{text}");
        }
        assert!(Json::read(b"\"\xff\"").is_err());
        assert!(Json::read(b"\xef\xbb\xbf{}").is_err());
        assert!(written(&format!("{}{}", "[".repeat(64), "]".repeat(64))).is_ok());
    }

    #[test]
    fn a_pointer_leads_where_rfc_6901_says_and_a_star_everywhere() {
        let text = r#"{"a/b":{"~":[10,{"x":1},{"x":2}]},"n":null}"#;
        for (pointer, expected, missing, astray) in [
            ("", vec![text], false, false),
            ("/a~1b/~0/0", vec!["10"], false, false),
            ("/a~1b/~0/1/x", vec!["1"], false, false),
            ("/a~1b/~0/*/x", vec!["1", "2"], false, true),
            ("/a~1b/~0/*", vec!["10", "{\"x\":1}", "{\"x\":2}"], false, false),
            ("/*/~0/0", vec!["10"], true, false),
            ("/a~1b/~0/3", vec![], true, false),
            ("/a~1b/~0/01", vec![], false, true),
            ("/n/x", vec![], true, false),
            ("/none/x", vec![], true, false),
        ] {
            let mut json = Json::read(text.as_bytes()).unwrap();
            let found = Pointer::parse(pointer).unwrap().find(&mut json);
            let values: Vec<String> = found
                .values
                .iter()
                .map(|value| {
                    let mut out = String::new();
                    value.write(&mut out);
                    out
                })
                .collect();
            let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!((values, found.missing, found.astray), (expected, missing, astray), "{pointer}");
        }
        for bad in ["a", "a/b", "/~", "/~2", "#/a"] {
            assert!(Pointer::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_folded_name_is_found_in_whichever_case_it_comes() {
        let pointer = Pointer::parse("/task/id").unwrap();
        let found = |text: &str| {
            let json = Json::read(text.as_bytes()).unwrap();
            pointer.folded(&json).map(|values| values.len())
        };
        assert_eq!(found(r#"{"task":{"id":1,"ID":2},"TA\u017fK":{"Id":3}}"#), Ok(3));
        assert_eq!(found(r#"{"ta\u017f\u212a":{"id":3}}"#), Ok(1));
        assert_eq!(found(r#"{"task":null}"#), Ok(0));
        assert_eq!(found("{}"), Ok(0));
        assert_eq!(found(r#"{"task":[{"id":1}]}"#), Err(Astray));
        assert_eq!(found("[]"), Err(Astray));
    }

    #[test]
    fn an_id_is_a_string_or_a_whole_number() {
        for (text, id) in
            [("101", Some("101")), ("\"1\\u0030\"", Some("10")), ("101.0", None), ("-1", None), ("1e2", None)]
        {
            assert_eq!(Json::read(text.as_bytes()).unwrap().id().as_deref(), id, "{text}");
        }
        assert_eq!(Json::read(b"null").unwrap().id(), None);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
            "[\\\\\"\u{0}-\u{1f},:\\[\\]{}]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::hash_map("[\\\\\"a-c]{0,3}", inner, 0..5)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        /// Whatever comes, valid texts with a byte exchanged included.
        #[test]
        fn what_is_read_is_what_serde_reads(
            value in any_json(),
            at: prop::sample::Index,
            with in "[\\[\\]{}:,\"\\\\a0.eE+\\- \\n\u{e4}]{0,3}",
            alone: bool,
        ) {
            let mut text = if alone { String::new() } else { value.to_string() };
            let ends: Vec<usize> = (0..=text.len()).filter(|at| text.is_char_boundary(*at)).collect();
            let from = at.index(ends.len());
            text.replace_range(ends[from]..ends[(from + 1).min(ends.len() - 1)], &with);
            if let Ok(again) = written(&text) {
                let read = |text: &str| serde_json::from_str::<Value>(text).ok();
                // Neither may hold in a number what a float cannot; that is JSON all the same, and kept as it is.
                prop_assert!(serde_json::from_str::<IgnoredAny>(&again).is_ok());
                prop_assert_eq!(read(&again), read(&text));
            }
        }

        #[test]
        fn it_reads_as_serde_reads(value in any_json(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            prop_assert_eq!(written(&text.unwrap()), Ok(value.to_string()));
        }
    }
}
