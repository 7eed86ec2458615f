//! The flows of the vendor's pages, in their order, with curl over TLS. Where a page has a line for curl, it is that line, and only
//! its host, ids and token are others.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::dbt::{World, world_of};
use crate::support::pki::Root;
use crate::support::{Origin, keyward};

/// A keyward that speaks the dialect over TLS, and the shell of somebody who trusts its certificate.
pub(super) struct Site {
    pub(super) world: World,
    pub(super) host: String,
    pub(super) root: PathBuf,
}

pub(super) fn site(origin: Origin) -> Site {
    let setup = keyward();
    let root = Root::new(setup.folder());
    let files = root.certificate(setup.folder(), &["localhost"]);
    let tls = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\ntls_listen = [\"127.0.0.1:0\"]\n\
         [[server.certificates]]\nchain_file = {:?}\nkey_file = {:?}",
        files.chain, files.key
    );
    let world = world_of(setup, origin, &tls);
    let host = format!("localhost:{}", world.keyward.tls_address().port());
    Site { world, host, root: root.file }
}

impl Site {
    /// Runs a line in a shell with what the pages leave to the reader: the status, and the answer.
    fn run(&self, line: &str, id: &str, token: &str) -> (u16, Value) {
        let line = line.replace("YOUR_ACCESS_URL", &self.host).replace("YOUR_USER_ID", id);
        let line = line.replace("YOUR_CURRENT_TOKEN", token).replace("YOUR_TOKEN", token);
        let line = format!("{line} --silent --show-error --write-out '\\n%{{http_code}}'");
        let mut shell = Command::new("bash");
        // The environment of the machine, with its proxies, is not part of the test.
        shell.env("CURL_CA_BUNDLE", &self.root).env("NO_PROXY", "localhost").args(["-c", &line]);
        let output = shell.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let (body, status) = said.rsplit_once('\n').unwrap_or_default();
        assert!(output.status.success(), "{line}: {said}{}", String::from_utf8_lossy(&output.stderr));
        let body = if body.is_empty() { Value::Null } else { serde_json::from_str(body).unwrap() };
        (status.parse().unwrap(), body)
    }

    fn get(&self, path: &str, token: &str) -> (u16, Value) {
        let line = format!("curl 'https://YOUR_ACCESS_URL{path}' --header 'Authorization: Token YOUR_TOKEN'");
        self.run(&line, "", token)
    }

    /// The status of the API's own answers.
    fn jobs(&self, account: &str, token: &str) -> u16 {
        let line = format!(
            "curl 'https://YOUR_ACCESS_URL/api/v2/accounts/{account}/jobs/' --header 'Authorization: Token YOUR_TOKEN' \
             --output /dev/null"
        );
        self.run(&line, "", token).0
    }

    /// What is shown of a new personal token of user 7, the one time that it is.
    fn create(&self, account: &str, name: &str, token: &str) -> (u64, String) {
        let line = format!(
            "curl --request POST 'https://YOUR_ACCESS_URL/api/v3/accounts/{account}/users/7/account-apikeys/' \
             --header 'Authorization: Token YOUR_TOKEN' --header 'Content-Type: application/json' \
             --data '{{\"name\": \"{name}\"}}'"
        );
        let (status, made) = self.run(&line, "", token);
        assert_eq!(status, 200, "{made}");
        let data = &made["data"];
        assert_eq!((&data["name"], &data["account_id"].to_string()[..]), (&json!(name), account));
        (data["id"].as_u64().unwrap(), data["token_string"].as_str().unwrap().to_owned())
    }
}

/// "How can I rotate my user API token?", Manual.
const ROTATE: &str = "curl --location --request POST 'https://YOUR_ACCESS_URL/api/v2/users/YOUR_USER_ID/apikey/' \\
--header 'Authorization: Token YOUR_CURRENT_TOKEN'";

const INVALID: &str = "Invalid token.";

#[test]
fn a_user_token_is_rotated_by_its_own_user_and_the_old_one_is_dead() {
    let site = site(Origin::plain());
    let old = site.world.secret("legacy").to_owned();
    assert_eq!(site.jobs("101", &old), 200);
    // Another's id is as little there as none.
    for id in ["8", "999", "07"] {
        let (status, said) = site.run(ROTATE, id, &old);
        assert_eq!((status, &said["data"]), (404, &Value::Null), "{id}");
    }
    assert_eq!(site.jobs("101", &old), 200, "nothing was rotated");
    // Step 1, and step 2: the new key is in the answer.
    let (status, said) = site.run(ROTATE, "7", &old);
    assert_eq!((status, &said["data"]["id"]), (200, &json!(7)), "{said}");
    let new = said["data"]["api_key"].as_str().unwrap();
    assert!(new.starts_with("dbtu_") && new != old, "{new}");
    assert_eq!((site.jobs("101", &old), site.jobs("101", new), site.jobs("102", new)), (401, 200, 200));
    let (status, said) = site.run(ROTATE, "7", &old);
    assert_eq!((status, &said["status"]["user_message"]), (401, &json!(INVALID)));
    // It was to be found once more in the vendor's console; here it is shown this once.
    let (status, said) = site.run(&ROTATE.replace("--request POST", "--request GET"), "7", new);
    assert_eq!((status, &said["data"]), (405, &Value::Null));
}

