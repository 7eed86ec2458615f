//! A parser of requests that forgives nothing, and what must hold of every request that a gateway sends, whatever it
//! was sent itself. It shares no code with what it judges.

/// One request as an origin received it.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) method: String,
    pub(super) target: String,
    /// Names in lower case, in the order they came.
    pub(super) fields: Vec<(String, String)>,
    /// Without its framing.
    pub(super) body: Vec<u8>,
    /// Whether all of it came.
    pub(super) whole: bool,
    /// How many bytes it took.
    pub(super) length: usize,
}

impl Message {
    /// The values of a field.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a field.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Everything on one connection: whole requests, and at most one unfinished at the end.
pub(super) fn messages(mut bytes: &[u8]) -> Result<Vec<Message>, String> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let message = message(bytes)?;
        bytes = &bytes[message.length..];
        all.push(message);
    }
    Ok(all)
}

/// The request that `bytes` begin with.
pub(super) fn message(bytes: &[u8]) -> Result<Message, String> {
    let mut rest = Rest { bytes, at: 0 };
    let mut message = Message {
        method: String::new(),
        target: String::new(),
        fields: Vec::new(),
        body: Vec::new(),
        whole: false,
        length: 0,
    };
    message.whole = rest.head(&mut message)?.is_some() && rest.body(&mut message)?.is_some();
    message.length = if message.whole { rest.at } else { bytes.len() };
    Ok(message)
}

/// What is left to read. `None` from any of its methods: it ends too early.
struct Rest<'a> {
    bytes: &'a [u8],
    at: usize,
}

type Read<T> = Result<Option<T>, String>;

impl<'a> Rest<'a> {
    /// Bytes up to CR LF, with neither of the two inside.
    fn line(&mut self) -> Read<&'a [u8]> {
        let left = &self.bytes[self.at..];
        let Some(end) = left.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else { return Ok(None) };
        match left[end..] {
            [b'\r'] => Ok(None),
            [b'\r', b'\n', ..] => {
                self.at += end + 2;
                Ok(Some(&left[..end]))
            }
            _ => Err(format!("a bare CR or LF after {:?}", String::from_utf8_lossy(&left[..end]))),
        }
    }

    fn head(&mut self, message: &mut Message) -> Read<()> {
        let Some(line) = self.line()? else { return Ok(None) };
        let line = String::from_utf8_lossy(line).into_owned();
        let parts: Vec<&str> = line.split(' ').collect();
        let [method, target, "HTTP/1.1"] = parts[..] else { return Err(format!("no request line: {line:?}")) };
        if !is_token(method.as_bytes()) || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("no request line: {line:?}"));
        }
        (message.method, message.target) = (method.into(), target.into());
        loop {
            let Some(line) = self.line()? else { return Ok(None) };
            if line.is_empty() {
                return Ok(Some(()));
            }
            let text = String::from_utf8_lossy(line).into_owned();
            let (name, value) = text.split_once(':').ok_or_else(|| format!("no field line: {text:?}"))?;
            if !is_token(name.as_bytes()) || line.iter().any(|byte| *byte != b'\t' && byte.is_ascii_control()) {
                return Err(format!("no field line: {text:?}"));
            }
            message.fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
        }
    }

    fn body(&mut self, message: &mut Message) -> Read<()> {
        let lengths: Vec<&str> = message.all("content-length").collect();
        let codings: Vec<&str> = message.all("transfer-encoding").collect();
        match (&lengths[..], &codings[..]) {
            ([], []) => Ok(Some(())),
            ([length], []) => {
                let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
                let length = length.parse().ok().filter(|_| digits).ok_or_else(|| format!("a length of {length:?}"))?;
                let body = self.take(length);
                Ok(body.map(|body| message.body.extend(body)))
            }
            ([], ["chunked"]) => self.chunks(&mut message.body),
            _ => Err(format!("framed by {lengths:?} and {codings:?}")),
        }
    }

    /// Chunks without extensions, and no trailers.
    fn chunks(&mut self, body: &mut Vec<u8>) -> Read<()> {
        loop {
            let Some(line) = self.line()? else { return Ok(None) };
            let line = String::from_utf8_lossy(line).into_owned();
            let digits = (1..=8).contains(&line.len()) && line.bytes().all(|byte| byte.is_ascii_hexdigit());
            let size = usize::from_str_radix(&line, 16).ok().filter(|_| digits);
            let size = size.ok_or_else(|| format!("a chunk of {line:?}"))?;
            let Some(chunk) = self.take(size) else { return Ok(None) };
            body.extend(chunk);
            match self.line()? {
                None => return Ok(None),
                Some(b"") if size == 0 => return Ok(Some(())),
                Some(b"") => {}
                Some(more) => return Err(format!("{:?} behind a chunk", String::from_utf8_lossy(more))),
            }
        }
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// What is wrong with a request that parsed: it holds for all, whoever sent what.
pub(super) fn breaches(message: &Message) -> Vec<String> {
    let mut found = Vec::new();
    let mut breach = |broken: bool, what: &str| {
        if broken {
            found.push(format!("{what} in {} {}", message.method, message.target));
        }
    };
    let count = |name: &str| message.all(name).count();
    let one = |name: &str, value: &str| message.all(name).collect::<Vec<_>>() == [value];
    let upgrades = message.target.starts_with("/socket/")
        && message.method == "GET"
        && message.body.is_empty()
        && count("content-length") + count("transfer-encoding") == 0
        && one("connection", "upgrade")
        && one("upgrade", "websocket")
        && count("sec-websocket-key") == 1;
    let hosts: Vec<&str> = message.all("host").collect();
    breach(hosts.len() != 1 && message.whole, "not exactly one Host");
    breach(!hosts.iter().all(|host| is_host(host)), "a Host that is none");
    breach(count("content-length") + count("transfer-encoding") > 1, "two framings");
    breach(!is_canonical(&message.method, &message.target), "a target that is not canonical");
    breach(matches!(message.method.as_str(), "CONNECT" | "TRACE"), "a method of its own connection");
    for (name, value) in &message.fields {
        let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        breach(name.contains('_'), "an underscore");
        let asked = upgrades && matches!(name.as_str(), "connection" | "upgrade");
        breach(!asked && HOP_BY_HOP.contains(&plain.as_str()), &format!("{name}, which is the connection's,"));
        breach(plain == "authorization" && !message.target.starts_with("/open"), "a credential");
        breach(plain != *name && (is_ours(&plain) || is_framing(&plain)), &format!("{name}, an alias,"));
        breach(is_ours(name) && count(name) != 1, &format!("{name} twice"));
        breach(name.contains("spoof") || value.contains("spoof"), &format!("{name}: {value}, a client's word,"));
    }
    found
}

fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:[]_".contains(&byte))
}

