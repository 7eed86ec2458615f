//! The values a metric's label may take, where they are known when keyward is built.
//!
//! Labels are bounded on purpose: a path, a key or a host from the wire would let anybody grow the scrape without end.

/// An enum whose variants are a label's values: `ALL` in order, `index` into it, and the text.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every value, in the order of [`Self::index`].
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Where this value stands in [`Self::ALL`].
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }

            /// The value as it is written in the scrape.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

labels! {
    /// What was decided about a request.
    Decision {
        /// It may go on.
        Allowed = "allowed",
        /// It may not: the caller's matter.
        Refused = "refused",
        /// It could not be told: our matter.
        Failed = "failed",
    }
}

labels! {
    /// What a request would have been refused for, had its route enforced the rule and not only reported it. The words are
    /// those of the refusals.
    #[derive(Hash, serde::Serialize, serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    Rehearsed {
        /// It names two accounts.
        Malformed = "malformed",
        /// It names an account that is not the key's.
        AccountMismatch = "account_mismatch",
        /// The key lacks a permission.
        ScopeInsufficient = "scope_insufficient",
    }
}

labels! {
    /// What happened to a connection to an origin.
    OriginEvent {
        /// A new one was made.
        Opened = "opened",
        /// A kept one was used again.
        Reused = "reused",
        /// It could not be made, or broke.
        Failed = "failed",
        /// It took too long.
        TimedOut = "timed_out",
        /// A request was sent again on a fresh one.
        Retried = "retried",
        /// A request had to wait for one, since all that are allowed were in use.
        Waited = "waited",
        /// One that was made has ended.
        Closed = "closed",
    }
}

labels! {
    /// Why a client's connection ended.
    Closed {
        /// Either side had finished: the ordinary end.
        Done = "done",
        /// The transport broke, or the client left in the middle of a message.
        Broken = "broken",
        /// What the client sent could not be read; the cause is counted on its own.
        Malformed = "malformed",
        /// It came to an address for the PROXY protocol, from a network that may not speak it.
        Untrusted = "untrusted",
        /// The PROXY header told of an address that has all the connections it may have.
        PerAddress = "connections_per_address",
        /// The TLS handshake failed; the cause is counted on its own.
        Handshake = "handshake",
        /// The TLS handshake took too long.
        HandshakeTimeout = "handshake_timeout",
        /// The first byte of the first request, or of the PROXY header, took too long.
        FirstByteTimeout = "first_byte_timeout",
        /// A request's head, or the PROXY header, took too long.
        HeaderTimeout = "header_timeout",
        /// No request came on a kept connection.
        IdleTimeout = "idle_timeout",
        /// The client took none of the bytes that waited for it.
        WriteStall = "write_stall",
        /// An HTTP/2 client overdid resets or frames that ask nothing.
        Flood = "flood",
        /// It had lived as long as the settings allow.
        Age = "age",
        /// It had served as many requests as the settings allow.
        Requests = "requests",
        /// The key of the request in hand ended.
        KeyEnded = "key_ended",
        /// keyward stops, and this one was still busy when time was up.
        Drained = "drained",
    }
}

labels! {
    /// Why an upgraded connection ended.
    TunnelEnd {
        /// Its client ended it, or left.
        Client = "client",
        /// Its origin did.
        Origin = "origin",
        /// Nothing came through for too long.
        Idle = "idle",
        /// It had lived as long as the settings allow.
        Age = "age",
        /// Its client took none of the bytes that waited for it.
        WriteStall = "write_stall",
        /// keyward stops.
        Drained = "drained",
        /// Its key ended, or may no longer do this.
        KeyEnded = "key_ended",
    }
}

labels! {
    /// What was cut because its key ended, or may no longer do this.
    Cut {
        /// An upgraded connection.
        Tunnel = "tunnel",
        /// An answer under way.
        Answer = "answer",
        /// A request whose body was under way.
        Upload = "upload",
    }
}

labels! {
    /// Which limit a client's connection met before it was served.
    Door {
        /// The connections of its address; it was closed at once.
        PerAddress = "connections_per_address",
        /// The connections in all; it waited.
        Connections = "connections",
        /// The handshakes at one time; it waited.
        Handshakes = "handshakes",
    }
}

