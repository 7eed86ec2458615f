//! Keys as a table with a header: CSV.

use super::entry::Entry;
use super::row::{NAMES, Row, number};

/// The entries of a CSV text.
pub(super) fn entries(text: &[u8]) -> anyhow::Result<Vec<Entry>> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).has_headers(false).from_reader(text);
    let mut record = csv::ByteRecord::new();
    reader.read_byte_record(&mut record)?;
    let columns = match Columns::read(&record) {
        Ok(columns) => columns,
        Err(why) => return Ok(vec![Entry { at: "line 1".to_owned(), key: Err(why) }]),
    };
    let mut entries = Vec::new();
    while reader.read_byte_record(&mut record)? {
        let at = format!("line {}", record.position().map_or(0, csv::Position::line));
        if record.len() != columns.count {
            let why = format!("has {} fields where the header has {}", record.len(), columns.count);
            entries.push(Entry::refused(at, why));
            continue;
        }
        let row = Row(columns.places.map(|place| place.and_then(|at| record.get(at)).unwrap_or_default()));
        entries.push(Entry { at, key: row.key()? });
    }
    Ok(entries)
}

/// Where each column stands.
struct Columns {
    count: usize,
    places: [Option<usize>; NAMES.len()],
}

impl Columns {
    fn read(header: &csv::ByteRecord) -> Result<Self, Vec<String>> {
        let mut columns = Self { count: header.len(), places: [None; NAMES.len()] };
        let mut bad = Vec::new();
        for (at, name) in header.iter().enumerate() {
            // Spreadsheets begin a file with a byte order mark.
            match number(name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name)) {
                Some(known) if columns.places[known].is_none() => columns.places[known] = Some(at),
                Some(known) => bad.push(format!("{} is named twice", NAMES[known])),
                None => bad.push(format!("names an unknown column, number {}; known are {}", at + 1, NAMES.join(", "))),
            }
        }
        let named = |name: &str| number(name.as_bytes()).is_some_and(|at| columns.places[at].is_some());
        if !(named("secret") || named("sha256")) || !named("account") {
            bad.push("is no header: it has to name the columns account, and secret or sha256".to_owned());
        }
        if bad.is_empty() { Ok(columns) } else { Err(bad) }
    }
}
