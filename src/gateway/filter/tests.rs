//! What is left of answers in the manner of dbt, and that nothing of another account ever is.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn items(items: &str, account: &str, counts: &[&str]) -> FilterConfig {
    FilterConfig {
        items: Some(items.into()),
        account: Some(account.into()),
        counts: (!counts.is_empty()).then(|| counts.iter().map(|count| (*count).to_owned()).collect()),
        ..FilterConfig::default()
    }
}

fn members(members: &str) -> FilterConfig {
    FilterConfig { members: Some(members.into()), ..FilterConfig::default() }
}

fn own(own: &str) -> FilterConfig {
    FilterConfig { own: Some(own.into()), ..FilterConfig::default() }
}

fn optional(rule: FilterConfig) -> FilterConfig {
    FilterConfig { optional: Some(true), ..rule }
}

fn filter(rules: Vec<FilterConfig>) -> Result<Filter, Vec<String>> {
    let said = RouteConfig { filter: Some(rules), ..RouteConfig::default() };
    let mut flaws = Vec::new();
    let config = crate::gateway::test_config();
    let filter = Filter::new(&said, &config, &mut |field: &str, _| flaws.push(field.to_owned()));
    filter.filter(|_| flaws.is_empty()).ok_or(flaws)
}

/// What is left for a key of these accounts; a word where nothing is shown.
fn left(rules: &[FilterConfig], accounts: &[&str], answer: &Value) -> Result<Value, String> {
    let filter = filter(rules.to_vec()).unwrap();
    match filter.apply(answer.to_string().as_bytes(), accounts, false) {
        Ok(text) => Ok(serde_json::from_str(&text).unwrap()),
        Err(Hidden::Foreign) => Err("foreign".into()),
        Err(Hidden::Unfilterable(why)) => Err(why.to_string()),
    }
}

/// The rules of docs/scoping.md for `/api/v2/accounts/`.
fn accounts_rules() -> Vec<FilterConfig> {
    vec![
        items("/data", "/id", &["/extra/pagination/count", "/extra/pagination/total_count"]),
        optional(items("/extra/filters/pk__in", "", &[])),
    ]
}

fn accounts_answer() -> Value {
    json!({
        "status": {"code": 200, "is_success": true, "user_message": "Success!", "developer_message": ""},
        "data": [{"id": 102, "name": "Other"}, {"id": 101, "name": "Own"}, {"id": 103, "name": "Third"}],
        "extra": {
            "filters": {"pk__in": [101, 102, 103]},
            "order_by": null,
            "pagination": {"count": 3, "total_count": 250},
        },
    })
}

#[test]
fn of_all_accounts_the_keys_own_is_left_and_counted() {
    let seen = left(&accounts_rules(), &["101"], &accounts_answer()).unwrap();
    assert_eq!(seen["data"], json!([{"id": 101, "name": "Own"}]));
    assert_eq!(
        seen["extra"],
        json!({"filters": {"pk__in": [101]}, "order_by": null, "pagination": {"count": 1, "total_count": 1}})
    );
    assert_eq!(seen["status"], accounts_answer()["status"]);
    let two = left(&accounts_rules(), &["101", "103", "999"], &accounts_answer()).unwrap();
    assert_eq!(two["data"].as_array().unwrap().len(), 2);
    assert_eq!(two["extra"]["pagination"], json!({"count": 2, "total_count": 2}));
    let none = left(&accounts_rules(), &[], &accounts_answer()).unwrap();
    assert_eq!((&none["data"], &none["extra"]["filters"]["pk__in"]), (&json!([]), &json!([])));
}

/// The rules of docs/scoping.md for `/api/v2/users/{id}/` and `/api/v2/whoami/`.
fn user_rules(at: &str) -> Vec<FilterConfig> {
    vec![
        items(&format!("{at}/permissions"), "/account_id", &[]),
        items(&format!("{at}/permissions/*/groups"), "/account_id", &[]),
        members(&format!("{at}/licenses")),
    ]
}

fn user() -> Value {
    json!({
        "id": 7,
        "email": "paul@example.com",
        "licenses": {"101": {"license_type": "developer"}, "102": {"license_type": "read_only"}},
        "permissions": [
            {"account_id": 101, "groups": [{"id": 1, "account_id": 101}, {"id": 9, "account_id": 102}]},
            {"account_id": 102, "groups": []},
        ],
    })
}

