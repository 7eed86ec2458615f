//! The set by itself: what it holds, and when it is asked.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::store::log::Entry;

fn digest(number: u64) -> Digest {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    Digest::from_bytes(bytes)
}

fn made(numbers: impl IntoIterator<Item = u64>) -> News {
    let told = |number| {
        let subject = Subject::Secret(digest(number).as_bytes()[..16].try_into().unwrap());
        Entry { seq: 1, subject }
    };
    News::Entries(numbers.into_iter().map(told).collect())
}

/// A set of these.
fn whole(most: u64, numbers: std::ops::Range<u64>) -> Known {
    let known = Known::new(most);
    let round = known.begin(0).unwrap();
    let all: Vec<_> = numbers.map(digest).collect();
    assert!(known.fill(round, &all));
    assert!(known.finish(round));
    known
}

#[test]
fn nothing_is_lacking_before_the_set_is_whole() {
    let known = Known::new(10);
    assert!(!known.lacks(&digest(1)));
    let round = known.begin(0).unwrap();
    known.fill(round, &[digest(1)]);
    assert!(!known.lacks(&digest(2)));
    assert!(known.finish(round));
    assert!(known.lacks(&digest(2)) && !known.lacks(&digest(1)));
    assert_eq!(known.count(), (1, true));
}

#[test]
fn it_grows_and_forgets_nothing() {
    let known = whole(u64::MAX, 0..5000);
    known.hear(&made(5000..20_000));
    known.hear(&made(0..100));
    assert!((0..20_000).all(|number| !known.lacks(&digest(number))));
    assert!((20_000..40_000).all(|number| known.lacks(&digest(number))));
    assert_eq!(known.count(), (20_000, true));
}

#[test]
fn what_the_log_tells_while_it_is_filled_is_in_it() {
    let known = Known::new(10);
    known.hear(&made([7]));
    let round = known.begin(0).unwrap();
    known.hear(&made([8]));
    assert!(known.finish(round));
    assert!(known.lacks(&digest(7)), "told before: it stands in the snapshots, and this test read none");
    assert!(!known.lacks(&digest(8)));
}

#[test]
fn whatever_does_not_name_each_secret_voids_it_and_the_filling_too() {
    let everything = News::Entries(vec![Entry { seq: 1, subject: Subject::Everything }]);
    for news in [&everything, &News::Gone] {
        let known = whole(10, 0..3);
        known.hear(news);
        assert!(!known.lacks(&digest(9)) && *known.wanted.borrow());
        let early = known.begin(0).unwrap();
        assert!(!*known.wanted.borrow());
        known.hear(news);
        assert!(!known.fill(early, &[digest(1)]));
        assert!(!known.finish(early) && !known.lacks(&digest(9)));
        let again = known.begin(0).unwrap();
        assert!(!known.finish(early), "an earlier filling's end is not this one's");
        assert!(known.finish(again) && known.lacks(&digest(9)));
    }
}

#[test]
fn owners_and_prefixes_do_not_touch_it() {
    let known = whole(10, 0..3);
    let subjects = [Subject::Account("101".into()), Subject::User("paul".into()), Subject::Prefixes];
    known.hear(&News::Entries(subjects.map(|subject| Entry { seq: 1, subject }).into()));
    assert_eq!(known.count(), (3, true));
}

#[test]
fn too_many_switch_it_off_and_so_does_a_store_that_went_back() {
    let known = Known::new(3);
    let round = known.begin(0).unwrap();
    assert!(known.fill(round, &[0, 1, 2, 2, 1].map(digest)));
    assert!(!known.fill(round, &[digest(3)]));
    let grown = whole(3, 0..3);
    grown.hear(&made([3]));
    let back = whole(3, 0..3);
    back.hear(&News::WentBack);
    let expected = Known::new(3);
    assert!(expected.begin(4).is_none());
    for known in [known, grown, back, expected, Known::new(0)] {
        known.void();
        assert!(known.begin(0).is_none() && !*known.wanted.borrow());
        assert!(!known.lacks(&digest(9)));
        assert_eq!(known.count(), (0, false));
    }
}

#[test]
fn digests_that_begin_with_zeros_or_share_a_place_are_told_apart() {
    let known = whole(1000, 0..0);
    let zero = Digest::from_bytes([0; 32]);
    assert!(known.lacks(&zero));
    known.hear(&News::Entries(vec![Entry { seq: 1, subject: Subject::Secret([0; 16]) }]));
    assert!(!known.lacks(&zero));
    let crowded = |last: u8| {
        let mut bytes = [0xff; 32];
        bytes[0] = last;
        Digest::from_bytes(bytes)
    };
    for last in 0..100 {
        assert!(known.lacks(&crowded(last)));
        known.hear(&News::Entries(vec![Entry {
            seq: 1,
            subject: Subject::Secret(crowded(last).as_bytes()[..16].try_into().unwrap()),
        }]));
        assert!(!known.lacks(&crowded(last)));
    }
}

/// One step of a set's life.
#[derive(Clone, Debug)]
enum Step {
    /// A secret is made, and committed.
    Make,
    /// The log is applied up to here.
    Hear,
    /// As much is made at once as one entry tells of.
    Import,
    Begin,
    /// The filling reads its next part.
    Read,
    Finish,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Make),
        3 => Just(Step::Hear),
        1 => Just(Step::Import),
        2 => Just(Step::Begin),
        4 => Just(Step::Read),
        2 => Just(Step::Finish),
    ]
}

proptest! {
    /// However making, applying and filling fall between each other: a set that is asked lacks no secret that is applied.
    #[test]
    fn no_applied_secret_is_ever_lacking(steps in proptest::collection::vec(step(), 1..120)) {
        const PART: usize = 3;
        let known = Known::new(1000);
        // The store in the order of digests, its log, and how much of that is applied.
        let (mut store, mut log) = (std::collections::BTreeMap::new(), Vec::new());
        let (mut applied, mut number) = (0, 0);
        let mut filling: Option<(Round, Option<[u8; 32]>, bool)> = None;
        let mut visible = HashSet::new();
        for step in steps {
            match step {
                Step::Make => {
                    number += 1;
                    store.insert(*digest(number).as_bytes(), number);
                    log.push(vec![number]);
                }
                Step::Import => {
                    let all: Vec<_> = (number + 1..number + 6).collect();
                    number += 5;
                    store.extend(all.iter().map(|number| (*digest(*number).as_bytes(), *number)));
                    log.push(all);
                }
                Step::Hear => {
                    let entries = log[applied..].iter().map(|made| match made[..] {
                        [one] => Subject::Secret(digest(one).as_bytes()[..16].try_into().unwrap()),
                        _ => Subject::Everything,
                    });
                    known.hear(&News::Entries(entries.map(|subject| Entry { seq: 1, subject }).collect()));
                    visible.extend(log[applied..].iter().flatten().copied());
                    applied = log.len();
                }
                Step::Begin => filling = known.begin(0).map(|round| (round, None, false)),
                Step::Read => {
                    if let Some((round, after, read)) = &mut filling {
                        let part: Vec<_> =
                            store.keys().filter(|bytes| after.is_none_or(|after| **bytes > after)).take(PART).copied().collect();
                        *after = part.last().copied().or(*after);
                        *read |= part.len() < PART;
                        known.fill(*round, &part.into_iter().map(Digest::from_bytes).collect::<Vec<_>>());
                    }
                }
                Step::Finish => {
                    if let Some((round, _, true)) = filling {
                        known.finish(round);
                    }
                }
            }
            for made in &visible {
                prop_assert!(!known.lacks(&digest(*made)), "{made} of {number}");
            }
        }
    }
}
