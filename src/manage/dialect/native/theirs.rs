//! What the native API answers the holders of keys, on the clients' listeners below a path of the settings.

use bytes::Bytes;
use http::{Method, Response, request};
use http_body::Body;
use http_body_util::Full;
use serde_json::{Value, json};

use super::{Asked, Call, OPENAPI, call};
use crate::key::token::Prefix;
use crate::manage::desk::Desk;
use crate::manage::problem::Problem;
use crate::manage::routes::{Route, holders};
use crate::manage::row;

/// The table. `self` stands for the key that asks.
pub(super) const THEIRS: &[Route<Call>] = &[
    holders("/v1/openapi.json", &[(Method::GET, Call::Describe)]),
    holders("/v1/whoami", &[(Method::GET, Call::WhoAmI)]),
    holders("/v1/keys", &[(Method::GET, Call::ListKeys), (Method::POST, Call::MintKey)]),
    holders(
        "/v1/keys/{key}",
        &[(Method::GET, Call::ShowKey), (Method::PATCH, Call::ChangeKey), (Method::DELETE, Call::RevokeKey)],
    ),
    holders("/v1/keys/{key}/callers", &[(Method::GET, Call::ShowCallers)]),
    holders("/v1/keys/{key}/rotate", &[(Method::POST, Call::RotateKey)]),
    holders("/v1/keys/{key}/rotation/complete", &[(Method::POST, Call::CompleteRotation)]),
    holders("/v1/keys/{key}/rotation/cancel", &[(Method::POST, Call::CancelRotation)]),
    holders("/v1/revisions/{rev}", &[(Method::GET, Call::ShowRevision)]),
    holders("/v1/barrier", &[(Method::POST, Call::Barrier)]),
];

/// The description of what stands in the table, below `base`: cut out of the operators', so that one is kept true.
pub(in crate::manage) fn described(base: &str) -> Bytes {
    // A test reads both; what is no JSON would be served as null.
    let mut all: Value = serde_json::from_str(OPENAPI).unwrap_or_default();
    all["servers"] = json!([{"url": base}]);
    all["security"] = json!([{"holder": []}]);
    all["info"]["description"] = json!(ABOUT);
    let components = &mut all["components"];
    components["securitySchemes"] = json!({"holder": {
        "type": "http",
        "scheme": "bearer",
        "description": "The key that asks; Token instead of Bearer is the same."
    }});
    if let Some(codes) = components["schemas"]["Problem"]["properties"]["code"]["enum"].as_array_mut() {
        codes.extend(OF_THE_GATEWAY.iter().map(|code| json!(code)));
    }
    if let Some(paths) = all["paths"].as_object_mut() {
        paths.retain(|path, _| THEIRS.iter().any(|route| route.path == path));
        for (path, item) in paths {
            // What a holder does not say is as their own key is.
            if let Some(said) = item.pointer_mut("/post/requestBody/required") {
                *said = json!(false);
            }
            for method in ["post", "patch", "delete"] {
                if let Some(answers) = item.pointer_mut(&format!("/{method}/responses")) {
                    answers["429"] = json!({"$ref": "#/components/responses/Limited"});
                }
            }
            let rows = THEIRS.iter().filter(|route| route.path == path).flat_map(|route| route.rows);
            let methods: Vec<_> = rows.map(|(method, _)| method.as_str().to_lowercase()).collect();
            if let Some(item) = item.as_object_mut() {
                item.retain(|name, _| name == "parameters" || methods.contains(name));
            }
        }
    }
    all.to_string().into()
}

const ABOUT: &str = "Keys, for who holds one: they see and manage what is theirs. Every answer is Cache-Control: no-store. \
     A request with the header Keyward-At-Least, a revision, is judged as of that or later: 503 where the store has not reached it.";

/// What the clients' listener answers before anything is looked at here.
const OF_THE_GATEWAY: [&str; 4] = ["REQUEST_MALFORMED", "HEADERS_TOO_LARGE", "MISDIRECTED_REQUEST", "OVERLOADED"];

/// Answers one request below `base`, which this describes. `prefix` is what new secrets begin with where nothing else is said.
pub(in crate::manage) async fn answer<B>(
    base: &str,
    description: &Bytes,
    desk: &Desk<'_>,
    head: &request::Parts,
    body: &mut Option<B>,
    prefix: &Prefix,
) -> Result<Response<Full<Bytes>>, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let path = head.uri.path().strip_prefix(base).unwrap_or_default();
    let (row, names, body) = match row::asked(THEIRS, path, head, body, Call::takes_body).await? {
        row::Asked::Options(answer) => return Ok(answer),
        row::Asked::Row { call, names, body, .. } => (call, names, body),
    };
    let (query, headers, description) = (head.uri.query(), &head.headers, description.clone());
    call(row, desk, &Asked { base, path, names, query, headers, body, description }, prefix).await
}

/// The path of a request for another secret of the key that asks: the one at which a secret may be presented that its own
/// rotation retired.
pub(in crate::manage) fn rotates_self<'a>(base: &str, head: &'a request::Parts) -> Option<&'a str> {
    head.uri.path().strip_prefix(base).filter(|path| *path == "/v1/keys/self/rotate")
}
