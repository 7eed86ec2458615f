//! The rows of an import as keys to be made. Every bad row is told by line and column, and no value is ever shown: a secret
//! may stand in any column of a file that is wrong.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::str::FromStr;

use crate::cli::key::new_id;
use crate::key::{Imprint, Kind};
use crate::keyring::command::NewKey;
use crate::secret::Secret;

/// The keys of a CSV text.
pub(super) fn keys(text: &[u8]) -> anyhow::Result<Vec<NewKey>> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).has_headers(false).from_reader(text);
    let mut record = csv::ByteRecord::new();
    let mut bad = BadRows::default();

    let columns = if reader.read_byte_record(&mut record)? { Columns::read(&record, &mut bad) } else { None };
    let Some(columns) = columns else {
        bad.add(1, None, "is no header: it has to name the columns secret and account");
        return Err(bad.into());
    };
    let (mut keys, mut lines) = (Vec::new(), HashMap::new());
    while reader.read_byte_record(&mut record)? {
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() != columns.count {
            bad.add(line, None, format!("has {} fields where the header has {}", record.len(), columns.count));
            continue;
        }
        let Some(key) = columns.key(&record, line, &mut bad)? else { continue };
        match lines.entry(key.secret.sha256) {
            Entry::Vacant(place) => drop(place.insert(line)),
            Entry::Occupied(first) => {
                bad.add(line, Some("secret"), format!("is the same as in line {}", first.get()));
                continue;
            }
        }
        keys.push(key);
    }
    if bad.rows.is_empty() { Ok(keys) } else { Err(bad.into()) }
}

/// Where each column stands.
struct Columns {
    count: usize,
    places: [Option<usize>; NAMES.len()],
}

impl Columns {
    fn read(header: &csv::ByteRecord, bad: &mut BadRows) -> Option<Self> {
        let mut columns = Self { count: header.len(), places: [None; NAMES.len()] };
        for (at, name) in header.iter().enumerate() {
            // Spreadsheets begin a file with a byte order mark.
            let name = name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name).trim_ascii();
            match NAMES.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(name)) {
                Some(known) if columns.places[known].is_none() => columns.places[known] = Some(at),
                Some(known) => bad.add(1, Some(NAMES[known]), "is named twice"),
                None => bad.add(
                    1,
                    None,
                    format!("names an unknown column, number {}; known are {}", at + 1, NAMES.join(", ")),
                ),
            }
        }
        (columns.places[0].is_some() && columns.places[1].is_some()).then_some(columns)
    }

    /// The key of one row; none where the row is bad, and then it was told.
    fn key(&self, record: &csv::ByteRecord, line: u64, bad: &mut BadRows) -> anyhow::Result<Option<NewKey>> {
        let before = bad.rows.len();
        let secret = Secret::new(self.bytes(record, "secret"));
        let visible = secret.expose().iter().all(u8::is_ascii_graphic);
        if !visible || !(SHORTEST..=LONGEST).contains(&secret.expose().len()) {
            bad.add(line, Some("secret"), format!("is not {SHORTEST} to {LONGEST} visible ASCII characters"));
        }
        let kind = if self.says(record, "kind") { self.parse(record, line, "kind", bad) } else { Some(Kind::Service) };
        let account = self.parse(record, line, "account", bad);
        let user = self.parse(record, line, "user", bad);
        let expires_at = self.parse(record, line, "expires_at", bad);
        let name = self.text(record, line, "name", bad).unwrap_or_default();
        if name.chars().any(char::is_control) {
            bad.add(line, Some("name"), "is more than one line of text");
        }
        let (has_account, has_user) = (self.says(record, "account"), self.says(record, "user"));
        match kind {
            // Whose key it is cannot be judged by a kind that was not understood.
            None => {}
            Some(Kind::Service) if has_user => {
                bad.add(
                    line,
                    Some("user"),
                    "is given for a service key: say in column kind whether it is personal or user",
                );
            }
            Some(Kind::Service | Kind::Personal) if !has_account => bad.add(line, Some("account"), "is empty"),
            Some(Kind::Personal | Kind::User) if !has_user => bad.add(line, Some("user"), "is empty"),
            Some(Kind::Operator) => bad.add(line, Some("kind"), "is operator: such keys are minted, not adopted"),
            Some(Kind::Service | Kind::Personal | Kind::User) => {}
        }
        let Some(kind) = kind.filter(|_| bad.rows.len() == before) else { return Ok(None) };
        let bare = NewKey::bare(new_id()?, Imprint::of(&secret), kind);
        Ok(Some(NewKey { account, user, name: name.to_owned(), expires_at, ..bare }))
    }

    fn bytes<'a>(&self, record: &'a csv::ByteRecord, column: &'static str) -> &'a [u8] {
        let place = NAMES.iter().position(|name| *name == column).and_then(|at| self.places[at]);
        place.and_then(|at| record.get(at)).unwrap_or_default()
    }

    fn says(&self, record: &csv::ByteRecord, column: &'static str) -> bool {
        !self.bytes(record, column).trim_ascii().is_empty()
    }

    fn text<'a>(
        &self,
        record: &'a csv::ByteRecord,
        line: u64,
        column: &'static str,
        bad: &mut BadRows,
    ) -> Option<&'a str> {
        match std::str::from_utf8(self.bytes(record, column)) {
            Ok(text) => Some(text.trim()).filter(|text| !text.is_empty()),
            Err(_) => {
                bad.add(line, Some(column), "is not UTF-8");
                None
            }
        }
    }

    /// The value of a column; none where it is empty, or bad, and then it was told.
    fn parse<T: FromStr<Err: fmt::Display>>(
        &self,
        record: &csv::ByteRecord,
        line: u64,
        column: &'static str,
        bad: &mut BadRows,
    ) -> Option<T> {
        match self.text(record, line, column, bad)?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                bad.add(line, Some(column), format!("is wrong: {error}"));
                None
            }
        }
    }
}

