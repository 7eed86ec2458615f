//! The rows of both table forms: what they give, and that no mistake shows a value.

use super::entry::{Entry, all_or_none, refuse_repeats};
use super::format::Format;
use crate::key::{Imprint, Kind};
use crate::keyring::command::NewKey;
use crate::secret::Secret;

const SECRET: &str = "s3cr3t-of-sixteen";
/// Of "abc": FIPS 180-2, appendix B.1.
const SHA256: &str = "BA7816BF8F01CFEA414140DE5DAE2223b00361a396177a9cb410ff61f20015ad";

fn csv(text: &str) -> Vec<Entry> {
    let mut entries = super::csv::entries(text.as_bytes()).unwrap();
    refuse_repeats(&mut entries);
    entries
}

fn jsonl(text: &str) -> Vec<Entry> {
    let mut entries = super::jsonl::entries(text.as_bytes()).unwrap();
    refuse_repeats(&mut entries);
    entries
}

fn keys(entries: Vec<Entry>) -> Vec<NewKey> {
    all_or_none(entries).unwrap().1
}

fn mistakes(entries: Vec<Entry>) -> String {
    let told = all_or_none(entries).err().unwrap().to_string();
    assert!(!told.contains("s3cr3t"), "{told}");
    told
}

#[test]
fn columns_come_in_any_order_and_an_empty_kind_is_service() {
    let keys = keys(csv(&format!(
        "\u{feff}account, Secret,kind,user,name,expires_at,permissions,allowed_ips\n\
         101,{SECRET}-1,,,\"ci, nightly\",2030-01-01T00:00:00Z,\"jobs:run,jobs:read\",10.0.0.0/8\n\
         101,{SECRET}-2,personal,paul,,,,\n\
         ,{SECRET}-3,user,paul,,,,\n"
    )));
    let kinds: Vec<_> = keys.iter().map(|key| key.kind).collect();
    assert_eq!(kinds, [Kind::Service, Kind::Personal, Kind::User]);
    assert_eq!(keys[0].name, "ci, nightly");
    assert_eq!(keys[0].expires_at, Some("2030-01-01T00:00:00Z".parse().unwrap()));
    assert_eq!((keys[0].permissions.to_string().as_str(), keys[0].allowed_ips.len()), ("jobs:read,jobs:run", 1));
    assert_eq!(keys[0].secret, Imprint::of(&Secret::new(format!("{SECRET}-1").as_bytes())));
    assert_eq!(keys[2].account, None);
}

#[test]
fn a_digest_stands_in_for_a_secret() {
    let plain = Imprint::of(&Secret::new(b"abc"));
    let bare = keys(csv(&format!("sha256,account,prefix,hint\n{SHA256},101,,\n")));
    assert_eq!(bare[0].secret, Imprint { hint: String::new(), ..plain.clone() });

    let keys = keys(jsonl(&format!(
        "{{\"sha256\":\"{SHA256}\",\"account\":\"101\",\"prefix\":\"dbtu\",\"hint\":\"wxyz\"}}\n"
    )));
    let known = &keys[0].secret;
    assert_eq!((known.sha256, known.hint.as_str(), known.kid.as_deref()), (plain.sha256, "wxyz", None));
    assert!(known.prefix.as_ref().is_some_and(|prefix| prefix.as_str() == "dbtu") && known.foreign_checksum);
}

#[test]
fn a_digest_that_is_none_is_refused() {
    let short = &SHA256[..62];
    let told = mistakes(csv(&format!(
        "secret,sha256,account,prefix,hint\n\
         ,{short},101,,\n\
         ,{short}xy,101,,\n\
         {SECRET},{SHA256},101,,\n\
         ,,101,,\n\
         ,{SHA256},101,DBTU,s3cr3t\n"
    )));
    for expected in [
        "line 2: sha256 is not 64 hexadecimal digits",
        "line 3: sha256 is not",
        "line 4: secret and sha256 are both given",
        "line 5: secret is empty",
        "line 6: hint is more than the last 4",
        "line 6: prefix is wrong: a prefix is lower-case",
    ] {
        assert!(told.contains(expected), "{expected:?} in {told}");
    }
}

