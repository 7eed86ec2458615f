//! A client that nobody here wrote: dbt-cloud-cli as it is published, told an address, a root certificate and a token.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::dbt_flows::{Site, site};
use crate::support::Origin;
use crate::support::python::python;

impl Site {
    fn cli(&self, token: &str, account: &str, arguments: &[&str]) -> Output {
        let program = PathBuf::from(python().get_program()).with_file_name("dbt-cloud");
        assert!(program.exists(), "{} is not there: run .ci/packages", program.display());
        let mut cli = Command::new(program);
        cli.args(arguments).env("DBT_CLOUD_HOST", &self.host).env("REQUESTS_CA_BUNDLE", &self.root);
        cli.env("DBT_CLOUD_API_TOKEN", token).env("DBT_CLOUD_ACCOUNT_ID", account);
        // The environment of the machine, with its proxies, is not part of the test.
        cli.env("NO_PROXY", "localhost").output().unwrap()
    }

    fn printed(&self, token: &str, account: &str, arguments: &[&str]) -> Value {
        let output = self.cli(token, account, arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What it prints of a refusal, and what it says of the status.
    fn failed(&self, token: &str, account: &str, arguments: &[&str]) -> (Value, String) {
        let output = self.cli(token, account, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        let said = serde_json::from_slice::<Value>(&output.stdout).unwrap();
        assert_eq!(said["data"], Value::Null);
        (said["status"]["user_message"].clone(), String::from_utf8(output.stderr).unwrap())
    }
}

/// An API that has one job.
fn api() -> Origin {
    let job = "{\"id\":5,\"name\":\"nightly\",\"account_id\":101}";
    let status = "{\"code\":200,\"is_success\":true,\"user_message\":\"Success!\",\"developer_message\":\"\"}";
    Origin::scripted(move |line| {
        while let Some((head, _)) = line.request() {
            let data = if head.contains("/jobs/5") { job.to_owned() } else { format!("[{job}]") };
            let body = format!("{{\"status\":{status},\"data\":{data}}}");
            let length = body.len();
            line.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            ));
        }
    })
}

#[test]
fn dbt_cloud_cli_lists_gets_and_reads_refusals() {
    let site = site(api());
    let token = site.world.secret("paul").to_owned();
    // The list of accounts is keyward's, with the token's own account and no other.
    let accounts = site.printed(&token, "101", &["account", "list"]);
    assert_eq!((&accounts["data"][0]["id"], accounts["data"].as_array().map(Vec::len)), (&json!(101), Some(1)));
    assert!(site.world.origin.seen().heads.is_empty());
    // Jobs are the origin's.
    let jobs = site.printed(&token, "101", &["job", "list"]);
    assert_eq!(jobs["data"], json!([{"id": 5, "name": "nightly", "account_id": 101}]));
    let job = site.printed(&token, "101", &["job", "get", "--job-id", "5"]);
    assert_eq!(job["data"]["name"], "nightly");
    let heads = site.world.origin.seen().heads;
    let lines: Vec<_> = heads.iter().map(|head| head.lines().next().unwrap_or_default()).collect();
    assert_eq!(lines, ["GET /api/v2/accounts/101/jobs HTTP/1.1", "GET /api/v2/accounts/101/jobs/5 HTTP/1.1"]);
    assert!(heads.iter().all(|head| !head.contains(&token)), "the token is not the origin's to see");
    // Refusals, where keyward answers and where it would have forwarded.
    let wrong = format!("dbtu_{}", "a".repeat(50));
    for arguments in [&["account", "list"][..], &["job", "list"]] {
        let (message, status) = site.failed(&wrong, "101", arguments);
        assert_eq!(message, "Invalid token.");
        assert!(status.contains("401 Client Error"), "{status}");
    }
    let (message, status) = site.failed(&token, "102", &["job", "get", "--job-id", "5"]);
    assert!(message.as_str().is_some_and(|message| message.ends_with("have the proper permissions.")), "{message}");
    assert!(status.contains("404 Client Error"), "{status}");
    assert_eq!(site.world.origin.seen().heads.len(), 2);
}
