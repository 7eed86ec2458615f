//! When and where a change became true, for people and programs; and how long to wait for that.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::output::{self, print_json};
use crate::keyring::receipt::{Heard, How, Progress, Receipt};
use crate::measure::Span;

/// How long a change is waited for.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(super) struct Patience {
    /// Wait no longer than so, such as 2s, until it is in force on every replica; as long as it takes where left out.
    #[arg(long, value_name = "SPAN")]
    wait: Option<Span>,
}

impl Patience {
    /// As long as it takes where nothing is said.
    pub(super) fn span(self) -> Duration {
        self.wait.map_or(Duration::MAX, |Span(span)| span)
    }
}

/// A receipt, as it came.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) receipt: Receipt,
    /// How long it took to come.
    pub(super) took: Duration,
    /// Whether anybody serves from the store.
    pub(super) served: bool,
}

impl Received {
    fn sentence(&self) -> String {
        let Self { receipt: Receipt { revision, progress, replicas }, took, served } = self;
        let count = |how| replicas.iter().filter(|heard: &&Heard| heard.how == how).count();
        let (all, told, lapsed) = (replicas.len(), count(How::Acknowledged), count(How::Lapsed));
        let said = match progress {
            Progress::Complete { .. } if !served => "in force; no keyward serves from this store".to_owned(),
            Progress::Complete { .. } if all == 0 => format!("in force on every replica after {}", short(*took)),
            Progress::Complete { .. } if lapsed > 0 => format!(
                "in force on {told} of {all} replicas after {}; {lapsed} silent, which can serve nothing from before",
                short(*took)
            ),
            Progress::Complete { .. } => format!("in force on {told} of {all} replicas after {}", short(*took)),
            Progress::Lost => {
                "lost: the database that answers now does not have it; look at what is there, and do it again"
                    .to_owned()
            }
            Progress::Pending { within } => {
                let told = if all == 0 { String::new() } else { format!(" (on {told} of {all} replicas)") };
                format!(
                    "not yet in force everywhere{told}: within {} at the latest; look again with `keyward revision {revision}`",
                    short(*within)
                )
            }
        };
        format!("revision {revision}: {said}")
    }

    /// The same for programs, as the API has it.
    pub(super) fn json(&self) -> Value {
        let Receipt { revision, progress, replicas } = &self.receipt;
        let mut value = json!({ "rev": revision, "complete": self.receipt.is_complete() });
        match progress {
            Progress::Complete { at } => value["completed_at"] = json!(at),
            Progress::Lost => value["lost"] = json!(true),
            Progress::Pending { within } => value["complete_within_ms"] = json!(within.as_nanos().div_ceil(1_000_000)),
        }
        value["replicas"] =
            replicas.iter().map(|Heard { id, node, how }| json!({ "id": id, "node": node, "state": how })).collect();
        value
    }
}

/// Says it, where there is one.
pub(super) fn say(receipt: Option<&Received>) {
    if let Some(receipt) = receipt {
        output::say(&receipt.sentence());
    }
}

/// Adds the receipt to what programs read, where there is one.
pub(super) fn add(value: &mut Value, receipt: Option<&Received>) {
    if let Some(receipt) = receipt {
        value["receipt"] = receipt.json();
    }
}

/// Prints what was changed as JSON, with the receipt where there is one.
pub(super) fn print_changed(changed: &impl Serialize, receipt: Option<&Received>) -> anyhow::Result<()> {
    let mut value = serde_json::to_value(changed)?;
    add(&mut value, receipt);
    print_json(&value)
}

/// A span as people take it in at once. Rounded up: some are bounds.
pub(super) fn short(span: Duration) -> String {
    let millis = span.as_nanos().div_ceil(1_000_000);
    if millis < 1000 {
        return format!("{millis} ms");
    }
    let tenths = millis.div_ceil(100);
    format!("{}.{} s", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::store::replica::ReplicaId;

    fn received(progress: Progress, replicas: &[How]) -> Received {
        let heard = |(at, how): (usize, &How)| Heard {
            id: ReplicaId::of([u8::try_from(at).unwrap(); 8]),
            node: "a".to_owned(),
            how: *how,
        };
        let replicas = replicas.iter().enumerate().map(heard).collect();
        let receipt = Receipt { revision: 42, progress, replicas };
        Received { receipt, took: Duration::from_micros(3200), served: true }
    }

    #[test]
    fn a_person_reads_in_one_line_how_far_it_came() {
        let complete = Progress::Complete { at: Timestamp::from_millis(0) };
        let pending = Progress::Pending { within: Duration::from_millis(9960) };
        let (told, silent, waiting) = (How::Acknowledged, How::Lapsed, How::Waiting);
        for (progress, replicas, sentence) in [
            (complete, &[told, told, told][..], "in force on 3 of 3 replicas after 4 ms"),
            (complete, &[], "in force on every replica after 4 ms"),
            (
                complete,
                &[told, silent],
                "in force on 1 of 2 replicas after 4 ms; 1 silent, which can serve nothing from before",
            ),
            (
                pending,
                &[told, waiting],
                "not yet in force everywhere (on 1 of 2 replicas): within 10.0 s at the latest; look again with `keyward revision 42`",
            ),
            (
                pending,
                &[],
                "not yet in force everywhere: within 10.0 s at the latest; look again with `keyward revision 42`",
            ),
        ] {
            assert_eq!(received(progress, replicas).sentence(), format!("revision 42: {sentence}"));
        }
        let alone = Received { served: false, ..received(complete, &[]) };
        assert_eq!(alone.sentence(), "revision 42: in force; no keyward serves from this store");
    }

    #[test]
    fn a_program_reads_what_the_api_says() {
        let pending = received(Progress::Pending { within: Duration::from_micros(1500) }, &[How::Waiting]);
        let replicas = json!([{ "id": "rep_0000000000000000", "node": "a", "state": "waiting" }]);
        let said = json!({ "rev": 42, "complete": false, "complete_within_ms": 2, "replicas": replicas });
        assert_eq!(pending.json(), said);
        let complete = received(Progress::Complete { at: Timestamp::from_millis(0) }, &[]);
        let at = "1970-01-01T00:00:00.000Z";
        assert_eq!(complete.json(), json!({ "rev": 42, "complete": true, "completed_at": at, "replicas": [] }));
    }

    #[test]
    fn spans_are_short() {
        for (millis, text) in
            [(0, "0 ms"), (4, "4 ms"), (999, "999 ms"), (1000, "1.0 s"), (9960, "10.0 s"), (10_001, "10.1 s")]
        {
            assert_eq!(short(Duration::from_millis(millis)), text);
        }
    }
}
