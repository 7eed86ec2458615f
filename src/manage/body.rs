//! Request bodies: JSON, small, whole, and wiped once they are read, since some hold a secret.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body::Body;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::problem::{Code, Problem};
use crate::net::body::fits;

/// The bytes of a request's body.
#[derive(Default)]
pub(super) struct Document(Zeroizing<Vec<u8>>);

impl Document {
    /// Reads the whole body.
    ///
    /// # Errors
    /// It is no JSON by its type, too large, or does not come.
    pub(super) async fn read<B>(headers: &HeaderMap, body: B) -> Result<Self, Problem>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if body.is_end_stream() {
            return Ok(Self::default());
        }
        if !media_type(headers).eq_ignore_ascii_case("application/json") {
            return Err(Problem::detailed(Code::UnsupportedMediaType, "Send it as application/json."));
        }
        Self::whole(body).await
    }

    /// Reads the whole body, a form.
    ///
    /// # Errors
    /// It is none by its type, too large, or does not come.
    pub(super) async fn form<B>(headers: &HeaderMap, body: B) -> Result<Self, Problem>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if !media_type(headers).eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Problem::detailed(Code::UnsupportedMediaType, "Send it as application/x-www-form-urlencoded."));
        }
        Self::whole(body).await
    }

    /// Reads the whole body, whatever it is.
    ///
    /// # Errors
    /// It is too large, or does not come.
    pub(super) async fn whole<B>(body: B) -> Result<Self, Problem>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        read_whole(body, LONGEST).await.map(Self)
    }

    /// What it says. No body at all says `{}`.
    ///
    /// # Errors
    /// Where it is no JSON, or which member makes no sense.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let text = if self.0.is_empty() { b"{}" } else { self.0.as_slice() };
        // serde would take a list for the members in their order.
        if text.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
            return Err(Problem::detailed(Code::Unparsable, "Send one JSON object."));
        }
        let mut json = serde_json::Deserializer::from_slice(text);
        let said = serde_path_to_error::deserialize(&mut json).map_err(|error| fault(error.path(), error.inner()))?;
        json.end().map_err(|error| unreadable(&error))?;
        Ok(said)
    }

    /// The bytes as they came.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same as if this had come.
    pub(super) fn of(text: &str) -> Self {
        Self(Zeroizing::new(text.as_bytes().to_vec()))
    }
}

/// Reads the whole body, which has at most so many bytes.
///
/// # Errors
/// It is too large, or does not come.
pub(super) async fn read_whole<B>(body: B, longest: u64) -> Result<Zeroizing<Vec<u8>>, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    if !fits(&body, longest) {
        return Err(too_large(longest));
    }
    match timeout(PATIENCE, gather(body, longest)).await {
        Ok(read) => read,
        Err(_) => Err(Problem::new(Code::RequestTimeout)),
    }
}

/// The room is taken at once, since a buffer that grows leaves copies behind.
async fn gather<B: Body<Data = Bytes> + Unpin>(mut body: B, longest: u64) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let room = body.size_hint().upper().unwrap_or(longest).min(longest);
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(room).unwrap_or_default()));
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(Problem::detailed(Code::Unparsable, "It broke off.")) };
        let Ok(data) = frame.into_data() else { continue };
        if (text.len() + data.len()) as u64 > longest {
            return Err(too_large(longest));
        }
        text.extend_from_slice(&data);
    }
    Ok(text)
}

/// That it has more bytes than are taken.
pub(super) fn too_large(longest: u64) -> Problem {
    Problem::detailed(Code::PayloadTooLarge, format!("At most {} KiB are taken.", longest / 1024))
}

/// What the body is said to be, without parameters.
pub(super) fn media_type(headers: &HeaderMap) -> &str {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim()
}

/// What is wrong, and where. A value may be a secret, so serde's words that repeat it are not passed on.
fn fault(path: &Path, error: &serde_json::Error) -> Problem {
    if !error.is_data() {
        return unreadable(error);
    }
    let text = error.to_string();
    let said = text.rsplit_once(" at line ").map_or(text.as_str(), |(said, _)| said);
    let detail = match said.rsplit_once(", expected ") {
        Some(_) if said.starts_with("unknown field") => "no such member".to_owned(),
        Some((_, wanted)) => format!("expected {wanted}"),
        None => said.to_owned(),
    };
    Problem::member(&pointer(path), detail)
}

fn unreadable(error: &serde_json::Error) -> Problem {
    let place = format!("It cannot be read at line {}, column {}.", error.line(), error.column());
    Problem::detailed(Code::Unparsable, place)
}

fn pointer(path: &Path) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => text.push_str(&format!("/{index}")),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                text.push('/');
                text.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Unknown => {}
        }
    }
    text
}

const LONGEST: u64 = 64 * 1024;
/// How long a body may take to come.
const PATIENCE: Duration = Duration::from_secs(30);
