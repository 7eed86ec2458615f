//! How long what was read may count, and how long one must wait to be sure that it no longer does.
//!
//! A fence of F is one length of time on many clocks. Who may go on serving counts less of it, from *before* the store was
//! asked; who waits for that to end counts more, from *after* the commit. The difference covers clocks whose rates differ by
//! 1 % in either direction: `0.98 F / 0.99 < F / 1.01`.

use std::time::Duration;

/// How long after a question left its answer may count.
pub(super) fn lease(fence: Duration) -> Duration {
    fence / 100 * 98
}

/// How long after a change was committed, or a registration was no longer live, nothing can count that lacks it.
pub(in crate::keyring) const fn lapse(fence: Duration) -> Duration {
    fence.saturating_add(GRAIN)
}

/// What clocks are read to, and more than any tick of theirs.
const GRAIN: Duration = Duration::from_millis(20);

#[test]
fn a_lease_on_a_slow_clock_ends_before_a_wait_on_a_fast_one() {
    for fence in [2, 10, 60, 3600].map(Duration::from_secs) {
        assert!(lease(fence).mul_f64(1.0 / 0.99) < lapse(fence).mul_f64(1.0 / 1.01), "{fence:?}");
    }
    assert_eq!(lapse(Duration::MAX), Duration::MAX);
}