#[test]
fn every_bad_row_is_told_by_line_and_column_and_no_secret_is_shown() {
    let told = mistakes(csv(&format!(
        "secret,account,kind,user,expires_at,state\n\
         s3cr3t,101,,,,\n\
         {SECRET} x,101,,,,\n\
         {SECRET},{SECRET}/,,,,\n\
         {SECRET}-a,101,{SECRET},paul,,\n\
         {SECRET}-b,,,,,\n\
         {SECRET}-c,101,personal,,,\n\
         {SECRET}-d,101,operator,,,\n\
         {SECRET}-e,101,,,{SECRET},\n\
         {SECRET}-f,101\n\
         {SECRET}-g,101,,paul,,\n\
         {SECRET}-h,101,,,,active\n\
         {SECRET}-h,102,,,,\n\
         {SECRET}-i,102,,,,revoked\n"
    )));
    for expected in [
        "12 mistakes",
        "line 2: secret is not 16 to 512 visible",
        "line 3: secret is not",
        "line 4: account is wrong: ids",
        "line 5: kind is wrong: not a kind of key: give one of user",
        "line 6: account is empty",
        "line 7: user is empty",
        "line 8: kind is operator",
        "line 9: expires_at is wrong: not a moment",
        "line 10: has 2 fields where the header has 6",
        "line 11: user is given for a service key",
        "line 13: secret is the same as in line 12",
        "line 14: state is not active",
    ] {
        assert!(told.contains(expected), "{expected:?} in {told}");
    }
}

#[test]
fn a_file_without_its_header_is_not_read_as_one() {
    assert!(mistakes(csv(&format!("{SECRET},101\n"))).contains("line 1: is no header"));
    assert!(mistakes(csv("")).contains("line 1: is no header"));
    assert!(mistakes(csv("secret,account,secret\n")).contains("line 1: secret is named twice"));
}

#[test]
fn a_json_line_says_what_a_row_says() {
    let line = format!(
        "{{\"secret\":\"{SECRET}-1\",\"account\":101,\"name\":\"ci\",\"permissions\":[\"jobs:run\",\"jobs:read\"],\
         \"allowed_ips\":[],\"not_before\":null,\"state\":\"active\",\"serial\":7,\"kid\":null}}\n\n"
    );
    let read = keys(jsonl(&line));
    let row = keys(csv(&format!("secret,account,name,permissions\n{SECRET}-1,101,ci,\"jobs:run,jobs:read\"\n")));
    let [read, row] = [&read[0], &row[0]].map(|key| NewKey { id: "key_1".parse().unwrap(), ..key.clone() });
    assert_eq!(format!("{read:?}"), format!("{row:?}"));
    assert_eq!(read.permissions.iter().count(), 2);
}

#[test]
fn a_bad_json_line_is_told_by_line_and_nothing_of_it_shown() {
    let told = mistakes(jsonl(&format!(
        "{{\"secret\":\"{SECRET}\",\"account\":\"101\",\"s3cr3t\":1}}\n\
         {SECRET}\n\
         {{\"secret\":{{\"s3cr3t\":1}},\"account\":\"101\"}}\n\
         {{\"secret\":\"{SECRET}\",\"secret\":\"{SECRET}\",\"account\":\"101\"}}\n\
         [\"{SECRET}\"]\n"
    )));
    for expected in [
        "line 1: has an unknown member; known are secret, sha256",
        "line 2: is no JSON object",
        "line 3: is no JSON object",
        "line 4: secret is named twice",
        "line 5: is no JSON object",
    ] {
        assert!(told.contains(expected), "{expected:?} in {told}");
    }
}

#[test]
fn a_format_is_known_by_the_name_where_that_is_clear() {
    for (name, format) in [
        ("keys.csv", Some(Format::Csv)),
        ("a/KEYS.CSV", Some(Format::Csv)),
        ("keys.jsonl", Some(Format::Jsonl)),
        ("keys.ndjson", Some(Format::Jsonl)),
        ("kong.yml", Some(Format::Kong)),
        ("apisix.yaml", Some(Format::Apisix)),
        ("keys.json", None),
        ("export.yaml", None),
        ("-", None),
    ] {
        assert_eq!(Format::of(name.as_ref()), format, "{name}");
    }
}
