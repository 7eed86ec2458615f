//! What one run found, for people and programs.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::tally::{Tally, Verdict};
use crate::cli::output::{cell, print, print_json, say, table};
use crate::cli::receipt::{self, Received};
use crate::clock::BootTime;
use crate::key::KeyId;

/// When the key was revoked.
#[derive(Debug)]
pub(super) struct Revoked {
    /// When the request for it was sent.
    pub(super) sent: BootTime,
    /// When its answer was here.
    pub(super) answered: BootTime,
    /// What the answer said of where it is in force.
    pub(super) receipt: Option<Received>,
}

impl Revoked {
    /// Whether it is in force everywhere, as far as the answer goes.
    fn is_complete(&self) -> bool {
        self.receipt.as_ref().is_some_and(|received| received.receipt.is_complete())
    }
}

/// What was found of one replica.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) url: String,
    pub(super) tally: Tally,
    pub(super) verdict: Verdict,
    /// Whether it refused the key at the end.
    pub(super) is_over: bool,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) key: KeyId,
    pub(super) revoked: Revoked,
    pub(super) rows: Vec<Row>,
}

/// What it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conclusion {
    Fresh,
    Stale,
    Unmeasured,
}

impl Conclusion {
    pub(super) const ALL: [Self; 3] = [Self::Fresh, Self::Stale, Self::Unmeasured];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Unmeasured => "unmeasured",
        }
    }

    pub(super) fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Fresh => 0,
            Self::Stale => 1,
            Self::Unmeasured => 2,
        })
    }
}

impl Run {
    /// A promise is broken where one replica breaks it, and kept where every one keeps it.
    pub(super) fn conclusion(&self) -> Conclusion {
        let any = |wanted: fn(&Verdict) -> bool| self.rows.iter().any(|row| wanted(&row.verdict));
        if !self.revoked.is_complete() {
            Conclusion::Unmeasured
        } else if any(|verdict| matches!(verdict, Verdict::Stale(_))) {
            Conclusion::Stale
        } else if any(|verdict| matches!(verdict, Verdict::Unknown(_))) {
            Conclusion::Unmeasured
        } else {
            Conclusion::Fresh
        }
    }

    /// Seconds from the request for the revocation to its answer.
    pub(super) fn receipt_seconds(&self) -> f64 {
        seconds(self.revoked.sent, self.revoked.answered)
    }

    /// Prints it all.
    pub(super) fn print(&self, as_json: bool) -> anyhow::Result<()> {
        if as_json {
            return print_json(&self.json());
        }
        let columns = ["replica", "requests", "accepted", "refused", "unclear", "last accepted", "verdict"];
        print(&table(&columns, &self.rows.iter().map(|row| self.row(row)).collect::<Vec<_>>()))?;
        let took = millis(self.receipt_seconds());
        let key = &self.key;
        say(&format!("{key} was revoked; the answer came after {took}, and times are from it on."));
        receipt::say(self.revoked.receipt.as_ref());
        Ok(())
    }

    /// Prints it as one of many.
    pub(super) fn print_again(&self, as_json: bool) -> anyhow::Result<()> {
        if as_json { Ok(print(&format!("{}\n", self.json()))?) } else { self.print(false) }
    }

