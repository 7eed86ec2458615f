//! `keyward replicas`: who serves from the store, and how far each has followed its log.

use clap::Subcommand;
use serde_json::{Value, json};

use super::access::{Access, unexpected};
use super::output::{cell, print, print_json, table};
use super::receipt::short;
use super::settings::StoreArguments;
use crate::keyring::command::{Command, Listed, Outcome, Roster};
use crate::store;
use crate::store::replica::ReplicaId;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    store: StoreArguments,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Have changes wait no longer for a replica that is dead. One that lives would go on serving what was revoked.
    Evict {
        /// The replica's id, such as rep_0f3a…
        id: String,
        /// Say that its process has ended, and that you have made sure of it.
        #[arg(long = "i-know-it-is-dead", required = true)]
        dead: bool,
    },
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { verb, store, json } = arguments;
    let command = match verb {
        None => Command::ShowReplicas,
        Some(Verb::Evict { id, dead: _ }) => Command::EvictReplica(ReplicaId::known(&id)),
    };
    let mut access = Access::open(&store.settings()?, store::Access::Existing).await?;
    let outcome = access.run(command).await?;
    access.close().await;
    match outcome {
        Outcome::Replicas(roster) if json => print_json(&roster_json(&roster)),
        Outcome::Replicas(roster) => {
            let columns = ["", "id", "node", "version", "state", "position", "lag", "lease", "heard"];
            Ok(print(&table(&columns, &roster.replicas.iter().map(row).collect::<Vec<_>>()))?)
        }
        Outcome::Evicted(listed) if json => print_json(&one_json(&listed)),
        Outcome::Evicted(listed) => {
            let (id, node) = (&listed.replica.id, &listed.replica.node);
            Ok(print(&format!("replica {id} on {node} is dead: no change waits for it any longer\n"))?)
        }
        other => Err(unexpected(&other)),
    }
}

/// The one that answered has a mark.
fn row(listed: &Listed) -> Vec<String> {
    let Listed { replica, lag, own, lease } = listed;
    let lease = match lease {
        Some(lease) => short(*lease),
        None if *own => "without end".to_owned(),
        None => "-".to_owned(),
    };
    vec![
        if *own { "*" } else { "" }.to_owned(),
        replica.id.to_string(),
        replica.node.clone(),
        replica.version.clone(),
        word(listed).to_owned(),
        cell(replica.applied),
        cell(*lag),
        lease,
        replica.heard.to_string(),
    ]
}

fn roster_json(roster: &Roster) -> Value {
    let fence = roster.fence.map(|fence| fence.as_nanos().div_ceil(1_000_000));
    json!({
        "head": roster.head,
        "fence_ms": fence,
        "replicas": roster.replicas.iter().map(one_json).collect::<Vec<_>>(),
    })
}

fn one_json(listed: &Listed) -> Value {
    let Listed { replica, lag, own, lease } = listed;
    json!({
        "id": replica.id,
        "node": replica.node,
        "version": replica.version,
        "state": replica.state,
        "position": replica.applied,
        "lag": lag,
        "lease_ms": lease.map(|lease| lease.as_millis()),
        "joined_at": replica.joined,
        "heard_at": replica.heard,
        "asked": own,
    })
}

fn word(listed: &Listed) -> &'static str {
    use crate::store::replica::ReplicaState::{Dead, Live, Suspect};
    match listed.replica.state {
        Live => "live",
        Suspect => "suspect",
        Dead => "dead",
    }
}
