//! docs/limits.md says what is so: each setting with its default, each metric, each test; and no limit is left out.

use std::fs;
use std::path::Path;

use toml_edit::{DocumentMut, Item};

use crate::support::keyward;
use crate::support::named::assert_is_a_test;

/// A row of a table: setting, default, metric, test; each the one word in backticks of its cell.
struct Row {
    setting: String,
    default: String,
    metric: String,
    test: String,
}

fn rows() -> Vec<Row> {
    let page = fs::read_to_string(top().join("docs/limits.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with('|') && line.contains('`'));
    let code = |cell: &str| cell.split('`').nth(1).unwrap_or_else(|| panic!("no `word` in {cell:?}")).to_owned();
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        assert_eq!(cells.len(), 6, "{line}");
        Row { setting: code(cells[1]), default: code(cells[2]), metric: code(cells[4]), test: code(cells[5]) }
    })
    .collect()
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn reference() -> DocumentMut {
    fs::read_to_string(top().join("config/default.toml")).unwrap().parse().unwrap()
}

#[test]
fn every_setting_is_there_with_its_default_and_none_is_left_out() {
    let (rows, reference) = (rows(), reference());
    for row in &rows {
        let value = row.setting.split('.').try_fold(reference.as_item(), |item, part| item.get(part));
        let value = value.and_then(Item::as_value).unwrap_or_else(|| panic!("{} is no setting", row.setting));
        let value = value.clone().decorated("", "").to_string();
        assert_eq!(value, row.default, "{}", row.setting);
    }
    // What is no limit, or is told in words.
    let others = [
        "server.limits.buffer_bytes",
        "server.timeouts.drain_min",
        "origin.buffer_bytes",
        "origin.preserve_host",
        "origin.retry",
        "origin.signature_lifetime",
        "origin.signing_key_id",
    ];
    for table in ["server.limits", "server.timeouts", "origin", "gateway.tunnels"] {
        let values = table.split('.').fold(reference.as_item(), |item, part| &item[part]);
        for (name, _) in values.as_table().unwrap() {
            let setting = format!("{table}.{name}");
            let told = rows.iter().any(|row| row.setting == setting);
            assert!(told || others.contains(&setting.as_str()), "{setting} is not in docs/limits.md");
        }
    }
}

#[test]
fn every_metric_is_told_by_a_running_keyward() {
    let keyward = keyward().upstream("echo").start();
    // One decision, so that the family is there.
    assert_eq!(keyward.get("/", "an-opaque-secret-that-nobody-has").status, 401);
    keyward.logged("/", 1);
    let metrics = keyward.metrics();
    for Row { metric, .. } in rows() {
        if metric.starts_with("keyward_auth_decisions_total{") {
            // Only what happened is written; what can is known beforehand.
            let reason = metric.split("reason=\"").nth(1).unwrap().trim_end_matches("\"}");
            assert!(::keyward::gateway::REASONS.contains(&reason), "{metric}");
            assert!(metrics.contains("keyward_auth_decisions_total{"), "{metrics}");
        } else {
            assert!(
                metrics.lines().any(|line| line.starts_with(&format!("{metric} "))),
                "{metric} is not in\n{metrics}"
            );
        }
    }
}

#[test]
fn every_test_exists() {
    for Row { test, .. } in rows() {
        assert_is_a_test(&test);
    }
}
