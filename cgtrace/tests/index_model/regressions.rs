//! Failures found by the model, minimized.

use proptest::test_runner::TestCaseError;

use crate::kernel::SHORT_NAMES;
use crate::steps::{Step, run};

fn mkdir(hierarchy: u8, parent: u8, name: u8) -> Step {
    Step::Mkdir { hierarchy, parent, name, jump: false }
}

fn holds(steps: &[Step]) -> Result<(), TestCaseError> {
    run(steps, None, false)
}

/// A scan finds `4` under the name that `3` was created with while it ran; no record shows that `3` was
/// removed. The release of `3` must not leave the name without a cgroup.
#[test]
fn a_name_that_scan_and_event_give_to_two_cgroups_is_scanned_again() -> Result<(), TestCaseError> {
    for hierarchy in [0, 1] {
        run(
            &[
                mkdir(hierarchy, 0, 4),
                Step::Lose { positions: u16::MAX },
                Step::Rmdir { hierarchy, which: 0 },
                mkdir(hierarchy, 0, 4),
                mkdir(hierarchy, 0, 0),
                Step::BeginScan { hierarchy },
                Step::MergeScans { hasty: None },
            ],
            None,
            true,
        )?;
    }
    Ok(())
}

/// The scan read the parent's old name and could not open it any more.
#[test]
fn a_scan_removes_no_descendant_of_a_renamed_cgroup() -> Result<(), TestCaseError> {
    holds(&[
        mkdir(1, 0, 0),
        mkdir(1, 1, 0),
        Step::Deliver { count: 2, activity_is_busy: false },
        Step::BeginScan { hierarchy: 1 },
        Step::ReadScan { hierarchy: 1, whiches: vec![0] },
        Step::Rename { hierarchy: 0, which: 0, name: 1 },
    ])
}

/// The same before the initial scan, which then misses preexisting cgroups.
#[test]
fn an_initial_scan_that_raced_with_a_rename_is_repeated() -> Result<(), TestCaseError> {
    holds(&[
        mkdir(1, 0, 0),
        mkdir(1, 1, 0),
        Step::Restart,
        Step::BeginScan { hierarchy: 1 },
        Step::ReadScan { hierarchy: 1, whiches: vec![0] },
        Step::Rename { hierarchy: 0, which: 0, name: 1 },
    ])
}

/// The same with the rename lost: the next scan finds what the first one inferred to be removed.
#[test]
fn a_wrong_inference_is_undone() -> Result<(), TestCaseError> {
    holds(&[
        mkdir(1, 0, 0),
        mkdir(1, 1, 0),
        Step::Settle,
        Step::BeginScan { hierarchy: 1 },
        Step::ReadScan { hierarchy: 1, whiches: vec![0] },
        Step::Lose { positions: 1 },
        Step::Rename { hierarchy: 0, which: 0, name: 1 },
        Step::MergeScans { hasty: None },
        Step::Notice,
    ])
}

/// The mkdir was still in the ring when the loss of the rmdir was noticed.
#[test]
fn an_event_older_than_the_loss_proves_nothing() -> Result<(), TestCaseError> {
    holds(&[
        Step::Lose { positions: 0b10 },
        mkdir(0, 0, 0),
        Step::Rmdir { hierarchy: 0, which: 0 },
        Step::Notice,
        Step::BeginScan { hierarchy: 0 },
    ])
}

/// The `setup_root` was still in the ring when the loss of a mkdir in it was noticed.
#[test]
fn a_hierarchy_older_than_the_loss_is_scanned() -> Result<(), TestCaseError> {
    holds(&[
        Step::Lose { positions: 0b10 },
        Step::AddHierarchy { again: false },
        mkdir(2, 0, 0),
        Step::Notice,
    ])
}

/// The cgroup was found by a scan that was merged before its rmdir was applied.
#[test]
fn no_instance_is_removed_before_it_is_created() -> Result<(), TestCaseError> {
    holds(&[
        Step::Lose { positions: 1 },
        mkdir(0, 0, 0),
        Step::Notice,
        Step::BeginScan { hierarchy: 0 },
        Step::ReadScan { hierarchy: 0, whiches: vec![0] },
        Step::Rmdir { hierarchy: 0, which: 0 },
        Step::MergeScans { hasty: Some(0) },
    ])
}

