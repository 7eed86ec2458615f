//! `keyward export`: everything keyward knows but secrets and digests, for other programs, for a move, or to be kept.
//!
//! A record is written as its own JSON says it, so that no member is forgotten; a column is a member.

use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Value, json};

use super::access::{carry_out, unexpected};
use super::output::print;
use super::settings::StoreArguments;
use crate::keyring::command::{Command, KeyFilter, MemberFilter, Outcome, Slice};

#[derive(Debug, clap::Args)]
#[command(after_help = FORMATS)]
pub(super) struct Arguments {
    /// What to export.
    #[arg(long, default_value = "keys")]
    what: What,
    /// How to write it.
    #[arg(long, default_value = "csv")]
    format: Format,
    #[command(flatten)]
    store: StoreArguments,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum What {
    /// Every key, whatever its state, oldest first.
    Keys,
    /// Every account.
    Accounts,
    /// Every user.
    Users,
    /// Which user may do what in which account.
    Members,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// A table with a header; lists stand between commas.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let settings = arguments.store.settings()?;
    let command = match arguments.what {
        What::Keys => Command::ListKeys(KeyFilter::default()),
        What::Accounts => Command::ListAccounts(Slice::ALL),
        What::Users => Command::ListUsers(Slice::ALL),
        What::Members => Command::ListMembers(MemberFilter::default()),
    };
    let (columns, records) = match carry_out(&settings, command).await? {
        Outcome::Keys(keys) => (&KEY[..], values(&keys)),
        Outcome::Accounts(accounts) => (&ACCOUNT[..], values(&accounts)),
        Outcome::Users(users) => (&USER[..], values(&users)),
        Outcome::Members(members) => (&MEMBER[..], values(&members)),
        other => return Err(unexpected(&other)),
    };
    let text = match arguments.format {
        Format::Csv => table(columns, &records)?,
        Format::Jsonl => records.iter().map(|record| format!("{record}\n")).collect(),
    };
    Ok(print(&text)?)
}

fn values(records: &[impl Serialize]) -> Vec<Value> {
    records.iter().map(|record| json!(record)).collect()
}

fn table(columns: &[&str], records: &[Value]) -> anyhow::Result<String> {
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(columns)?;
    for record in records {
        table.write_record(columns.iter().map(|column| cell(&record[column])))?;
    }
    let text = table.into_inner().context("the table cannot be written")?;
    Ok(String::from_utf8(text)?)
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(members) => members.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

const KEY: [&str; 20] = [
    "id",
    "serial",
    "kind",
    "state",
    "account",
    "user",
    "name",
    "prefix",
    "kid",
    "hint",
    "permissions",
    "allowed_ips",
    "not_before",
    "expires_at",
    "created_at",
    "rotated_at",
    "last_used_at",
    "generation",
    "version",
    "rotation",
];
const ACCOUNT: [&str; 5] = ["id", "serial", "name", "state", "created_at"];
const USER: [&str; 5] = ["id", "serial", "name", "email", "created_at"];
const MEMBER: [&str; 4] = ["account", "user", "permissions", "licence"];

const FORMATS: &str = "\
Neither secrets nor their digests are in it: keyward keeps no secret, and gives no digest away. So an export of keys is no backup
of them; for that, copy the store. With a column secret or sha256 added, `keyward import` takes it: whose each key is, its name,
permissions, networks and times are kept then; ids, history and last use are made anew, and keys that are not active are refused.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::key::{Account, AccountState, Key, Membership, User};

    fn members(record: &impl Serialize) -> Vec<String> {
        let mut names: Vec<_> = json!(record).as_object().unwrap().keys().cloned().collect();
        names.sort();
        names
    }

    fn sorted(columns: &[&str]) -> Vec<String> {
        let mut names: Vec<_> = columns.iter().map(ToString::to_string).collect();
        names.sort();
        names
    }

    fn key() -> Key {
        Key {
            name: "ci, \"nightly\"".to_owned(),
            permissions: ["jobs:run", "jobs:read"].map(|name| name.parse().unwrap()).into_iter().collect(),
            allowed_ips: vec!["10.0.0.0/8".parse().unwrap()],
            expires_at: Some(Timestamp::from_millis(0)),
            ..crate::cli::output::tests::key()
        }
    }

    #[test]
    fn every_member_of_a_record_has_its_column() {
        let now = Timestamp::from_millis(0);
        let (account, user) = ("101".parse().unwrap(), "paul".parse().unwrap());
        assert_eq!(members(&key()), sorted(&KEY));
        let record =
            Account { id: "101".parse().unwrap(), serial: 1, name: None, state: AccountState::Active, created_at: now };
        assert_eq!(members(&record), sorted(&ACCOUNT));
        assert_eq!(
            members(&User { id: "paul".parse().unwrap(), serial: 1, name: None, email: None, created_at: now }),
            sorted(&USER)
        );
        assert_eq!(
            members(&Membership { account, user, permissions: Default::default(), licence: None }),
            sorted(&MEMBER)
        );
    }

    #[test]
    fn a_table_quotes_what_it_must_and_leaves_out_what_is_not_there() {
        let text = table(&KEY, &values(&[key()])).unwrap();
        let row = "key_1,1,service,active,101,,\"ci, \"\"nightly\"\"\",,,wxyz,\"jobs:read,jobs:run\",10.0.0.0/8,,\
                   1970-01-01T00:00:00.000Z,1970-01-01T00:00:00.000Z,,,1,1,\n";
        assert_eq!(text, format!("{}\n{row}", KEY.join(",")));
    }
}
