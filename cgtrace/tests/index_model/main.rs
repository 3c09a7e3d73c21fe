//! A naive model of the kernel's cgroup trees against the tracker: whatever happens, in whatever order records, losses,
//! lists of hierarchies and scans reach it, its index says what is true, and no more than it can know.

mod checks;
mod found;
mod kernel;
mod machine;
mod nonsense;
mod observer;
mod scan;
mod stage;
mod steps;
mod subscriber;

use cgtrace::daemon::index::PreviousLimits;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use steps::{Troubles, run, steps};

const CALM: Troubles = Troubles { losses: false, hidden: false, hasty_merges: false, long_names: false };

fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    // A failure that is worth keeping becomes a test with a name.
    ProptestConfig {
        // `PROPTEST_CASES` raises it.
        cases: default.cases.max(cases),
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        max_shrink_iters: 20_000,
        ..default
    }
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn without_a_loss_all_is_exact(steps in steps(CALM, 80)) {
        run(&steps, PreviousLimits::default(), false)?;
    }

    #[test]
    fn long_names_are_learnt(steps in steps(Troubles { long_names: true, ..CALM }, 60)) {
        run(&steps, PreviousLimits::default(), false)?;
    }

    #[test]
    fn losses_are_healed(steps in steps(Troubles { losses: true, long_names: true, ..CALM }, 80)) {
        run(&steps, PreviousLimits::default(), false)?;
    }

    #[test]
    fn a_hasty_merge_is_understood(
        steps in steps(Troubles { losses: true, hasty_merges: true, ..CALM }, 60)
    ) {
        run(&steps, PreviousLimits::default(), false)?;
    }

    #[test]
    fn what_no_record_tells_is_proved(steps in steps(Troubles { hidden: true, ..CALM }, 60)) {
        run(&steps, PreviousLimits::default(), true)?;
    }

    #[test]
    fn the_past_is_bounded(
        steps in steps(CALM, 100),
        max_previous_bytes in 0..4_000_usize,
    ) {
        run(&steps, PreviousLimits { max_previous_bytes }, false)?;
    }

    #[test]
    fn nonsense_does_no_harm(calls in nonsense::calls()) {
        nonsense::run(&calls)?;
    }
}
