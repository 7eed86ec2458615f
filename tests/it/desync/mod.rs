//! Requests and answers that two programs read in two ways, and what becomes of them.
//!
//! ```text
//!   case ---bytes---> suspect ----> recorder (an origin that keeps every byte, and lies where the case says so)
//!     |                  ^              |
//!     '-- verdict <--- judge <--tape----'    then innocent requests of another account, each of which must be answered
//!                                            as its own, and of which the tape must hold nothing else
//! ```
//!
//! A case is a line in one of the files of [`cases`]: what is sent, what is answered, what reaches the origin. What
//! holds for every request that reaches an origin is not said in any of them; [`strict`] sees to it. The same judge is
//! put in front of keyward and of a proxy that is deliberately [`naive`], which has to fail many of them.

mod case;
mod cases;
mod client;
mod frames;
mod hearing;
mod judge;
mod naive;
mod recorder;
mod strict;
mod suspects;

use std::collections::HashSet;

use case::Case;
use cases::THEMES;
use judge::Wrong;

/// Runs a theme's cases and panics with all that went wrong.
fn keyward_withstands(theme: &str) {
    let (_keyward, suspect) = suspects::the_gateway();
    let (_, cases) = THEMES.iter().find(|(name, _)| *name == theme).unwrap();
    let wrong: Vec<_> =
        cases.iter().filter_map(|case| suspect.judge(case).err()).map(|wrong| wrong.to_string()).collect();
    assert!(wrong.is_empty(), "{} of {} cases of {theme}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

macro_rules! themes {
    ($($test:ident: $theme:literal,)*) => {
        $(#[test]
        fn $test() {
            keyward_withstands($theme);
        })*

        #[test]
        fn every_theme_has_its_test() {
            let tested = [$($theme),*];
            assert!(THEMES.iter().all(|(theme, _)| tested.contains(theme)));
        }
    };
}

themes! {
    a_message_has_one_length: "framing",
    a_chunked_body_has_one_end: "chunks",
    a_head_has_one_reading: "lines",
    a_request_has_one_host: "hosts",
    what_is_the_connections_ends_with_it: "hops",
    what_follows_a_request_is_another: "pipeline",
    a_path_has_one_spelling: "paths",
    a_key_rides_in_one_place: "credentials",
    only_the_gateway_says_who_asks: "identity",
    a_lying_origin_harms_nobody_else: "lies",
    another_protocol_begins_only_where_all_agree: "upgrades",
    fields_of_http2_break_out_of_no_line: "fields",
    frames_are_no_way_around: "frames",
}

fn every_case() -> impl Iterator<Item = &'static Case> {
    THEMES.iter().flat_map(|(_, cases)| cases.iter())
}

#[test]
fn there_are_300_cases_and_no_two_are_one() {
    let names: HashSet<_> = every_case().map(|case| case.name).collect();
    let inputs: HashSet<_> = every_case().map(|case| (case.sent, case.lie)).collect();
    let all = every_case().count();
    for (theme, cases) in THEMES {
        println!("{:>4}  {theme}", cases.len());
    }
    println!("{all:>4}  in all");
    assert_eq!((names.len(), inputs.len()), (all, all), "two cases have one name, or one input");
    assert!(all >= 300, "{all}");
}

#[test]
fn a_naive_proxy_does_harm_in_a_quarter_of_them() {
    let all = every_case().count();
    // It answers many of them with silence; so each theme has one of its own to wait for.
    let fails = |cases: &[Case]| {
        let suspect = suspects::the_naive();
        cases.iter().filter_map(|case| suspect.judge(case).err()).collect::<Vec<_>>()
    };
    let wrong: Vec<Wrong> = std::thread::scope(|scope| {
        let themes: Vec<_> = THEMES.iter().map(|(_, cases)| scope.spawn(|| fails(cases))).collect();
        themes.into_iter().flat_map(|theme| theme.join().unwrap()).collect()
    });
    let harm: Vec<_> = wrong.iter().filter(|wrong| matches!(wrong, Wrong::Harm(_))).map(ToString::to_string).collect();
    println!("of {all} cases the naive proxy fails {}, with harm in {}", wrong.len(), harm.len());
    assert!(harm.len() * 4 >= all, "{} of {all}:\n{}", harm.len(), harm.join("\n"));
}