#[test]
fn one_user_in_two_accounts_leaves_the_one_token_for_two_that_are_blind_to_each_other() {
    let site = site(Origin::plain());
    let legacy = site.world.secret("legacy").to_owned();
    let ids = |said: &Value| -> Vec<u64> {
        said["data"].as_array().unwrap().iter().map(|item| item["id"].as_u64().unwrap()).collect()
    };
    // Before: one token for both.
    let (status, said) = site.get("/api/v3/accounts/", &legacy);
    assert_eq!((status, ids(&said)), (200, vec![101, 102]));
    assert_eq!((site.jobs("101", &legacy), site.jobs("102", &legacy)), (200, 200));
    // A token for each of the accounts.
    let made = ["101", "102"].map(|account| site.create(account, "migrated", &legacy));
    for ((id, token), own, other) in [(&made[0], "101", "102"), (&made[1], "102", "101")] {
        assert_eq!((site.jobs(own, token), site.jobs(other, token)), (200, 404));
        for list in ["/api/v3/accounts/", "/api/v2/accounts/"] {
            let (status, said) = site.get(list, token);
            assert_eq!((status, ids(&said)), (200, vec![own.parse().unwrap()]));
            assert_eq!(said["extra"]["pagination"], json!({"count": 1, "total_count": 1}));
        }
        let (_, said) = site.get(&format!("/api/v3/accounts/{own}/users/7/account-apikeys/"), token);
        assert!(ids(&said).contains(id), "{said}");
        assert_eq!(site.get(&format!("/api/v3/accounts/{other}/users/7/account-apikeys/"), token).0, 404);
        let (_, said) = site.get("/api/v2/whoami/", token);
        assert_eq!(said["data"]["user"]["permissions"].as_array().unwrap().len(), 1, "{said}");
        // Nor is the token that crosses accounts theirs to rotate: what they rotate is themselves.
        assert_eq!(site.get(&format!("/api/v3/accounts/{other}/users/7/account-apikeys/{id}/"), token).0, 404);
    }
    // After: the old one is ended, and nothing else with it.
    let keys = site.world.keyward.json(&["key", "list"]);
    let old = keys["keys"].as_array().unwrap().iter().find(|key| key["kind"] == "user").unwrap();
    site.world.keyward.cli(&["key", "revoke", old["id"].as_str().unwrap()]);
    assert_eq!((site.jobs("101", &legacy), site.jobs("102", &legacy)), (401, 401));
    assert_eq!((site.jobs("101", &made[0].1), site.jobs("102", &made[1].1)), (200, 200));
}

#[test]
fn a_personal_token_is_made_copied_once_replaced_and_deleted() {
    let site = site(Origin::plain());
    let signed_in = site.world.secret("paul").to_owned();
    let tokens = "/api/v3/accounts/101/users/7/account-apikeys/";
    // Create: name it, copy it.
    let (first, token) = site.create("101", "laptop", &signed_in);
    assert!(token.starts_with("dbtu_"), "{token}");
    assert_eq!(site.jobs("101", &token), 200);
    // It is not available after: neither in the list nor by itself.
    for path in [tokens.to_owned(), format!("{tokens}{first}/")] {
        let (status, said) = site.get(&path, &signed_in);
        let said = said.to_string();
        assert!(status == 200 && !said.contains(&token) && said.contains("\"token_string\":\"dbtu_***"), "{said}");
    }
    // Rotate: create a new one, and delete the old one once the new one is in its place.
    let (second, newer) = site.create("101", "laptop", &signed_in);
    assert_eq!((site.jobs("101", &token), site.jobs("101", &newer)), (200, 200));
    let delete = |id: u64| {
        let line = format!(
            "curl --request DELETE 'https://YOUR_ACCESS_URL{tokens}{id}/' --header 'Authorization: Token YOUR_TOKEN'"
        );
        site.run(&line, "", &newer)
    };
    assert_eq!(delete(first), (204, Value::Null));
    assert_eq!((site.jobs("101", &token), site.jobs("101", &newer)), (401, 200));
    assert_eq!(site.get(&format!("{tokens}{first}/"), &newer).1["data"]["state"], 2);
    let (_, said) = site.get(tokens, &newer);
    let left: Vec<_> = said["data"].as_array().unwrap().iter().map(|token| &token["id"]).collect();
    assert!(left.contains(&&json!(second)) && !left.contains(&&json!(first)), "{said}");
    // Delete: the token is no longer valid, be it the one that asks.
    assert_eq!(delete(second), (204, Value::Null));
    assert_eq!(site.jobs("101", &newer), 401);
}