/// The long name is resolved to the current one, `b`, which another cgroup has until it is renamed: by paths
/// alone, a subscriber cannot tell their descendants apart.
#[test]
fn a_name_resolved_late_belongs_to_another_cgroup_until_then() -> Result<(), TestCaseError> {
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

/// The scan missed a preexisting parent below a renamed cgroup: its child was known from its mkdir alone.
#[test]
fn descendants_of_a_missed_parent_are_not_removed() -> Result<(), TestCaseError> {
    holds(&[
        mkdir(1, 0, 0),
        mkdir(1, 187, 0),
        Step::Restart,
        mkdir(1, 101, 0),
        Step::Rmdir { hierarchy: 2, which: 0 },
        mkdir(2, 0, 0),
        Step::Deliver { count: 1, activity_is_busy: false },
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

/// A hierarchy was destroyed, and the creation of the next one with its id and name was lost: a mounted
/// hierarchy has not been destroyed.
#[test]
fn a_hierarchy_whose_creation_was_lost_is_not_the_destroyed_one() -> Result<(), TestCaseError> {
    holds(&[
        Step::Lose { positions: 1 },
        Step::AddHierarchy { again: false },
        Step::RemoveHierarchy { which: 1 },
        Step::Deliver { count: 4, activity_is_busy: false },
        Step::LetGo,
        Step::Lose { positions: 1 },
        Step::AddHierarchy { again: true },
    ])
}

/// An attach proves the parent, whose mkdir was lost, while a scan runs. That proves nothing about its child,
/// whose rmdir was lost before the scan.
#[test]
fn evidence_of_a_cgroup_does_not_prove_its_descendants() -> Result<(), TestCaseError> {
    holds(&[
        Step::Lose { positions: 45841 },
        Step::Settle,
        mkdir(1, 0, 0),
        mkdir(2, 0, 0),
        Step::Rmdir { hierarchy: 2, which: 0 },
        Step::Notice,
        Step::Rmdir { hierarchy: 1, which: 0 },
        mkdir(2, 0, 0),
        mkdir(0, 0, 1),
        Step::Discover { meanwhile: vec![0] },
        mkdir(0, 100, 0),
        mkdir(0, 249, 1),
        Step::Rmdir { hierarchy: 0, which: 28 },
        Step::Notice,
        Step::BeginScan { hierarchy: 0 },
        mkdir(0, 0, 0),
        Step::Activity { hierarchy: 0, which: 109, what: 71 },
    ])
}

/// A rename, whose record was lost, hides `3` and its descendants from the scan. `7` is removed only later.
#[test]
fn a_scan_during_a_loss_infers_no_removal() -> Result<(), TestCaseError> {
    holds(&[
        mkdir(1, 0, 0),
        mkdir(1, 66, 1),
        Step::Deliver { count: 1, activity_is_busy: false },
        mkdir(1, 133, 0),
        mkdir(1, 107, 0),
        mkdir(1, 134, 0),
        Step::BeginScan { hierarchy: 0 },
        Step::Lose { positions: u16::MAX },
        Step::ReadScan { hierarchy: 1, whiches: vec![0] },
        Step::Rename { hierarchy: 0, which: 180, name: SHORT_NAMES },
        Step::MergeScans { hasty: None },
        Step::Rmdir { hierarchy: 1, which: 1 },
    ])
}

/// An attach proves `4` under the name of `3`, whose rmdir was not recorded; then the rename that gave `3`
/// this name is handed over again. The release of `3` must not leave the name without a cgroup.
#[test]
fn a_name_that_evidence_gives_to_two_cgroups_is_scanned() -> Result<(), TestCaseError> {
    run(
        &[
            Step::Discover { meanwhile: vec![63, 1] },
            Step::Lose { positions: u16::MAX },
            mkdir(0, 0, 0),
            mkdir(1, 0, 2),
            Step::Rename { hierarchy: 0, which: 0, name: 1 },
            mkdir(2, 0, 0),
            Step::Rmdir { hierarchy: 1, which: 0 },
            mkdir(1, 0, 1),
            Step::Activity { hierarchy: 1, which: 5, what: 181 },
            Step::Notice,
            Step::Repeat { back: 0 },
        ],
        None,
        true,
    )
}
