//! Further places that name the account: all that do have to name the same one.
//!
//! What stands in a query, a header or a JSON body, and is no place that the route goes by, may be what the service goes by. So a
//! route may say that such places have to agree with its own; where one does not, the request is refused as one for another account.
//!
//! A body is read only where a route names a member of one, only of a living key, whole and in bounds. What was read is what is
//! forwarded, byte for byte. Whatever cannot be judged is refused: another type, an encoding, JSON that reads in two ways.

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http_body::Body;
use http_body_util::BodyExt;

use super::asked::Asked;
use super::authorize::{self, Permit};
use super::body::ClientBody;
use super::canon::Malformed;
use super::config::{AgreePlace, Config, RouteConfig};
use super::headers::{is_plain, is_reserved};
use super::json::{Json, Pointer};
use super::refuse::Stop;
use super::route::{Route, parameters};
use crate::clock::Clock;
use crate::key::Verified;
use crate::net::body::{BodyError, Paced, fits};

/// The further places of one route.
#[derive(Debug, Default)]
pub(super) struct Agree {
    headers: Vec<HeaderName>,
    parameters: Vec<String>,
    members: Vec<Pointer>,
    /// Of a body that is looked into.
    limit: u64,
}

impl Agree {
    /// Reads `agree` of a route.
    pub(super) fn new(said: &RouteConfig, config: &Config, flaw: &mut impl FnMut(&str, String)) -> Self {
        let limit = config.json_body_limit.0.min(said.body_limit.unwrap_or(config.body_limit).0);
        let mut agree = Self { limit, ..Self::default() };
        for (at, place) in said.agree.iter().flatten().enumerate() {
            let mut flaw = |message: String| flaw(&format!("agree.{at}"), message);
            match place {
                AgreePlace::Query(name) => agree.parameters.push(name.clone()),
                AgreePlace::Header(name) => match name.parse::<HeaderName>() {
                    Ok(name) if !is_reserved(&name) && is_plain(&name) => agree.headers.push(name),
                    _ => flaw(format!("{name:?} is no header that can carry an account")),
                },
                AgreePlace::Body(pointer) => match Pointer::parse(pointer) {
                    Ok(pointer) if pointer.is_single() && !pointer.is_whole() => agree.members.push(pointer),
                    Ok(_) => flaw(format!("{pointer:?} does not lead to one member")),
                    Err(bad) => flaw(bad),
                },
            }
        }
        if !agree.members.is_empty() && said.report.as_ref().is_some_and(|report| report.account.is_some()) {
            flaw(
                "agree",
                "a body is not looked into where the account is only reported: it would refuse who sends another"
                    .into(),
            );
        }
        agree
    }

    /// Whether there is no such place.
    pub(super) fn is_empty(&self) -> bool {
        self.headers.is_empty() && self.parameters.is_empty() && self.members.is_empty()
    }

    /// What query and headers name.
    fn in_head(&self, named: &mut Named, query: Option<&str>, headers: &HeaderMap) {
        for name in &self.parameters {
            parameters(query, name).for_each(|account| named.add(Some(&account)));
        }
        for value in self.headers.iter().flat_map(|name| headers.get_all(name)) {
            named.add(value.to_str().ok());
        }
    }

    /// What a body names.
    fn in_body(&self, named: &mut Named, body: &[u8]) -> Result<(), Malformed> {
        let json = Json::read(body).map_err(|_| Malformed::Json)?;
        for pointer in &self.members {
            for value in
                pointer.folded(&json).map_err(|_| Malformed::Json)?.into_iter().filter(|value| !value.is_null())
            {
                named.add(value.id().as_deref());
            }
        }
        Ok(())
    }
}

/// What the places of a request name.
#[derive(Debug, Default)]
struct Named {
    account: Option<String>,
    /// Two of them differ, or one cannot be an account.
    differs: bool,
}

impl Named {
    fn add(&mut self, account: Option<&str>) {
        match (&self.account, account) {
            (None, Some(account)) => self.account = Some(account.to_owned()),
            (Some(first), Some(account)) => self.differs |= first != account,
            (_, None) => self.differs = true,
        }
    }
}