    fn row(&self, row: &Row) -> Vec<String> {
        let Row { url, tally, verdict, is_over } = row;
        let last = tally.last_accepted.map(|last| {
            let after = seconds(self.revoked.answered, last);
            format!("{}{}", if after < 0.0 { "-" } else { "+" }, millis(after.abs()))
        });
        let verdict = match verdict {
            Verdict::Fresh => "refused at once".to_owned(),
            Verdict::Stale(stale) if *is_over => format!("STALE for {}", millis(stale.as_secs_f64())),
            Verdict::Stale(stale) => format!("STALE for {}, and no end seen", millis(stale.as_secs_f64())),
            Verdict::Unknown(why) => format!("unknown: {why}"),
        };
        let counts = [tally.requests, tally.accepted, tally.refused, tally.unclear].map(|count| count.to_string());
        [url.clone()].into_iter().chain(counts).chain([cell(last), verdict]).collect()
    }

    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|Row { url, tally, verdict, is_over }| {
            let since = |moment| tally.last_accepted.map(|last| seconds(moment, last));
            let (word, stale, why) = match verdict {
                Verdict::Fresh => ("fresh", Some(0.0), None),
                Verdict::Stale(stale) => ("stale", Some(stale.as_secs_f64()), None),
                Verdict::Unknown(why) => ("unknown", None, Some(why)),
            };
            json!({
                "replica": url,
                "requests": tally.requests,
                "accepted": tally.accepted,
                "refused": tally.refused,
                "unclear": tally.unclear,
                "verdict": word,
                "stale_seconds": stale,
                "ended": is_over,
                "why": why,
                "last_accepted_after_answer_seconds": since(self.revoked.answered),
                "last_accepted_after_request_seconds": since(self.revoked.sent),
            })
        });
        json!({
            "result": self.conclusion().as_str(),
            "key": self.key,
            "receipt": self.revoked.receipt.as_ref().map(Received::json),
            "receipt_seconds": self.receipt_seconds(),
            "replicas": rows.collect::<Vec<_>>(),
        })
    }
}

/// From one moment to another, which may be the earlier.
fn seconds(from: BootTime, to: BootTime) -> f64 {
    if to >= from { to.since(from).as_secs_f64() } else { -from.since(to).as_secs_f64() }
}

fn millis(seconds: f64) -> String {
    format!("{:.1} ms", seconds * 1000.0)
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::probe::said::Said;
    use crate::clock::Timestamp;
    use crate::keyring::receipt::{Progress, Receipt};

    pub(in crate::cli::probe) fn run(verdicts: &[Verdict], is_complete: bool) -> Run {
        let mut tally = Tally::default();
        tally.note(BootTime::from_nanos(1_500_000), Said::Accepted);
        let url = "http://10.0.0.5:8080".to_owned();
        let row =
            |verdict: &Verdict| Row { url: url.clone(), tally: tally.clone(), verdict: verdict.clone(), is_over: true };
        let within = Duration::from_secs(9);
        let pending = Progress::Pending { within };
        let progress = if is_complete { Progress::Complete { at: Timestamp::from_millis(0) } } else { pending };
        let receipt = Receipt { revision: 7, progress, replicas: Vec::new() };
        let receipt = Some(Received { receipt, took: within, served: true });
        let revoked = Revoked { sent: BootTime::from_nanos(0), answered: BootTime::from_nanos(4_000_000), receipt };
        Run { key: "key_1".parse().unwrap(), revoked, rows: verdicts.iter().map(row).collect() }
    }

    #[test]
    fn one_stale_replica_breaks_the_promise_and_one_unknown_leaves_it_open() {
        let (fresh, stale) = (Verdict::Fresh, Verdict::Stale(Duration::from_millis(2)));
        let unknown = Verdict::Unknown("it did not answer".to_owned());
        for (verdicts, complete, conclusion) in [
            (vec![fresh.clone(), fresh.clone()], true, Conclusion::Fresh),
            (vec![fresh.clone(), unknown.clone()], true, Conclusion::Unmeasured),
            (vec![unknown, stale.clone(), fresh.clone()], true, Conclusion::Stale),
            (vec![stale], false, Conclusion::Unmeasured),
            (vec![fresh], false, Conclusion::Unmeasured),
        ] {
            assert_eq!(run(&verdicts, complete).conclusion(), conclusion, "{verdicts:?}");
        }
    }

    #[test]
    fn what_was_accepted_last_is_told_from_the_answer_and_from_the_request() {
        let run = run(&[Verdict::Fresh], true);
        assert_eq!(run.row(&run.rows[0])[5..], ["-2.5 ms", "refused at once"]);
        let told = run.json();
        assert_eq!(told["replicas"][0]["last_accepted_after_answer_seconds"], json!(-0.0025));
        assert_eq!(told["replicas"][0]["last_accepted_after_request_seconds"], json!(0.0015));
        assert_eq!((&told["result"], &told["receipt_seconds"]), (&json!("fresh"), &json!(0.004)));
    }
}