#[test]
fn of_one_user_the_rows_of_the_keys_account_are_left() {
    let expected = json!({
        "id": 7,
        "email": "paul@example.com",
        "licenses": {"101": {"license_type": "developer"}},
        "permissions": [{"account_id": 101, "groups": [{"id": 1, "account_id": 101}]}],
    });
    let seen = left(&user_rules("/data"), &["101"], &json!({"data": user()})).unwrap();
    assert_eq!(seen["data"], expected);
    let who = left(&user_rules("/data/user"), &["101"], &json!({"data": {"user": user()}})).unwrap();
    assert_eq!(who["data"]["user"], expected);
}

#[test]
fn of_a_list_of_licences_those_who_have_one_in_the_keys_account_are_left() {
    let rules = [
        items("/data", "/permissions/*/account_id", &["/extra/pagination/count", "/extra/pagination/total_count"]),
        items("/data/*/permissions", "/account_id", &[]),
        members("/data/*/licenses"),
    ];
    let stranger = json!({"id": 8, "licenses": {"102": {}}, "permissions": [{"account_id": 102}]});
    let nobody = json!({"id": 9, "licenses": {}, "permissions": []});
    let answer = json!({"data": [stranger, user(), nobody], "extra": {"pagination": {"count": 3, "total_count": 3}}});
    let seen = left(&rules, &["101"], &answer).unwrap();
    assert_eq!(seen["extra"]["pagination"], json!({"count": 1, "total_count": 1}));
    assert_eq!(seen["data"].as_array().unwrap().len(), 1);
    assert_eq!(seen["data"][0]["licenses"], json!({"101": {"license_type": "developer"}}));
    assert_eq!(seen["data"][0]["permissions"].as_array().unwrap().len(), 1);
}

#[test]
fn an_object_of_another_account_is_not_shown_at_all() {
    let rules = [own("/data/account_id")];
    let of = |account: Value| left(&rules, &["101"], &json!({"data": {"account_id": account, "kind": "developer"}}));
    assert!(of(json!(101)).is_ok() && of(json!("101")).is_ok());
    assert_eq!(of(json!(102)), Err("foreign".into()));
    for silent in [json!(null), json!(101.0), json!([101]), json!({})] {
        assert_eq!(of(silent), Err("it does not tell the account at /data/account_id".into()));
    }
    assert!(left(&rules, &["101"], &json!({"data": {}})).is_err());
    assert!(left(&[optional(own("/data/account_id"))], &["101"], &json!({"data": {}})).is_ok());
}

#[test]
fn whatever_is_not_as_the_rules_say_is_not_shown() {
    let no_list = Err("it has nothing to filter at /data".to_owned());
    let no_account = Err("it does not tell the account at /data: /id".to_owned());
    let rules = &accounts_rules()[..1];
    for (answer, told) in [
        (json!({}), &no_list),
        (json!([]), &no_list),
        (json!({"data": null}), &no_list),
        (json!({"data": {"id": 101}}), &no_list),
        (json!({"data": "102"}), &no_list),
        (json!({"data": [{"id": 101}, {}]}), &no_account),
        (json!({"data": [{"id": 101}, {"id": null}]}), &no_account),
        (json!({"data": [{"id": 101.5}]}), &no_account),
        (json!({"data": [[]]}), &no_account),
        (json!({"data": [null]}), &no_account),
    ] {
        assert_eq!(left(rules, &["101"], &answer), *told, "{answer}");
    }
    let filter = filter(rules.to_vec()).unwrap();
    for text in ["", "[", "{\"data\":[],\"data\":[{\"id\":102}]}", "{\"data\":[]}{}", "<html>"] {
        let judged = filter.apply(text.as_bytes(), &["101"], false);
        assert!(matches!(judged, Err(Hidden::Unfilterable(Unfilterable::Unreadable))), "{text}");
    }
    let nested = [items("/data/*/rows", "/id", &[])];
    assert!(left(&nested, &["101"], &json!({"data": [{"rows": []}, {}]})).is_err());
    assert!(left(&nested, &["101"], &json!({"data": []})).is_ok());
}

