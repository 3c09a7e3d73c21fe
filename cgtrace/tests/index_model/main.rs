//! Checks the tracker against a naive model of the kernel's cgroup trees: for any order of records, losses,
//! lists of hierarchies and scans, the index is correct and claims no more than it can know.

mod checks;
mod ended;
mod kernel;
mod machine;
mod nonsense;
mod observer;
mod regressions;
mod scan;
mod stage;
mod steps;
mod subscriber;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use steps::{Faults, run, steps};

const CALM: Faults = Faults { losses: false, hidden: false, hasty_merges: false, long_names: false };

fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    // A failure worth keeping becomes a named test.
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
    fn without_losses_the_index_is_exact(steps in steps(CALM, 80)) {
        run(&steps, None, false)?;
    }

    #[test]
    fn long_names_are_resolved(steps in steps(Faults { long_names: true, ..CALM }, 60)) {
        run(&steps, None, false)?;
    }

    #[test]
    fn losses_are_resynced(steps in steps(Faults { losses: true, long_names: true, ..CALM }, 80)) {
        run(&steps, None, false)?;
    }

    #[test]
    fn a_merge_before_catching_up_is_correct(
        steps in steps(Faults { losses: true, hasty_merges: true, ..CALM }, 60)
    ) {
        run(&steps, None, false)?;
    }

    #[test]
    fn missing_records_are_inferred(steps in steps(Faults { hidden: true, ..CALM }, 60)) {
        run(&steps, None, true)?;
    }

    #[test]
    fn dying_cgroups_may_be_dropped(steps in steps(CALM, 100), max_bytes in 0..4_000_usize) {
        run(&steps, Some(max_bytes), false)?;
    }

    #[test]
    fn arbitrary_calls_keep_the_invariants(calls in nonsense::calls()) {
        nonsense::run(&calls)?;
    }
}
