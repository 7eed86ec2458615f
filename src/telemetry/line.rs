//! One JSON object, written field by field at the end of a buffer.
//!
//! A line of the access log is written for every request, so it takes neither a serializer nor a formatter: most texts need
//! no escape and are copied; the rest is serde_json's.

/// An object that has begun.
#[derive(Debug)]
pub struct Line<'a> {
    bytes: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Line<'a> {
    /// Begins an object at the end of `bytes`.
    pub fn begin(bytes: &'a mut Vec<u8>) -> Self {
        bytes.push(b'{');
        Self { bytes, empty: true }
    }

    /// Adds a text. `name` is written as it is.
    pub fn text(&mut self, name: &'static str, text: &str) {
        self.name(name);
        if text.bytes().fold(true, |so_far, byte| so_far & is_plain(byte)) {
            self.bytes.push(b'"');
            self.bytes.extend_from_slice(text.as_bytes());
            self.bytes.push(b'"');
        } else {
            // Writing to a Vec cannot fail.
            let _ = serde_json::to_writer(&mut *self.bytes, text);
        }
    }

    /// Adds a text where there is one.
    pub fn optional(&mut self, name: &'static str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// Adds a number.
    pub fn number(&mut self, name: &'static str, number: u64) {
        self.name(name);
        self.bytes.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    /// Ends the object.
    pub fn end(self) {
        self.bytes.push(b'}');
    }

    fn name(&mut self, name: &'static str) {
        if !std::mem::take(&mut self.empty) {
            self.bytes.push(b',');
        }
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b"\":");
    }
}

/// What JSON takes as it is (RFC 8259, 7).
const fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte != b'"' && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(fields: &[(&'static str, &str)], number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut line = Line::begin(&mut bytes);
        for (name, text) in fields {
            line.text(name, text);
        }
        line.optional("none", None);
        line.number("number", number);
        line.end();
        bytes
    }

    proptest! {
        #[test]
        fn any_text_is_read_back_as_it_was(one in ".{0,40}", other in "[ -~]{0,40}", number: u64) {
            let read: serde_json::Value = serde_json::from_slice(&written(&[("a", &one), ("b", &other)], number)).unwrap();
            prop_assert_eq!(read, serde_json::json!({"a": one, "b": other, "number": number}));
        }
    }

    #[test]
    fn what_would_end_the_text_or_the_line_is_escaped() {
        assert_eq!(written(&[("a", "\"\\\n\u{7f}ä")], 7), "{\"a\":\"\\\"\\\\\\n\u{7f}ä\",\"number\":7}".as_bytes());
    }
}