#[test]
fn an_error_may_lack_what_the_rules_name_and_is_held_to_them_where_it_does_not() {
    let filter = filter(accounts_rules()).unwrap();
    let apply = |text: &str| filter.apply(text.as_bytes(), &["101"], true);
    let error = r#"{"status":{"code":404},"data":null}"#;
    assert_eq!(apply(error).unwrap(), error);
    assert_eq!(apply(r#"{"data":[{"id":102},{"id":101}]}"#).unwrap(), r#"{"data":[{"id":101}]}"#);
    assert!(apply(r#"{"data":{"id":102}}"#).is_err());
    assert!(apply(r#"{"extra":[{"filters":{"pk__in":[102]}}]}"#).is_err());
    assert!(apply("<html>").is_err());
}

#[test]
fn a_count_says_what_is_left_whatever_it_said_before() {
    let count = |before: Value| {
        let answer = json!({"data": [{"id": 101}, {"id": 102}], "extra": {"pagination": {"count": before}}});
        left(&accounts_rules()[..1], &["101"], &answer).unwrap()["extra"]["pagination"].clone()
    };
    assert_eq!(count(json!(2)), json!({"count": 1}));
    assert_eq!(count(json!("2")), json!({"count": 1}));
    assert_eq!(count(json!(null)), json!({"count": null}));
}

#[test]
fn what_cannot_be_a_rule_is_a_flaw_with_its_place() {
    for (rule, flaws) in [
        (FilterConfig::default(), vec!["filter.0"]),
        (FilterConfig { own: Some("/a".into()), ..members("/b") }, vec!["filter.0"]),
        (FilterConfig { account: None, ..items("/data", "", &[]) }, vec!["filter.0.account"]),
        (items("data", "id", &["count"]), vec!["filter.0.counts.0", "filter.0.items", "filter.0.account"]),
        (items("/data/*/rows", "/id", &["/count"]), vec!["filter.0.counts"]),
        (FilterConfig { account: Some("/id".into()), ..members("/b") }, vec!["filter.0.account"]),
    ] {
        let mut told = filter(vec![rule]).unwrap_err();
        let mut flaws: Vec<_> = flaws.into_iter().map(str::to_owned).collect();
        told.sort();
        flaws.sort();
        assert_eq!(told, flaws);
    }
    assert_eq!(filter(Vec::new()).unwrap_err(), ["filter"]);
}

/// Rows of some accounts, of which some do not tell theirs, each with rows of its own and members named by accounts.
fn rows() -> impl Strategy<Value = Value> {
    let account = prop_oneof![
        8 => (100..105_u32).prop_map(Value::from),
        8 => (100..105_u32).prop_map(|account| account.to_string().into()),
        1 => Just(Value::Null),
        1 => Just(json!(101.5)),
        1 => Just(json!({"id": 102})),
    ];
    let named = proptest::collection::hash_map("10[0-4]", any::<bool>(), 0..4);
    let inner = proptest::collection::vec(account.clone().prop_map(|account| json!({"account_id": account})), 0..3);
    let row = (account, inner, named).prop_map(|(account, inner, named)| {
        json!({"id": account, "permissions": inner, "licenses": named, "text": "102 \" ] } 103"})
    });
    (proptest::collection::vec(row, 0..6), any::<u32>(), any::<bool>()).prop_map(|(rows, count, listed)| {
        let rows = if listed || rows.is_empty() { Value::from(rows) } else { rows[0].clone() };
        json!({"data": rows, "count": count})
    })
}

fn is_own(value: &Value, accounts: &[String]) -> bool {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    (value.is_string() || value.is_u64()) && accounts.contains(&text)
}

proptest! {
    #[test]
    fn no_row_of_another_account_ever_passes_and_no_own_one_is_lost(
        answer in rows(),
        accounts in proptest::collection::vec("10[0-4]", 0..3),
        pretty: bool,
        failed: bool,
    ) {
        let rules = vec![
            items("/data", "/id", &["/count"]),
            items("/data/*/permissions", "/account_id", &[]),
            members("/data/*/licenses"),
        ];
        let text = if pretty { serde_json::to_string_pretty(&answer) } else { serde_json::to_string(&answer) }.unwrap();
        let names: Vec<&str> = accounts.iter().map(String::as_str).collect();
        let own_rows = |rows: &Value| rows.as_array().map(|rows| rows.iter().filter(|row| is_own(&row["id"], &accounts)).count());
        if let Ok(left) = filter(rules).unwrap().apply(text.as_bytes(), &names, failed) {
            let left: Value = serde_json::from_str(&left).unwrap();
            let rows = left["data"].as_array().unwrap();
            prop_assert_eq!(own_rows(&answer["data"]), Some(rows.len()));
            prop_assert_eq!(left["count"].as_u64(), Some(rows.len() as u64));
            for row in rows {
                prop_assert!(is_own(&row["id"], &accounts));
                prop_assert!(row["permissions"].as_array().unwrap().iter().all(|inner| is_own(&inner["account_id"], &accounts)));
                prop_assert!(row["licenses"].as_object().unwrap().keys().all(|name| accounts.contains(name)));
            }
        }
    }
}