/// How a body is read.
pub(super) struct Pace<'a> {
    pub(super) idle: std::time::Duration,
    pub(super) rate: u64,
    pub(super) clock: &'a Clock,
}

/// Holds a verified key to its route where further places may name the account.
///
/// # Errors
/// As [`authorize::permit`], and what is wrong with a body that has to be looked into.
pub(super) async fn permit<'a>(
    route: &'a Route,
    verified: Verified,
    asked: &mut Asked,
    body: &mut Option<ClientBody>,
    pace: &Pace<'_>,
) -> Result<Permit<'a>, Stop> {
    let (agree, client) = (&route.agree, asked.client.address);
    let (uri, headers) = (&asked.head.uri, &asked.head.headers);
    let own = match route.account(asked.host(), uri.path(), uri.query(), headers) {
        Ok(own) => own.map(|account| account.into_owned()),
        two => return authorize::permit(route, verified, client, two),
    };
    let mut named = Named { account: own, differs: false };
    agree.in_head(&mut named, uri.query(), headers);
    let has_body = body.as_ref().is_some_and(|body| !body.is_end_stream());
    if has_body && !agree.members.is_empty() && !named.differs {
        if let Some(account) = &named.account {
            // Who is refused without it need not send it.
            authorize::permit(route, verified.clone(), client, Ok(Some(account.into())))?;
        }
        if !is_plain_json(headers) {
            return Err(Stop::UnsupportedBody);
        }
        let bytes = read(body, agree.limit, pace).await?;
        asked.head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        // Of chunks that bring nothing nothing can be told beforehand.
        if !bytes.is_empty() {
            agree.in_body(&mut named, &bytes)?;
        }
        *body = Some(ClientBody::held(bytes));
    }
    if named.differs {
        return authorize::disagreeing(route, verified, client);
    }
    authorize::permit(route, verified, client, Ok(named.account.map(Into::into)))
}

/// All of a body. What is left of one that cannot be read stays where it was.
async fn read(body: &mut Option<ClientBody>, limit: u64, pace: &Pace<'_>) -> Result<Bytes, Stop> {
    let Some(taken) = body.take_if(|body| fits(body, limit)) else { return Err(Stop::TooLarge) };
    let mut paced = Paced::new(taken, pace.idle, limit).at_least(pace.rate, pace.clock);
    let mut bytes = BytesMut::new();
    while let Some(frame) = paced.frame().await {
        match frame {
            Ok(frame) => bytes.extend(frame.into_data().ok()),
            Err(error) => {
                *body = Some(paced.into_inner());
                return Err(match error {
                    BodyError::TooLarge(_) => Stop::TooLarge,
                    BodyError::Stalled(_) => Stop::Stalled,
                    BodyError::TooSlow(_) => Stop::TooSlow,
                    BodyError::Broken(_) => Stop::Malformed(Malformed::Body),
                });
            }
        }
    }
    Ok(bytes.freeze())
}

