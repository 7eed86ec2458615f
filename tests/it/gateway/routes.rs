//! Routes: they pick the rule, and tell nothing to who has no key.

use crate::support::{Origin, keyward};

#[test]
fn without_a_valid_key_every_path_answers_401() {
    let origin = Origin::plain();
    let keyward = keyward()
        .config(format!(
            "[services.api]\nurl = \"{}\"\n[[routes]]\npath = \"/known/**\"\nmethods = [\"GET\"]\nservice = \"api\"\n",
            origin.url()
        ))
        .start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    let unlike = |answer: &crate::support::Answer| {
        let mut headers = answer.headers.clone();
        headers.retain(|(name, _)| !["date", "x-request-id"].contains(&name.to_lowercase().as_str()));
        (answer.status, headers, answer.json()["code"].clone())
    };
    let known = unlike(&keyward.get("/known/a", "an-opaque-secret-that-nobody-has"));
    for (method, path) in
        [("GET", "/unknown"), ("POST", "/known/a"), ("DELETE", "/"), ("OPTIONS", "/known/a"), ("OPTIONS", "*")]
    {
        let wrong = keyward.wire().ask(method, path, &[("Authorization", "Token an-opaque-secret-that-nobody-has")]);
        assert_eq!(unlike(&wrong), known, "{method} {path}");
        assert_eq!(keyward.wire().ask(method, path, &[]).code(), "API_KEY_REQUIRED", "{method} {path}");
        let valid = keyward.wire().ask(method, path, &[("Authorization", &format!("Token {}", key.secret))]);
        assert_eq!((valid.status, valid.code().as_str()), (404, "ROUTE_NOT_FOUND"), "{method} {path}");
    }
    assert!(origin.seen().heads.is_empty());
    assert_eq!(keyward.get("/known/a", &key.secret).status, 200);
}

#[test]
fn hosts_and_methods_choose_between_services() {
    let (one, two) = (
        Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none"),
        Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo"),
    );
    let keyward = keyward()
        .config(format!(
            "[services.one]\nurl = \"{}\"\n[services.two]\nurl = \"{}\"\npreserve_host = false\n\
             [[routes]]\nhosts = [\"one.test\"]\npath = \"/**\"\nservice = \"one\"\n\
             [[routes]]\nhosts = [\"*.test\"]\nmethods = [\"GET\"]\npath = \"/**\"\nservice = \"two\"\n",
            one.url(),
            two.url()
        ))
        .start();
    keyward.account("101");
    let token = format!("Token {}", keyward.service_key("101", &[]).secret);
    let ask = |method: &str, host: &str| keyward.wire().ask(method, "/", &[("Host", host), ("Authorization", &token)]);
    assert_eq!(ask("GET", "ONE.test:8080").text(), "one");
    assert!(one.last().contains("host: one.test:8080\r\n"));
    assert_eq!(ask("GET", "other.test").text(), "two");
    assert!(two.last().contains(&format!("host: {}\r\n", two.url().strip_prefix("http://").unwrap())));
    assert_eq!(ask("POST", "other.test").code(), "ROUTE_NOT_FOUND");
    assert_eq!(ask("GET", "one.example").code(), "ROUTE_NOT_FOUND");
}

#[test]
fn the_default_route_holds_a_key_to_the_account_in_the_path_wherever_it_stands() {
    let origin = Origin::plain();
    let keyward = keyward().upstream(origin.url()).start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    for (path, status) in [
        ("/", 200),
        ("/api/v2/accounts/101/jobs", 200),
        ("/api/v2/accounts/102/jobs", 404),
        ("/api/v2/accounts", 200),
        ("/deep/er/accounts/102", 404),
        ("/Accounts/102", 404),
        ("/%61ccounts/102", 404),
        ("/accounts/101/accounts/102", 400),
    ] {
        assert_eq!(keyward.get(path, &key.secret).status, status, "{path}");
    }
}

#[test]
fn an_escape_leads_around_no_rule() {
    let origin = Origin::plain();
    let keyward = keyward()
        .config(format!(
            "[services.api]\nurl = \"{}\"\n[[routes]]\npath = \"/jobs/{{id}}/admin:run\"\nservice = \"api\"\npermission = \"admin\"\n\
             [[routes]]\npath = \"/**\"\nservice = \"api\"\n",
            origin.url()
        ))
        .start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    for path in ["/jobs/1/admin:run", "/jobs/1/admin%3Arun", "/jobs/1/%61dmin%3arun/"] {
        assert_eq!(keyward.get(path, &key.secret).code(), "SCOPE_INSUFFICIENT", "{path}");
    }
    assert!(origin.seen().heads.is_empty());
}
