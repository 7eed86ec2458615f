//! Where a key stands in the text of a settings file.

use toml_edit::ImDocument;

/// The byte where `key` begins, or where the nearest table around it does.
pub(super) fn offset(document: &ImDocument<String>, key: &[String]) -> usize {
    let (mut node, mut offset) = (Node::Table(document.as_table()), 0);
    for part in key {
        let number = part.parse::<usize>();
        let (next, span) = match (node, number) {
            (Node::Table(table), _) => match table.get_key_value(part) {
                Some((key, item)) => (Node::of_item(item), key.span().or_else(|| item.span())),
                None => break,
            },
            (Node::Tables(tables), Ok(at)) => match tables.get(at) {
                Some(table) => (Node::Table(table as &dyn toml_edit::TableLike), table.span()),
                None => break,
            },
            (Node::List(list), Ok(at)) => match list.get(at) {
                Some(value) => (Node::of_value(value), value.span()),
                None => break,
            },
            _ => break,
        };
        node = next;
        offset = span.map_or(offset, |span| span.start);
    }
    offset
}

/// Line and column of a byte, from 1.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// A node of a TOML document; toml_edit has no type of its own for it.
enum Node<'a> {
    Table(&'a dyn toml_edit::TableLike),
    Tables(&'a toml_edit::ArrayOfTables),
    List(&'a toml_edit::Array),
    Leaf,
}

impl<'a> Node<'a> {
    fn of_item(item: &'a toml_edit::Item) -> Self {
        match item {
            toml_edit::Item::Table(table) => Self::Table(table),
            toml_edit::Item::ArrayOfTables(tables) => Self::Tables(tables),
            toml_edit::Item::Value(value) => Self::of_value(value),
            toml_edit::Item::None => Self::Leaf,
        }
    }

    fn of_value(value: &'a toml_edit::Value) -> Self {
        match value {
            toml_edit::Value::Array(list) => Self::List(list),
            toml_edit::Value::InlineTable(table) => Self::Table(table),
            _ => Self::Leaf,
        }
    }
}
