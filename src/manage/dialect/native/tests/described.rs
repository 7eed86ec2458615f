//! The OpenAPI documents, held to the routes, the catalogue and the answers.

use super::*;

#[test]
fn the_description_has_every_route_and_method_and_no_other() {
    let described: Value = serde_json::from_str(OPENAPI).unwrap();
    assert_eq!(described["openapi"], "3.1.0");
    let mut said: Vec<String> = Vec::new();
    for (path, item) in described["paths"].as_object().unwrap() {
        let methods =
            item.as_object().unwrap().keys().filter(|name| !["parameters", "servers"].contains(&name.as_str()));
        said.extend(methods.map(|method| format!("{} {path}", method.to_uppercase())));
    }
    let mut served = rows();
    for route in crate::manage::leaks::ROUTES {
        served.extend(route.rows.iter().map(|(method, _)| format!("{method} {}", route.path)));
    }
    said.sort();
    served.sort();
    assert_eq!(said, served);
}

/// Every row of the native API. The command line's own rows are no interface for others.
fn rows() -> Vec<String> {
    let native = |(_, row): &&(Method, Row)| matches!(row, Row::Native(_));
    let of = |route: &Route| {
        route.rows.iter().filter(native).map(|(method, _)| format!("{method} {}", route.path)).collect::<Vec<_>>()
    };
    ROUTES.iter().flat_map(of).collect()
}

#[test]
fn the_holders_description_has_every_row_of_theirs_and_no_other() {
    let described: Value = serde_json::from_slice(&described("/keyward")).unwrap();
    assert_eq!(described["servers"], json!([{"url": "/keyward"}]));
    let mut said = Vec::new();
    for (path, item) in described["paths"].as_object().unwrap() {
        let methods = item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters");
        for (method, operation) in methods {
            assert!(operation["responses"].is_object(), "{method} {path}");
            said.push(format!("{} {path}", method.to_uppercase()));
        }
    }
    let rows = |route: &Route<Call>| route.rows.iter().map(|(method, _)| format!("{method} {}", route.path)).collect();
    let mut served: Vec<String> = THEIRS.iter().flat_map(|route| -> Vec<String> { rows(route) }).collect();
    said.sort();
    served.sort();
    assert_eq!(said, served);
}

#[test]
fn the_description_has_every_code_and_no_other() {
    let described: Value = serde_json::from_str(OPENAPI).unwrap();
    let codes = described["components"]["schemas"]["Problem"]["properties"]["code"]["enum"].as_array().unwrap();
    let mut said: Vec<&str> = codes.iter().map(|code| code.as_str().unwrap()).collect();
    let open_only = [Code::NotReady];
    let known = Code::ALL.iter().filter(|code| !open_only.contains(code)).map(|code| code.as_str());
    let mut known: Vec<&str> = known.collect();
    said.sort_unstable();
    known.sort_unstable();
    known.dedup();
    assert_eq!(said, known);
}

#[test]
fn the_description_says_which_calls_take_a_body() {
    let described: Value = serde_json::from_str(OPENAPI).unwrap();
    for route in ROUTES {
        for (method, row) in route.rows {
            let Row::Native(call) = row else { continue };
            let said = &described["paths"][route.path][method.as_str().to_lowercase()];
            assert_eq!(said.get("requestBody").is_some(), call.takes_body(), "{method} {}", route.path);
        }
    }
}

