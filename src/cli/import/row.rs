//! One row of a table of keys, whatever it was written in: values under the names of columns, and the key they ask for.
//!
//! Whatever `keyward export` writes may stand in a row, so that an export with a column of secrets or digests added is an import.
//! What a key gets anew (its id, its history) is left aside; what would come to life again (a key that is not active) is refused.

use std::fmt;
use std::str::FromStr;

use ipnet::IpNet;

use super::entry::imprint;
use crate::cli::key::new_id;
use crate::key::{Imprint, KeyState, Kind, Permission, Permissions};
use crate::keyring::command::NewKey;
use crate::secret::Secret;

/// The values of a row, each under its column's number.
pub(super) struct Row<'a>(pub(super) [&'a [u8]; NAMES.len()]);

impl Row<'_> {
    /// The key it asks for, or every reason why not.
    pub(super) fn key(&self) -> anyhow::Result<Result<NewKey, Vec<String>>> {
        let mut bad = Vec::new();
        let known = self.known(&mut bad);
        let kind = if self.says("kind") { self.parse("kind", &mut bad) } else { Some(Kind::Service) };
        let account = self.parse("account", &mut bad);
        let user = self.parse("user", &mut bad);
        let not_before = self.parse("not_before", &mut bad);
        let expires_at = self.parse("expires_at", &mut bad);
        let permissions: Permissions = self.list::<Permission>("permissions", &mut bad).into();
        let allowed_ips: Vec<IpNet> = self.list("allowed_ips", &mut bad);
        let licence = self.parse("licence", &mut bad);
        let name = self.text("name", &mut bad).unwrap_or_default();
        if name.chars().any(char::is_control) {
            bad.push("name is more than one line of text".to_owned());
        }
        if self.says("state") && self.parse("state", &mut bad).is_some_and(|state: KeyState| state != KeyState::Active)
        {
            bad.push("state is not active: as an adopted key it would be accepted again".to_owned());
        }
        self.check_owner(kind, &mut bad);
        let (Some(secret), Some(kind), true) = (known, kind, bad.is_empty()) else { return Ok(Err(bad)) };
        let bare = NewKey::bare(new_id()?, secret, kind);
        let name = name.to_owned();
        Ok(Ok(NewKey { account, user, name, permissions, allowed_ips, not_before, expires_at, licence, ..bare }))
    }

    /// What is known of the secret: all, from its plain text, or its digest and what the row adds to it.
    fn known(&self, bad: &mut Vec<String>) -> Option<Imprint> {
        match (self.says("secret"), self.says("sha256")) {
            (true, true) => bad.push("secret and sha256 are both given".to_owned()),
            (false, false) => bad.push("secret is empty".to_owned()),
            (true, false) => match imprint(&Secret::new(self.value("secret"))) {
                Ok(imprint) => return Some(imprint),
                Err(why) => bad.push(format!("secret {why}")),
            },
            (false, true) => return self.digest(bad),
        }
        None
    }

    fn digest(&self, bad: &mut Vec<String>) -> Option<Imprint> {
        let sha256 = hexadecimal(self.value("sha256").trim_ascii());
        if sha256.is_none() {
            bad.push("sha256 is not 64 hexadecimal digits".to_owned());
        }
        let hint = self.text("hint", bad).unwrap_or_default();
        if hint.len() > HINT || !hint.bytes().all(|byte| byte.is_ascii_graphic()) {
            bad.push(format!("hint is more than the last {HINT} characters of a key"));
        }
        let prefix = self.parse("prefix", bad);
        // Whether the checksum is ours cannot be told from a digest; to look a secret up once too often is only slower.
        let foreign_checksum = prefix.is_some();
        Some(Imprint { sha256: sha256?, prefix, kid: None, hint: hint.to_owned(), foreign_checksum })
    }

    fn check_owner(&self, kind: Option<Kind>, bad: &mut Vec<String>) {
        let (has_account, has_user) = (self.says("account"), self.says("user"));
        bad.push(match kind {
            Some(Kind::Service) if has_user => {
                "user is given for a service key: say in column kind whether it is personal or user".to_owned()
            }
            Some(Kind::Service | Kind::Personal) if !has_account => "account is empty".to_owned(),
            Some(Kind::Personal | Kind::User) if !has_user => "user is empty".to_owned(),
            Some(Kind::Operator) => "kind is operator: such keys are minted, not adopted".to_owned(),
            // Whose key it is cannot be judged by a kind that was not understood.
            Some(Kind::Service | Kind::Personal | Kind::User) | None => return,
        });
    }

    fn value(&self, column: &'static str) -> &[u8] {
        number(column.as_bytes()).map_or(&[], |at| self.0[at])
    }

    fn says(&self, column: &'static str) -> bool {
        !self.value(column).trim_ascii().is_empty()
    }

    fn text(&self, column: &'static str, bad: &mut Vec<String>) -> Option<&str> {
        match std::str::from_utf8(self.value(column)) {
            Ok(text) => Some(text.trim()).filter(|text| !text.is_empty()),
            Err(_) => {
                bad.push(format!("{column} is not UTF-8"));
                None
            }
        }
    }

    /// The value of a column; none where it is empty, or bad, and then it was told.
    fn parse<T: FromStr<Err: fmt::Display>>(&self, column: &'static str, bad: &mut Vec<String>) -> Option<T> {
        read(column, self.text(column, bad)?, bad)
    }

    /// The values of a column, between commas.
    fn list<T: FromStr<Err: fmt::Display>>(&self, column: &'static str, bad: &mut Vec<String>) -> Vec<T> {
        let text = self.text(column, bad).unwrap_or_default();
        let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
        members.filter_map(|member| read(column, member, bad)).collect()
    }
}

fn read<T: FromStr<Err: fmt::Display>>(column: &'static str, text: &str, bad: &mut Vec<String>) -> Option<T> {
    text.parse().map_err(|error| bad.push(format!("{column} is wrong: {error}"))).ok()
}

/// The number of a column, by its name in any case.
pub(super) fn number(name: &[u8]) -> Option<usize> {
    NAMES.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(name.trim_ascii()))
}

fn hexadecimal(text: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// Every column there is. Those from `id` on stand in exports only, and are left aside.
pub(super) const NAMES: [&str; 23] = [
    "secret",
    "sha256",
    "account",
    "kind",
    "user",
    "name",
    "permissions",
    "allowed_ips",
    "not_before",
    "expires_at",
    "prefix",
    "hint",
    "licence",
    "state",
    "id",
    "serial",
    "kid",
    "created_at",
    "rotated_at",
    "last_used_at",
    "generation",
    "version",
    "rotation",
];
/// A hint is the last characters of a secret, and no more of it.
const HINT: usize = 4;
