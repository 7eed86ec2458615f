//! The command line: one file a command, each of which builds a [`Command`](crate::keyring::command::Command), has it
//! carried out, and shows the outcome.
//!
//! ```text
//!  arguments -> settings -> access --(--admin)------------------> a server elsewhere, over HTTP
//!                               +----(beside a running server)--> socket
//!                               '----(no server runs)-----------> the store, under its lock
//! ```
//!
//! Secrets are made here, in the process of who asked for them; what leaves it is an imprint. Standard output carries what
//! was asked for and nothing else, so that it can be piped; everything said about it goes to standard error.

mod access;
mod account;
mod admin;
mod audit;
mod demo;
mod dial;
mod export;
mod health;
mod import;
mod key;
mod load;
mod member;
mod migrate;
mod operator;
mod output;
mod probe;
mod receipt;
mod rehearsal;
mod replicas;
mod revision;
mod serve;
mod settings;
mod user;
mod validate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Problems;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    // clap answers --help and --version with 0 and wrong usage with 2 by itself.
    let verb = Arguments::parse().verb;
    match run(verb) {
        Ok(code) => code,
        Err(error) => {
            let code = if error.is::<Problems>() { CONFIGURATION } else { FAILED };
            output::say(&format!("keyward: {}", sentence(&error)));
            ExitCode::from(code)
        }
    }
}

/// API keys in front of any API.
#[derive(Debug, Parser)]
#[command(name = "keyward", version, after_help = EXAMPLES, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the gateway.
    Serve(serve::Arguments),
    /// Try keyward out: a gateway, an origin and two keys, gone after Ctrl-C.
    Demo,
    /// Check a configuration and show every setting in use, with where it comes from.
    Validate(validate::Arguments),
    /// Ask a running keyward on this machine whether it is ready; for health checks.
    Health(health::Arguments),
    /// Accounts: who keys are held to.
    Account(account::Arguments),
    /// Users: who personal keys belong to.
    User(user::Arguments),
    /// Memberships: which user may do what in which account.
    Member(member::Arguments),
    /// Keys: mint, show, rotate, revoke.
    Key(key::Arguments),
    /// Adopt the keys an API has already, from CSV, JSON lines, Kong or APISIX.
    Import(import::Arguments),
    /// Write keys, accounts, users or memberships to standard output, without secrets.
    Export(export::Arguments),
    /// Fill a store with keys, for load tests.
    Load(load::Arguments),
    /// Leave the keys of users, which cross accounts: what each is used for, and what takes its place.
    Migrate(migrate::Arguments),
    /// Show who did what to which key, account, user or membership, the latest first.
    Audit(audit::Arguments),
    /// Show whom rules in report mode would have refused since the server started.
    Rehearsal(rehearsal::Arguments),
    /// Show how far a change has come: whether it is in force on every replica.
    Revision(revision::Arguments),
    /// Wait until all changes, or all up to a revision, are in force on every replica.
    Barrier(revision::Barrier),
    /// Show who serves from the store, and how far each has followed its changes.
    Replicas(replicas::Arguments),
    /// Measure from outside what keyward promises.
    Probe(probe::Arguments),
    /// The keys that run keyward itself.
    Operator(operator::Arguments),
}

fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Serve(arguments) => return serve::run(arguments),
        Verb::Demo => return demo::run(),
        Verb::Validate(arguments) => return validate::run(arguments),
        Verb::Health(arguments) => return block_on(health::run(arguments)),
        Verb::Account(arguments) => block_on(account::run(arguments))?,
        Verb::User(arguments) => block_on(user::run(arguments))?,
        Verb::Member(arguments) => block_on(member::run(arguments))?,
        Verb::Key(arguments) => block_on(key::run(arguments))?,
        Verb::Import(arguments) => return block_on(import::run(arguments)),
        Verb::Export(arguments) => block_on(export::run(arguments))?,
        Verb::Load(arguments) => block_on(load::run(arguments))?,
        Verb::Migrate(arguments) => block_on(migrate::run(arguments))?,
        Verb::Audit(arguments) => block_on(audit::run(arguments))?,
        Verb::Rehearsal(arguments) => block_on(rehearsal::run(arguments))?,
        Verb::Revision(arguments) => block_on(revision::run(arguments))?,
        Verb::Barrier(arguments) => block_on(revision::barrier(arguments))?,
        Verb::Replicas(arguments) => block_on(replicas::run(arguments))?,
        Verb::Probe(arguments) => return block_on(probe::run(arguments)),
        Verb::Operator(arguments) => block_on(operator::run(arguments))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}