/// Whether `value` has what `schema` says: types, enums, members required and known, by references. What else a schema can
/// say is not looked at.
fn fits(described: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = described.pointer(reference.trim_start_matches('#')).ok_or_else(|| format!("no {reference}"))?;
        return fits(described, target, value, place);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fitting = choices.iter().filter(|choice| fits(described, choice, value, place).is_ok()).count();
        return if fitting == 1 { Ok(()) } else { Err(format!("{place}: {value} fits {fitting} choices")) };
    }
    if let Some(known) = schema["enum"].as_array()
        && !known.contains(value)
    {
        return Err(format!("{place}: {value} is none of {known:?}"));
    }
    if schema.get("const").is_some_and(|only| only != value) {
        return Err(format!("{place}: {value} is not {}", schema["const"]));
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let allowed = match &schema["type"] {
        Value::String(one) => one == kind,
        Value::Array(some) => some.contains(&json!(kind)),
        _ => schema.get("enum").is_some() || schema.get("const").is_some(),
    };
    if !allowed {
        return Err(format!("{place}: {value} is no {}", schema["type"]));
    }
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| fits(described, &schema["items"], item, place)),
        Value::Object(members) => {
            for required in schema["required"].as_array().into_iter().flatten() {
                members.get(required.as_str().unwrap()).ok_or_else(|| format!("{place}: no {required}"))?;
            }
            members.iter().try_for_each(|(name, member)| {
                if schema["properties"].get(name).is_none() && schema["additionalProperties"] == true {
                    return Ok(());
                }
                let known =
                    schema["properties"].get(name).ok_or_else(|| format!("{place}: {name} is not described"))?;
                fits(described, known, member, &format!("{place}/{name}"))
            })
        }
        _ => Ok(()),
    }
}

