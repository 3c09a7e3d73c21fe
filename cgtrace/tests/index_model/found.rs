//! What the model found once, shrunk.

use cgtrace::daemon::index::PreviousLimits;
use proptest::test_runner::TestCaseError;

use crate::kernel::SHORT_NAMES;
use crate::steps::{Step, run};

fn mkdir(hierarchy: u8, parent: u8, name: u8) -> Step {
    Step::Mkdir { hierarchy, parent, name, jump: false }
}

fn holds(steps: &[Step]) -> Result<(), TestCaseError> {
    run(steps, PreviousLimits::default(), false)
}

/// A scan finds `4` under the name that `3` was created with while it ran; no record tells that `3` was removed. The
/// release of `3` must not leave the name without a cgroup.
#[test]
fn a_name_that_scan_and_event_give_to_two_cgroups_is_scanned_again() -> Result<(), TestCaseError> {
    for hierarchy in [0, 1] {
        run(
            &[
                mkdir(hierarchy, 0, 4),
                Step::Lose { places: u16::MAX },
                Step::Rmdir { hierarchy, which: 0 },
                mkdir(hierarchy, 0, 4),
                mkdir(hierarchy, 0, 0),
                Step::BeginScan { hierarchy },
                Step::MergeScans { hasty: None },
            ],
            PreviousLimits::default(),
            true,
        )?;
    }
    Ok(())
}

/// The scan read the parent's old name, and could not open it any more.
#[test]
fn what_is_below_a_renamed_cgroup_is_not_removed_by_a_walk() -> Result<(), TestCaseError> {
    holds(&[
        mkdir(1, 0, 0),
        mkdir(1, 1, 0),
        Step::Deliver { count: 2, told_is_busy: false },
        Step::BeginScan { hierarchy: 1 },
        Step::ReadScan { hierarchy: 1, whiches: vec![0] },
        Step::Rename { hierarchy: 0, which: 0, name: 1 },
    ])
}

/// The same before the first scan, which then has not found all that was there before.
#[test]
fn a_first_walk_crossed_by_a_rename_is_not_the_last() -> Result<(), TestCaseError> {
    holds(&[
        mkdir(1, 0, 0),
        mkdir(1, 1, 0),
        Step::Restart,
        Step::BeginScan { hierarchy: 1 },
        Step::ReadScan { hierarchy: 1, whiches: vec![0] },
        Step::Rename { hierarchy: 0, which: 0, name: 1 },
    ])
}

/// The same with the rename lost: the next scan finds what the first one concluded to be removed.
#[test]
fn what_was_concluded_wrongly_lives_on() -> Result<(), TestCaseError> {
    holds(&[
        mkdir(1, 0, 0),
        mkdir(1, 1, 0),
        Step::Settle,
        Step::BeginScan { hierarchy: 1 },
        Step::ReadScan { hierarchy: 1, whiches: vec![0] },
        Step::Lose { places: 1 },
        Step::Rename { hierarchy: 0, which: 0, name: 1 },
        Step::MergeScans { hasty: None },
        Step::Notice,
    ])
}

/// Its mkdir was still in the ring when it was noticed that its rmdir was lost.
#[test]
fn an_event_older_than_the_loss_vouches_for_nothing() -> Result<(), TestCaseError> {
    holds(&[
        Step::Lose { places: 0b10 },
        mkdir(0, 0, 0),
        Step::Rmdir { hierarchy: 0, which: 0 },
        Step::Notice,
        Step::BeginScan { hierarchy: 0 },
    ])
}

/// Its `setup_root` was still in the ring when it was noticed that a mkdir in it was lost.
#[test]
fn a_hierarchy_older_than_the_loss_is_walked() -> Result<(), TestCaseError> {
    holds(&[Step::Lose { places: 0b10 }, Step::AddHierarchy { again: false }, mkdir(2, 0, 0), Step::Notice])
}

/// It was found by a scan that was merged before its rmdir was applied.
#[test]
fn no_life_ends_before_it_began() -> Result<(), TestCaseError> {
    holds(&[
        Step::Lose { places: 1 },
        mkdir(0, 0, 0),
        Step::Notice,
        Step::BeginScan { hierarchy: 0 },
        Step::ReadScan { hierarchy: 0, whiches: vec![0] },
        Step::Rmdir { hierarchy: 0, which: 0 },
        Step::MergeScans { hasty: Some(0) },
    ])
}

/// The long name is learnt by today's, `b`, which another cgroup has until it is renamed: by their texts alone a
/// subscriber cannot tell what is below which.
#[test]
fn a_name_that_is_learnt_late_is_another_s_until_then() -> Result<(), TestCaseError> {
    holds(&[
        Step::AddHierarchy { again: false },
        mkdir(2, 0, 0),
        Step::Rename { hierarchy: 1, which: 0, name: SHORT_NAMES },
        mkdir(2, 1, 0),
        mkdir(2, 0, 1),
        Step::Rename { hierarchy: 1, which: 2, name: 0 },
        Step::Rename { hierarchy: 1, which: 0, name: 1 },
    ])
}

/// The scan missed a parent that was there before, below a renamed one: its child was known from its mkdir alone.
#[test]
fn below_what_a_walk_missed_nothing_is_removed() -> Result<(), TestCaseError> {
    holds(&[
        mkdir(1, 0, 0),
        mkdir(1, 187, 0),
        Step::Restart,
        mkdir(1, 101, 0),
        Step::Rmdir { hierarchy: 2, which: 0 },
        mkdir(2, 0, 0),
        Step::Deliver { count: 1, told_is_busy: false },
        Step::BeginScan { hierarchy: 1 },
        mkdir(1, 0, 1),
        Step::ReadScan { hierarchy: 1, whiches: vec![0] },
        Step::RemoveHierarchy { which: 0 },
        Step::Rmdir { hierarchy: 1, which: 103 },
        mkdir(1, 0, 2),
        mkdir(1, 16, 1),
        mkdir(1, 0, 3),
        Step::Rename { hierarchy: 0, which: 234, name: 1 },
    ])
}

/// A hierarchy was destroyed, and the coming of the next one with its id and name was lost: what is mounted has not ended.
#[test]
fn a_hierarchy_whose_coming_was_lost_is_not_the_one_that_ended() -> Result<(), TestCaseError> {
    holds(&[
        Step::Lose { places: 1 },
        Step::AddHierarchy { again: false },
        Step::RemoveHierarchy { which: 1 },
        Step::Deliver { count: 4, told_is_busy: false },
        Step::LetGo,
        Step::Lose { places: 1 },
        Step::AddHierarchy { again: true },
    ])
}