/// An error and its causes on one line; a cause that only repeats what was said is left out.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// The command was understood and did not work.
const FAILED: u8 = 1;
/// The settings are wrong: `EX_CONFIG`, which service managers know not to retry.
const CONFIGURATION: u8 = 78;

const EXAMPLES: &str = "\
Examples:
  keyward demo
  keyward serve --upstream http://127.0.0.1:3000 --store sqlite://keyward.db
  keyward account create acme --store sqlite://keyward.db
  KEY=$(keyward key mint --account acme --store sqlite://keyward.db)
  curl -H \"Authorization: Bearer $KEY\" http://127.0.0.1:8080/

Exit codes: 0 done, 1 failed, 2 wrong usage, 78 wrong configuration.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_commands_of_the_readme_are_understood() {
        for line in [
            "serve --config keyward.toml",
            "serve --upstream http://127.0.0.1:3000 --listen 127.0.0.1:8080 --admin 127.0.0.1:9090 --store sqlite://k.db",
            "serve --upstream echo",
            "demo",
            "validate --config keyward.toml --json",
            "health",
            "health --admin 127.0.0.1:9090",
            "account create 101 --store sqlite://k.db",
            "account list --json",
            "account suspend 101",
            "account resume 101",
            "user create paul@example.com",
            "user list --json",
            "member add --account 101 --user paul --permission jobs:run --permission jobs:read",
            "member list --account 101 --json",
            "member remove --account 101 --user paul",
            "key mint --account 101 --kind service --name ci --expires 30d --permission jobs:* --prefix uspl --json",
            "key mint --account 101 --kind personal --user paul --expires-at 2030-01-01T00:00:00Z --allow-ip 10.0.0.0/8",
            "key list --account 101 --json",
            "key show key_1 --json",
            "key found --json",
            "key rotate key_1 --json",
            "key rotate key_1 --until-quiet 1h --at-most 7d",
            "key revoke key_1",
            "key suspend key_1",
            "key resume key_1",
            "import keys.csv",
            "import kong-consumers.json kong-key-auths.json --format kong --account-from custom_id --dry-run --json",
            "export",
            "export --what members --format jsonl",
            "load --keys 100000 --accounts 1000 --out keys.csv",
            "migrate report --json",
            "migrate replace key_1 --with personal --account 101 --account 102 --old-expires-in 7d",
            "migrate replace key_1 --with service --account 101 --permission jobs:run --revoke-old --json",
            "audit --key key_1 --since 7d --json",
            "audit --account 101 --who operator --by key_2 --action key.rotate --outcome refused --until 2030-01-01T00:00:00Z",
            "rehearsal --json",
            "rehearsal --forget",
            "revision 42 --wait 10s --json",
            "barrier",
            "barrier 42 --wait 1m --json",
            "replicas --json",
            "replicas evict rep_1 --i-know-it-is-dead",
            "key revoke key_1 --wait 2s",
            "key update key_1 --any-ip --wait 0s",
            "account suspend 101 --wait 2s",
            "member remove --account 101 --user paul --wait 2s",
            "probe staleness --replica http://127.0.0.1:8080 --replica https://10.0.0.5 --path /jobs?page=1 --carrier header:X-Key --json",
            "probe staleness --replica http://a --header Host:b --every 1m --metrics 127.0.0.1:9100 --admin https://keyward.internal",
            "key list --admin https://keyward.internal --operator-key-file operator.key --admin-ca ca.pem --admin-in-clear",
            "operator reset",
        ] {
            let words = std::iter::once("keyward").chain(line.split(' '));
            assert!(Arguments::try_parse_from(words).is_ok(), "{line}");
        }
        for line in [
            "key mint --account 101 --expires 1d --expires 2030-01-01T00:00:00Z",
            "key mint --kind king",
            "replicas evict rep_1",
        ] {
            let words = std::iter::once("keyward").chain(line.split(' '));
            assert!(Arguments::try_parse_from(words).is_err(), "{line}");
        }
    }
}