/// Whether a message says that its body is JSON in UTF-8, and nothing else besides.
pub(super) fn is_plain_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(Ok(kind)), None) = (types.next().map(HeaderValue::to_str), types.next()) else { return false };
    let mut parts = kind.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let json = kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"));
    let in_utf8 =
        |part: &str| ["charset=utf-8", "charset=\"utf-8\""].iter().any(|utf8| part.eq_ignore_ascii_case(utf8));
    json && parts.all(in_utf8) && !headers.contains_key(header::CONTENT_ENCODING)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agree(places: Vec<AgreePlace>) -> Agree {
        let said = RouteConfig { agree: Some(places), ..RouteConfig::default() };
        Agree::new(&said, &crate::gateway::test_config(), &mut |field: &str, why| panic!("{field}: {why}"))
    }

    fn named(own: Option<&str>, judge: impl FnOnce(&mut Named)) -> (Option<String>, bool) {
        let mut named = Named { account: own.map(str::to_owned), differs: false };
        judge(&mut named);
        (named.account, named.differs)
    }

    #[test]
    fn every_place_that_names_an_account_counts() {
        let agree = agree(vec![AgreePlace::Query("account_id".into()), AgreePlace::Header("X-Account".into())]);
        let head = |own, query, lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-account", HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            named(own, |named| agree.in_head(named, query, &headers))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(head(Some("101"), None, &[]), (some("101"), false));
        assert_eq!(head(Some("101"), Some("account_id=101"), &["101"]), (some("101"), false));
        assert_eq!(head(None, Some("account_id=101"), &[]), (some("101"), false));
        assert_eq!(head(None, None, &[]), (None, false));
        for (query, lines) in [
            ("account_id=102", &[][..]),
            ("account_id=101&account_id=102", &[]),
            ("account%5Fid=%3102", &[]),
            ("a=1;account_id=102", &[]),
            ("account_id=101&Account_ID=102", &[]),
            ("account%5FID=102", &[]),
            ("account_id[]=102", &[]),
            ("account_id%5B0%5D=102", &[]),
            ("account_id=", &[]),
            ("", &["102"]),
            ("", &["101", "102"]),
            ("", &["101, 102"]),
            ("", &["\u{e4}"]),
        ] {
            assert!(head(Some("101"), Some(query), lines).1, "{query} {lines:?}");
        }
    }

    #[test]
    fn a_member_of_a_body_counts_in_whichever_case_its_name_comes() {
        let agree = agree(vec![AgreePlace::Body("/account_id".into()), AgreePlace::Body("/job/account".into())]);
        let body = |text: &str| {
            let mut judged = Named { account: Some("101".into()), differs: false };
            agree.in_body(&mut judged, text.as_bytes()).map(|()| judged.differs)
        };
        for same in [
            "{}",
            "{\"account_id\":101}",
            "{\"account_id\":\"101\",\"job\":{\"account\":101}}",
            "{\"account_id\":null,\"job\":null,\"a\":[{\"account_id\":102}]}",
        ] {
            assert_eq!(body(same), Ok(false), "{same}");
        }
        for other in [
            "{\"account_id\":102}",
            "{\"Account_ID\":102}",
            "{\"account_id\":101,\"ACCOUNT_ID\":102}",
            "{\"account_id\":\" 101\"}",
            "{\"account_id\":101.0}",
            "{\"account_id\":1.01e2}",
            "{\"account_id\":[101]}",
            "{\"account_id\":true}",
            "{\"account\\u005fid\":102}",
            "{\"job\":{\"account\":102}}",
        ] {
            assert_eq!(body(other), Ok(true), "{other}");
        }
        for bad in
            ["", "[]", "[{\"account_id\":101}]", "1", "{\"job\":[]}", "{\"account_id\":101,\"account_id\":102}", "{"]
        {
            assert_eq!(body(bad), Err(Malformed::Json), "{bad}");
        }
    }

    #[test]
    fn a_body_is_json_only_where_it_says_nothing_else() {
        let is = |lines: &[(HeaderName, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(name, HeaderValue::from_static(value));
            }
            is_plain_json(&headers)
        };
        for good in ["application/json", "Application/JSON; charset=UTF-8", "application/merge-patch+json"] {
            assert!(is(&[(header::CONTENT_TYPE, good)]), "{good}");
        }
        for bad in
            ["", "text/json", "application/jsonx", "application/json; charset=utf-16", "application/json, text/plain"]
        {
            assert!(!is(&[(header::CONTENT_TYPE, bad)]), "{bad}");
        }
        assert!(!is(&[]));
        assert!(!is(&[(header::CONTENT_TYPE, "application/json"), (header::CONTENT_TYPE, "application/json")]));
        assert!(!is(&[(header::CONTENT_TYPE, "application/json"), (header::CONTENT_ENCODING, "gzip")]));
    }

    #[test]
    fn what_cannot_be_a_place_is_a_flaw() {
        let bad = [
            AgreePlace::Header("Host".into()),
            AgreePlace::Header("X_A".into()),
            AgreePlace::Body(String::new()),
            AgreePlace::Body("account".into()),
            AgreePlace::Body("/*/account".into()),
        ];
        let said = RouteConfig { agree: Some(bad.to_vec()), ..RouteConfig::default() };
        let mut flaws = Vec::new();
        Agree::new(&said, &crate::gateway::test_config(), &mut |field: &str, _| flaws.push(field.to_owned()));
        assert_eq!(flaws, ["agree.0", "agree.1", "agree.2", "agree.3", "agree.4"]);
    }
}