#[tokio::test]
async fn every_answer_is_as_it_is_described() {
    let desk = desk().await;
    let described: Value = serde_json::from_str(OPENAPI).unwrap();
    let mut asked = Vec::new();
    // The path as it is described, and what stands for its names.
    let mut check = async |method: Method, path: &str, names: &[(&str, &str)], body: Value, status: u16| {
        let target = names.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value));
        let answer = desk.ask(method.clone(), &target, body).await;
        assert_eq!(answer.status, status, "{method} {target}: {answer:?}");
        let path = path.split('?').next().unwrap();
        let operation = &described["paths"][path][method.as_str().to_lowercase()];
        let response = &operation["responses"][status.to_string()];
        let response = match response["$ref"].as_str() {
            Some(reference) => described.pointer(reference.trim_start_matches('#')).unwrap(),
            None => response,
        };
        let kind = answer.headers[CONTENT_TYPE].to_str().unwrap();
        let schema = &response["content"][kind]["schema"];
        assert!(!schema.is_null(), "{method} {path} does not describe {status} {kind}");
        if path != "/v1/openapi.json" {
            let value = answer.json();
            fits(&described, schema, &value, "")
                .unwrap_or_else(|why| panic!("{method} {path} {status}: {why} in {value}"));
        }
        asked.push(format!("{method} {path}"));
        answer
    };
    let none = Value::Null;
    check(Method::GET, "/v1/openapi.json", &[], none.clone(), 200).await;
    check(Method::GET, "/v1/whoami", &[], none.clone(), 200).await;
    check(Method::GET, "/v1/rehearsal", &[], none.clone(), 200).await;
    check(Method::DELETE, "/v1/rehearsal", &[], none.clone(), 200).await;
    check(Method::POST, "/v1/accounts", &[], json!({"id": "101"}), 201).await;
    check(Method::POST, "/v1/accounts", &[], json!({"id": "101"}), 409).await;
    check(Method::GET, "/v1/accounts", &[], none.clone(), 200).await;
    let account = [("{account}", "101")];
    check(Method::PATCH, "/v1/accounts/{account}", &account, json!({"status": "active", "name": "Acme"}), 200).await;
    check(Method::PATCH, "/v1/accounts/{account}", &account, json!({}), 422).await;
    check(Method::GET, "/v1/accounts/{account}", &account, none.clone(), 200).await;
    let paul = json!({"id": "paul", "name": "Paul", "email": "paul@example.com"});
    check(Method::POST, "/v1/users", &[], paul, 201).await;
    check(Method::GET, "/v1/users/{user}", &[("{user}", "paul")], none.clone(), 200).await;
    check(Method::GET, "/v1/users/{user}", &[("{user}", "mary")], none.clone(), 404).await;
    check(Method::PATCH, "/v1/users/{user}", &[("{user}", "paul")], json!({"email": null}), 200).await;
    check(Method::PATCH, "/v1/users/{user}", &[("{user}", "paul")], json!({}), 422).await;
    check(Method::GET, "/v1/users", &[], none.clone(), 200).await;
    let place = [("{account}", "101"), ("{user}", "paul")];
    let member = "/v1/accounts/{account}/members/{user}";
    check(Method::PUT, member, &place, json!({"permissions": ["jobs:run"], "licence": "developer"}), 200).await;
    check(Method::GET, "/v1/accounts/{account}/members", &place, none.clone(), 200).await;
    let nowhere = [("{account}", "999")];
    check(Method::GET, "/v1/accounts/{account}/members", &nowhere, none.clone(), 404).await;
    check(Method::DELETE, member, &place, none.clone(), 200).await;
    check(Method::DELETE, member, &place, none.clone(), 404).await;
    let made = check(Method::POST, "/v1/keys", &[], json!({"account_id": "101", "scopes": ["jobs:*"]}), 201).await;
    check(Method::POST, "/v1/keys", &[], json!({"account": "101"}), 422).await;
    let made = made.json();
    let (secret, key) = (made["secret"].clone(), [("{key}", made["key"]["id"].as_str().unwrap())]);
    check(Method::POST, "/v1/verify", &[], json!({"secret": secret}), 200).await;
    let form = format!("token={}&token_type_hint=access_token", secret.as_str().unwrap());
    let told = desk.send(Method::POST, "/oauth2/introspect", FORM, &form).await;
    let described_as = &described["components"]["schemas"]["Introspection"];
    fits(&described, described_as, &told.json(), "").unwrap();
    let told = told.json();
    assert_eq!((&told["active"], &told["scope"], &told["sub"]), (&json!(true), &json!("jobs:*"), &json!("101")));
    for (kind, form, status, said) in [
        (FORM, "token=kw_live_nobody-has-this", 200, "{\"active\":false}"),
        (FORM, "token=a&token=b", 422, "VALIDATION_FAILED"),
        (FORM, "", 422, "VALIDATION_FAILED"),
        (JSON, "{}", 415, "UNSUPPORTED_MEDIA_TYPE"),
    ] {
        let answer = desk.send(Method::POST, "/oauth2/introspect", kind, form).await;
        assert!(answer.status == status && answer.body.contains(said), "{form}: {answer:?}");
    }
    check(Method::GET, "/v1/keys?limit=1", &[], none.clone(), 200).await;
    check(Method::GET, "/v1/keys/{key}", &key, none.clone(), 200).await;
    check(Method::GET, "/v1/keys/{key}", &[("{key}", "key_none")], none.clone(), 404).await;
    check(Method::GET, "/v1/keys/{key}/callers", &key, none.clone(), 200).await;
    check(Method::GET, "/v1/keys/{key}/callers", &[("{key}", "key_none")], none.clone(), 404).await;
    // Who asks all this is a caller.
    let own = desk.ask(Method::GET, "/v1/whoami", Value::Null).await.json()["key"]["id"].as_str().unwrap().to_owned();
    let used = check(Method::GET, "/v1/keys/{key}/callers", &[("{key}", &own)], none.clone(), 200).await.json();
    let caller = &used["secrets"][0]["callers"][0];
    assert_eq!((&caller["address"], &caller["route"]), (&json!("192.0.2.7"), &json!("admin")), "{used}");
    check(Method::PATCH, "/v1/keys/{key}", &key, json!({"status": "disabled"}), 200).await;
    check(Method::PATCH, "/v1/keys/{key}", &key, json!({"status": "active"}), 200).await;
    let all = json!({"name": "n", "scopes": [], "allowed_ips": ["10.0.0.0/8"], "expires_in": 60, "status": "active"});
    check(Method::PATCH, "/v1/keys/{key}", &key, all, 200).await;
    check(Method::PATCH, "/v1/keys/{key}", &key, json!({"expires_at": null}), 200).await;
    check(Method::PATCH, "/v1/keys/{key}", &key, json!({}), 422).await;
    let rotate = "/v1/keys/{key}/rotate";
    let long = check(Method::POST, rotate, &key, json!({"mode": "grace", "grace_seconds": 2_592_001}), 422).await;
    assert_eq!((long.code().as_str(), &long.json()["max_seconds"]), ("GRACE_TOO_LONG", &json!(2_592_000)));
    check(Method::POST, rotate, &key, json!({"mode": "first_use"}), 201).await;
    check(Method::GET, "/v1/keys/{key}", &key, none.clone(), 200).await;
    check(Method::POST, "/v1/keys/{key}/rotation/cancel", &key, none.clone(), 200).await;
    check(Method::POST, "/v1/keys/{key}/rotation/cancel", &key, none.clone(), 409).await;
    let quietly = json!({"mode": "grace", "grace_seconds": 600, "until_quiet_seconds": 60});
    check(Method::POST, rotate, &key, quietly, 201).await;
    check(Method::POST, rotate, &key, json!({"mode": "grace", "grace_seconds": 60}), 409).await;
    check(Method::GET, "/v1/keys/{key}", &key, none.clone(), 200).await;
    check(Method::POST, "/v1/keys/{key}/rotation/complete", &key, none.clone(), 200).await;
    check(Method::DELETE, "/v1/keys/{key}", &key, none.clone(), 200).await;
    check(Method::PUT, member, &place, json!({"permissions": ["jobs:run"]}), 200).await;
    let made = check(Method::POST, "/v1/keys", &[], json!({"kind": "user", "user_id": "paul"}), 201).await.json();
    let legacy = [("{key}", made["key"]["id"].as_str().unwrap())];
    let report = check(Method::GET, "/v1/migration?limit=1", &[], none.clone(), 200).await.json();
    assert_eq!(report["keys"][0]["advice"]["with"], none, "{report}");
    let replace = "/v1/keys/{key}/replace";
    check(Method::POST, replace, &legacy, json!({"with": "service", "account_ids": []}), 422).await;
    check(Method::POST, replace, &legacy, json!({"with": "user", "account_ids": ["101"]}), 422).await;
    check(Method::POST, replace, &[("{key}", "key_none")], json!({"with": "service", "account_ids": ["101"]}), 404)
        .await;
    check(Method::POST, replace, &key, json!({"with": "service", "account_ids": ["101"]}), 409).await;
    check(Method::POST, replace, &legacy, json!({"with": "service", "account_ids": ["999"]}), 422).await;
    let wanted = json!({"with": "personal", "account_ids": ["101"], "revoke_old": true});
    let replaced = check(Method::POST, replace, &legacy, wanted, 201).await.json();
    assert_eq!(
        (&replaced["keys"][0]["key"]["kind"], &replaced["old"]["status"]),
        (&json!("personal"), &json!("revoked"))
    );
    check(Method::GET, "/v1/revisions/{rev}", &[("{rev}", "1")], none.clone(), 200).await;
    check(Method::GET, "/v1/revisions/{rev}", &[("{rev}", "1000000")], none.clone(), 404).await;
    check(Method::GET, "/v1/revisions/{rev}", &[("{rev}", "first")], none.clone(), 404).await;
    check(Method::GET, "/v1/revisions/{rev}?wait=soon", &[("{rev}", "1")], none.clone(), 400).await;
    check(Method::POST, "/v1/barrier", &[], none.clone(), 200).await;
    check(Method::POST, "/v1/barrier?wait=0s", &[], json!({"rev": 1}), 200).await;
    check(Method::POST, "/v1/barrier", &[], json!({"rev": -1}), 422).await;
    check(Method::POST, "/v1/barrier", &[], json!({"rev": 1_000_000}), 404).await;
    check(Method::GET, "/v1/replicas", &[], none.clone(), 200).await;
    check(Method::GET, "/v1/audit?limit=100", &[], none.clone(), 200).await;
    asked.push("POST /oauth2/introspect".to_owned());
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), rows().len(), "a row has no case here: {asked:#?}");
}