/// Without anything that two programs read in two ways.
fn is_canonical(method: &str, target: &str) -> bool {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let lower = path.to_ascii_lowercase();
    let hidden = ["//", "\\", ";", "%2e", "%2f", "%5c", "%00", "%25"].iter().any(|mark| lower.contains(mark));
    let dots = path.split('/').any(|segment| matches!(segment, "." | ".."));
    let plain = target.bytes().all(|byte| byte.is_ascii_graphic()) && !target.contains('#');
    let forms = path.starts_with('/') || (target == "*" && method == "OPTIONS");
    let upper = path.split('%').skip(1).all(|after| after.bytes().take(2).all(|byte| !byte.is_ascii_lowercase()));
    forms && plain && upper && !hidden && !dots && query.bytes().all(|byte| byte != b'#')
}

/// Names that only the gateway may say.
pub(super) fn is_ours(name: &str) -> bool {
    name.starts_with("x-keyward-")
        || name.starts_with("x-forwarded-")
        || matches!(name, "x-request-id" | "forwarded" | "x-real-ip")
}

fn is_framing(name: &str) -> bool {
    matches!(name, "content-length" | "transfer-encoding" | "host")
}

const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "te",
    "trailer",
    "upgrade",
    "http2-settings",
    "expect",
];

#[test]
fn the_parser_forgives_nothing() {
    let whole = |bytes: &str| messages(bytes.as_bytes()).map(|all| all.iter().map(|one| one.whole).collect::<Vec<_>>());
    assert_eq!(
        whole("GET / HTTP/1.1\r\nhost: a\r\n\r\nPOST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nok"),
        Ok(vec![true, true])
    );
    assert_eq!(whole("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), Ok(vec![true]));
    assert_eq!(whole("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\no"), Ok(vec![false]));
    for bytes in [
        "GET / HTTP/1.1\nhost: a\n\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\na : b\r\n\r\n",
        "GET / HTTP/1.1\r\n a: b\r\n\r\n",
        "GET / HTTP/1.1\r\na: b\rc\r\n\r\n",
        "GET / HTTP/1.1\r\na: b\0\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: +1\r\n\r\nx",
        "POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx",
        "POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0x0\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\na: b\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n",
    ] {
        assert!(messages(bytes.as_bytes()).is_err(), "{bytes:?}");
    }
}

#[test]
fn what_must_never_reach_an_origin_is_found() {
    let good = "GET /a%20b?c HTTP/1.1\r\nhost: a\r\nx-keyward-account: 101\r\n\r\n";
    assert_eq!(breaches(&message(good.as_bytes()).unwrap()), [""; 0]);
    for (from, to) in [
        ("host: a\r\n", ""),
        ("host: a", "host: a\r\nhost: a"),
        ("/a%20b", "/../a"),
        ("/a%20b", "/a//b"),
        ("/a%20b", "/a%2fb"),
        ("/a%20b", "/%e2%82%ac"),
        ("/a%20b?c", "a"),
        ("host: a", "host: a\r\nauthorization: Basic YTpi"),
        ("host: a", "host: a\r\nconnection: close"),
        ("host: a", "host: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: a"),
        ("host: a", "host: a\r\nx_keyward_account: 102"),
        ("host: a", "host: a\r\nx.keyward.account: 102"),
        ("host: a", "host: a\r\nx-keyward-account: 102"),
        ("host: a", "host: a\r\nx-own: spoofed"),
    ] {
        let bad = good.replace(from, to);
        assert!(!breaches(&message(bad.as_bytes()).unwrap()).is_empty(), "{bad:?}");
    }
    let good = "GET /socket/a HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: a\r\n\r\n";
    assert_eq!(breaches(&message(good.as_bytes()).unwrap()), [""; 0]);
    for (from, to) in [
        ("GET", "POST"),
        ("/socket/", "/sockets/"),
        ("upgrade: websocket", "upgrade: h2c"),
        ("upgrade: websocket", "upgrade: websocket\r\nupgrade: h2c"),
        ("connection: upgrade", "connection: upgrade, x"),
        ("connection: upgrade", "connection: upgrade\r\ncontent-length: 0"),
        ("sec-websocket-key: a\r\n", ""),
    ] {
        let bad = good.replace(from, to);
        assert!(!breaches(&message(bad.as_bytes()).unwrap()).is_empty(), "{bad:?}");
    }
}