labels! {
    /// Why keyward reset one HTTP/2 stream of a connection that lives on.
    StreamReset {
        /// The client took none of its bytes.
        WriteStall = "write_stall",
        /// It was one more than a connection may have at one time.
        Refused = "refused",
        /// What came on it was not allowed there.
        Error = "error",
        /// The key of its request ended.
        KeyEnded = "key_ended",
    }
}

labels! {
    /// Why a TLS handshake failed.
    HandshakeFailure {
        /// What came first was no TLS.
        NotTls = "not_tls",
        /// No version, cipher or group in common.
        Incompatible = "incompatible",
        /// No application protocol in common.
        Alpn = "alpn",
        /// The client said no, mostly to the certificate.
        Alert = "alert",
        /// The client left.
        Closed = "closed",
        /// It took too long.
        Timeout = "timeout",
        /// Anything else.
        Other = "other",
    }
}

labels! {
    /// Why what a client sent could not be read, as HTTP or as the PROXY header before it. No handler hears of these: hyper
    /// answers them itself, and a PROXY header has no answer.
    ParseError {
        /// No valid HTTP/1.1 message.
        Malformed = "malformed",
        /// The head or the target was longer than allowed.
        TooLarge = "too_large",
        /// HTTP/2 without TLS.
        ClearHttp2 = "clear_http2",
        /// An HTTP/2 connection error.
        Http2 = "http2",
        /// An HTTP/2 client that overdid resets or control frames.
        Http2Flood = "http2_flood",
        /// No PROXY header, or a malformed one, where one has to come.
        ProxyHeader = "proxy_header",
        /// A PROXY header that was longer than allowed.
        ProxyHeaderTooLarge = "proxy_header_too_large",
    }
}

/// The methods that have a number of their own.
pub(super) const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "OTHER"];

/// Where `method` stands in [`METHODS`].
pub(super) fn method_index(method: &http::Method) -> usize {
    METHODS.iter().position(|name| *name == method.as_str()).unwrap_or(METHODS.len() - 1)
}

/// The codes that have a number of their own; 499 is a client that left. Any other counts under its class.
const CODES: [u16; 33] = [
    101, 200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 408, 409, 410, 412, 413, 415,
    421, 422, 429, 431, 499, 500, 501, 502, 503, 504,
];

/// The classes, for the codes that have none.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// How many values the label `code` has.
pub(super) const CODE_COUNT: usize = CODES.len() + CLASSES.len();

/// Where the code of `status` stands, below [`CODE_COUNT`].
pub(super) fn code_index(status: http::StatusCode) -> usize {
    let code = status.as_u16();
    let class = usize::from(code / 100).clamp(1, CLASSES.len()) - 1;
    CODES.binary_search(&code).unwrap_or_else(|_| CODES.len() + class)
}

/// The code at `index`, as it is written in the scrape.
pub(super) fn code_text(index: usize) -> String {
    CODES.get(index).map_or_else(|| CLASSES[index - CODES.len()].to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};

    use super::*;

    #[test]
    fn every_status_and_every_method_has_a_label() {
        for (code, text) in [(200, "200"), (203, "2xx"), (401, "401"), (418, "4xx"), (599, "5xx"), (999, "5xx")] {
            assert_eq!(code_text(code_index(StatusCode::from_u16(code).unwrap())), text);
        }
        assert_eq!(METHODS[method_index(&Method::PATCH)], "PATCH");
        assert_eq!(METHODS[method_index(&Method::from_bytes(b"PROPFIND").unwrap())], "OTHER");
    }

    #[test]
    fn a_label_stands_where_its_index_says() {
        for closed in Closed::ALL {
            assert_eq!(Closed::ALL[closed.index()], *closed);
        }
        assert!(CODES.is_sorted());
        for rehearsed in Rehearsed::ALL {
            assert_eq!(serde_json::to_value(rehearsed).unwrap(), rehearsed.as_str());
        }
    }
}
