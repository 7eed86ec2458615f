//! Moments as a log writes them, one after another: within a second nearly all of the text stays the same.

use crate::clock::Timestamp;

/// The moment written last.
#[derive(Debug, Default)]
pub struct Stamp {
    second: Option<i64>,
    text: String,
}

impl Stamp {
    /// Tells `at` as [`Timestamp`] writes it.
    pub fn with(&mut self, at: Timestamp, tell: impl FnOnce(&str)) {
        let (second, milli) = (at.as_millis().div_euclid(1000), at.as_millis().rem_euclid(1000));
        // `….mmmZ`, but for the years that have no such form.
        match self.text.len().checked_sub("000Z".len()) {
            Some(end) if self.second == Some(second) && self.text.ends_with('Z') => {
                self.text.truncate(end);
                for digit in [milli / 100, milli / 10 % 10, milli % 10] {
                    self.text.push(char::from(b"0123456789"[digit as usize]));
                }
                self.text.push('Z');
            }
            _ => {
                self.second = Some(second);
                self.text = at.to_string();
            }
        }
        tell(&self.text);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_what_the_moment_itself_says(moments in proptest::collection::vec(any::<i64>(), 1..20), steps in proptest::collection::vec(-1500_i64..1500, 1..40)) {
            let mut stamp = Stamp::default();
            for moment in moments {
                for step in &steps {
                    let at = Timestamp::from_millis(moment.saturating_add(*step));
                    stamp.with(at, |text| assert_eq!(text, at.to_string()));
                }
            }
        }

        #[test]
        fn so_it_is_in_the_years_that_logs_are_written_in(start in 0_i64..4_000_000_000_000, steps in proptest::collection::vec(0_i64..700, 1..40)) {
            let (mut stamp, mut at) = (Stamp::default(), start);
            for step in steps {
                at += step;
                let at = Timestamp::from_millis(at);
                stamp.with(at, |text| assert_eq!(text, at.to_string()));
            }
        }
    }
}
