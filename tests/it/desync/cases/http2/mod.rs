//! HTTP/2: its fields, which become lines of HTTP/1.1 (RFC 9113, 8), and its frames (RFC 9113, 6).

const A: &[&str] = &["GET /a"];
const MALFORMED: &[&str] = &["400 REQUEST_MALFORMED"];
const RESET: &[&str] = &["reset"];
const GONE: &[&str] = &["goaway"];

/// The fields of a request with a key, and more.
macro_rules! fields {
    ($method:literal $path:literal $(, $name:literal: $value:literal)*) => {
        &[
            (":method", $method),
            (":scheme", "https"),
            (":authority", "api.test"),
            (":path", $path),
            ("authorization", "Token <secret>"),
            $(($name, $value),)*
        ]
    };
}

/// A GET of `/a` with these fields besides.
macro_rules! with {
    ($($name:literal: $value:literal),*) => {
        Sent::Frames(&[Ask(1, fields!("GET" "/a" $(, $name: $value)*))])
    };
}

/// A GET of this path.
macro_rules! path {
    ($path:literal) => {
        Sent::Frames(&[Ask(1, fields!("GET" $path))])
    };
}

/// A request of exactly these fields, and a key.
macro_rules! exactly {
    ($($name:literal: $value:literal),*) => {
        Sent::Frames(&[Ask(1, &[$(($name, $value),)* ("authorization", "Token <secret>")])])
    };
}

macro_rules! frames {
    ($($frame:expr),* $(,)?) => {
        Sent::Frames(&[$($frame),*])
    };
}

pub(super) mod fields;
pub(super) mod frames;
