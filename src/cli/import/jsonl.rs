//! Keys as one JSON object a line. The members are the columns of the CSV form; a list may be an array.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use super::entry::Entry;
use super::row::{NAMES, Row, number};

/// The entries of a text of JSON lines.
pub(super) fn entries(text: &[u8]) -> anyhow::Result<Vec<Entry>> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let lines = (1..).zip(text.split(|byte| *byte == b'\n')).filter(|(_, line)| !line.trim_ascii().is_empty());
    lines
        .map(|(number, line): (u64, _)| {
            let at = format!("line {number}");
            let cells: Cells = match serde_json::from_slice(line) {
                Ok(cells) => cells,
                // The parser's own words may quote what it met.
                Err(error) => {
                    let why = format!("is no JSON object of texts and lists, from column {}", error.column());
                    return Ok(Entry::refused(at, why));
                }
            };
            if !cells.mistakes.is_empty() {
                return Ok(Entry { at, key: Err(cells.mistakes) });
            }
            let row = Row(cells.values.each_ref().map(|value| value.as_ref().map_or(&[][..], |cell| &cell.0)));
            Ok(Entry { at, key: row.key()? })
        })
        .collect()
}

/// A line's values under their columns' numbers.
struct Cells {
    values: [Option<Cell>; NAMES.len()],
    mistakes: Vec<String>,
}

impl<'de> Deserialize<'de> for Cells {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Line;

        impl<'de> Visitor<'de> for Line {
            type Value = Cells;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Cells, A::Error> {
                let mut cells = Cells { values: [const { None }; NAMES.len()], mistakes: Vec::new() };
                while let Some(Cell(name)) = map.next_key()? {
                    let Some(at) = number(&name) else {
                        map.next_value::<IgnoredAny>()?;
                        cells.mistakes.push(format!("has an unknown member; known are {}", NAMES.join(", ")));
                        continue;
                    };
                    if cells.values[at].replace(map.next_value()?).is_some() {
                        cells.mistakes.push(format!("{} is named twice", NAMES[at]));
                    }
                }
                Ok(cells)
            }
        }

        deserializer.deserialize_map(Line)
    }
}

/// A value as the text that a column would hold.
#[derive(Default)]
struct Cell(Zeroizing<Vec<u8>>);

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Value;

        impl<'de> Visitor<'de> for Value {
            type Value = Cell;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number, a list of texts or null")
            }

            fn visit_str<E>(self, text: &str) -> Result<Cell, E> {
                Ok(Cell(Zeroizing::new(text.as_bytes().to_vec())))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Cell, E> {
                Ok(Cell(Zeroizing::new(number.to_string().into_bytes())))
            }

            fn visit_unit<E>(self) -> Result<Cell, E> {
                Ok(Cell::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Cell, A::Error> {
                let mut all = Cell::default();
                while let Some(Cell(member)) = list.next_element()? {
                    if !all.0.is_empty() {
                        all.0.push(b',');
                    }
                    all.0.extend_from_slice(&member);
                }
                Ok(all)
            }
        }

        deserializer.deserialize_any(Value)
    }
}