/// Every bad row of a file, as one error.
#[derive(Debug, Default, thiserror::Error)]
struct BadRows {
    rows: Vec<String>,
}

impl BadRows {
    fn add(&mut self, line: u64, column: Option<&str>, what: impl fmt::Display) {
        self.rows.push(match column {
            Some(column) => format!("line {line}: {column} {what}"),
            None => format!("line {line} {what}"),
        });
    }
}

impl fmt::Display for BadRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.rows.len(), if self.rows.len() == 1 { "mistake" } else { "mistakes" })?;
        for row in self.rows.iter().take(SHOWN) {
            write!(f, "\n  {row}")?;
        }
        match self.rows.len().checked_sub(SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, "\n  and {more} more"),
        }
    }
}

const NAMES: [&str; 6] = ["secret", "account", "kind", "user", "name", "expires_at"];
const SHORTEST: usize = 16;
const LONGEST: usize = 512;
/// Mistakes shown; a file of the wrong format has as many as lines.
const SHOWN: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "s3cr3t-of-sixteen";

    fn mistakes(text: &str) -> String {
        let told = keys(text.as_bytes()).unwrap_err().to_string();
        assert!(!told.contains("s3cr3t"), "{told}");
        told
    }

    #[test]
    fn columns_come_in_any_order_and_an_empty_kind_is_service() {
        let text = format!(
            "\u{feff}account, Secret,kind,user,name,expires_at\n\
             101,{SECRET}-1,,,\"ci, nightly\",2030-01-01T00:00:00Z\n\
             101,{SECRET}-2,personal,paul,,\n\
             ,{SECRET}-3,user,paul,,\n"
        );
        let keys = keys(text.as_bytes()).unwrap();
        let kinds: Vec<_> = keys.iter().map(|key| key.kind).collect();
        assert_eq!(kinds, [Kind::Service, Kind::Personal, Kind::User]);
        assert_eq!(keys[0].name, "ci, nightly");
        assert_eq!(keys[0].expires_at, Some("2030-01-01T00:00:00Z".parse().unwrap()));
        assert_eq!(keys[0].secret, Imprint::of(&Secret::new(format!("{SECRET}-1").as_bytes())));
        assert_eq!(keys[2].account, None);
    }

    #[test]
    fn every_bad_row_is_told_by_line_and_column_and_no_secret_is_shown() {
        let text = format!(
            "secret,account,kind,user,expires_at\n\
             s3cr3t,101,,,\n\
             {SECRET} x,101,,,\n\
             {SECRET},{SECRET}/,,,\n\
             {SECRET}-a,101,{SECRET},paul,\n\
             {SECRET}-b,,,,\n\
             {SECRET}-c,101,personal,,\n\
             {SECRET}-d,101,operator,,\n\
             {SECRET}-e,101,,,{SECRET}\n\
             {SECRET}-f,101\n\
             {SECRET}-g,101,,paul,\n\
             {SECRET}-h,101,,,\n\
             {SECRET}-h,102,,,\n"
        );
        let told = mistakes(&text);
        for expected in [
            "11 mistakes",
            "line 2: secret is not 16 to 512 visible",
            "line 3: secret is not",
            "line 4: account is wrong: ids",
            "line 5: kind is wrong: not a kind of key: give one of user",
            "line 6: account is empty",
            "line 7: user is empty",
            "line 8: kind is operator",
            "line 9: expires_at is wrong: not a moment",
            "line 10 has 2 fields where the header has 5",
            "line 11: user is given for a service key",
            "line 13: secret is the same as in line 12",
        ] {
            assert!(told.contains(expected), "{expected:?} in {told}");
        }
    }

    #[test]
    fn a_file_without_its_header_is_not_read_as_one() {
        assert!(mistakes(&format!("{SECRET},101\n")).contains("line 1 is no header"));
        assert!(mistakes("").contains("line 1 is no header"));
        assert!(mistakes("secret,account,secret\n").contains("line 1: secret is named twice"));
    }
}
