//! Bodies: JSON, or a form in one of its two encodings. Whatever came, what goes on is one JSON object.

use std::borrow::Cow;
use std::convert::Infallible;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body::Body;
use multer::Multipart;
use serde_json::{Map, Value};

use crate::manage::body::{Document, media_type};
use crate::manage::problem::{Code, Problem};

/// Reads the whole body.
///
/// # Errors
/// It is neither of the three, makes no sense as what it says that it is, is too large, or does not come.
pub(super) async fn read<B>(headers: &HeaderMap, body: B) -> Result<Document, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.is_end_stream() {
        return Ok(Document::default());
    }
    match media_type(headers).to_ascii_lowercase().as_str() {
        "application/json" => Document::whole(body).await,
        "application/x-www-form-urlencoded" => {
            let text = Document::whole(body).await?;
            object(form_urlencoded::parse(text.bytes()))
        }
        "multipart/form-data" => parts(headers, Document::whole(body).await?).await,
        _ => Err(Problem::detailed(Code::UnsupportedMediaType, "Send JSON, a form or multipart.")),
    }
}

/// The same, where a list may stand alone, as this member of the object.
pub(super) async fn read_list<B>(headers: &HeaderMap, body: B, member: &str) -> Result<Document, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let document = read(headers, body).await?;
    match std::str::from_utf8(document.bytes()) {
        Ok(text) if text.trim_start().starts_with('[') => Ok(Document::of(&format!("{{\"{member}\":{text}}}"))),
        _ => Ok(document),
    }
}

/// The fields of a multipart body (RFC 7578). It is whole by now, so nothing is waited for.
async fn parts(headers: &HeaderMap, body: Document) -> Result<Document, Problem> {
    let unreadable = || Problem::detailed(Code::Unparsable, "The multipart body cannot be read.");
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let boundary = multer::parse_boundary(kind).map_err(|_| unreadable())?;
    let whole = futures_util::stream::iter([Ok::<_, Infallible>(Bytes::copy_from_slice(body.bytes()))]);
    let mut multipart = Multipart::new(whole, boundary);
    let mut fields = Vec::new();
    while let Some(field) = multipart.next_field().await.map_err(|_| unreadable())? {
        let name = field.name().ok_or_else(unreadable)?.to_owned();
        let value = field.bytes().await.map_err(|_| unreadable())?;
        let value = std::str::from_utf8(&value).map_err(|_| unreadable())?.to_owned();
        fields.push((name.into(), value.into()));
    }
    object(fields.into_iter())
}

/// Fields, as the object that they say.
fn object<'a>(fields: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>) -> Result<Document, Problem> {
    let mut object = Map::new();
    for (name, value) in fields {
        // A form has only text; members that are more stand in it as JSON.
        let value = match STRUCTURED.contains(&name.as_ref()) {
            true => {
                serde_json::from_str(&value).map_err(|_| Problem::member(&format!("/{name}"), "write it as JSON"))?
            }
            false => Value::String(value.into_owned()),
        };
        if object.insert(name.to_string(), value).is_some() {
            return Err(Problem::member(&format!("/{name}"), "stands more than once"));
        }
    }
    Ok(Document::of(&Value::Object(object).to_string()))
}

/// Members that are no text.
const STRUCTURED: [&str; 3] = ["permission_grants", "metadata_only", "webhooks_only"];
