//! The steps of a test case.

use proptest::prelude::*;

use crate::checks::check;
use crate::kernel::{Kernel, SHORT_NAMES};
use crate::machine::Fate;
use crate::stage::Stage;

/// A step. Its numbers select among what exists at that time.
#[derive(Clone, Debug)]
pub enum Step {
    Mkdir {
        hierarchy: u8,
        parent: u8,
        name: u8,
        jump: bool,
    },
    Rmdir {
        hierarchy: u8,
        which: u8,
    },
    Rename {
        hierarchy: u8,
        which: u8,
        name: u8,
    },
    Activity {
        hierarchy: u8,
        which: u8,
        what: u8,
    },
    FailMkdir {
        hierarchy: u8,
    },
    AddHierarchy {
        again: bool,
    },
    RemoveHierarchy {
        which: u8,
    },
    Deliver {
        count: u8,
        activity_is_busy: bool,
    },
    Repeat {
        back: u8,
    },
    /// Of the next records, those at the positions whose bit is set are lost or, hidden, not fired.
    Lose {
        positions: u16,
    },
    Notice,
    /// Reads the list of hierarchies; the numbers select what happens before it is used.
    Discover {
        meanwhile: Vec<u8>,
    },
    LetGo,
    BeginScan {
        hierarchy: u8,
    },
    ReadScan {
        hierarchy: u8,
        whiches: Vec<u8>,
    },
    SkipInScan {
        hierarchy: u8,
        which: u8,
    },
    FailScan {
        hierarchy: u8,
    },
    MergeScans {
        hasty: Option<u8>,
    },
    Restart,
    Settle,
}

/// The faults that may occur.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is independent")]
pub struct Faults {
    pub losses: bool,
    /// What would be lost is hidden: nothing counts it.
    pub hidden: bool,
    pub hasty_merges: bool,
    pub long_names: bool,
}

pub fn steps(faults: Faults, max: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(faults), 1..max)
}

fn step(faults: Faults) -> impl Strategy<Value = Step> {
    use Step::{
        Activity, AddHierarchy, BeginScan, Deliver, Discover, FailMkdir, FailScan, LetGo, Lose, MergeScans,
        Mkdir, Notice, ReadScan, RemoveHierarchy, Rename, Repeat, Restart, Rmdir, Settle, SkipInScan,
    };
    let hierarchy = || 0..4_u8;
    let name = || 0..SHORT_NAMES + u8::from(faults.long_names);
    prop_oneof![
        20 => (hierarchy(), any::<u8>(), name(), prop::bool::weighted(0.1))
            .prop_map(|(hierarchy, parent, name, jump)| Mkdir { hierarchy, parent, name, jump }),
        14 => (hierarchy(), any::<u8>()).prop_map(|(hierarchy, which)| Rmdir { hierarchy, which }),
        8 => (hierarchy(), any::<u8>(), name())
            .prop_map(|(hierarchy, which, name)| Rename { hierarchy, which, name }),
        6 => (hierarchy(), any::<u8>(), any::<u8>())
            .prop_map(|(hierarchy, which, what)| Activity { hierarchy, which, what }),
        1 => hierarchy().prop_map(|hierarchy| FailMkdir { hierarchy }),
        2 => any::<bool>().prop_map(|again| AddHierarchy { again }),
        2 => any::<u8>().prop_map(|which| RemoveHierarchy { which }),
        14 => (1..5_u8, prop::bool::weighted(0.2))
            .prop_map(|(count, activity_is_busy)| Deliver { count, activity_is_busy }),
        4 => prop_oneof![Just(0), 0..12_u8].prop_map(|back| Repeat { back }),
        6 => prop_oneof![any::<u16>(), Just(u16::MAX), Just(1)].prop_map(move |positions| Lose {
            positions: if faults.losses || faults.hidden { positions } else { 0 }
        }),
        3 => Just(Notice),
        2 => prop::collection::vec(any::<u8>(), 0..4).prop_map(|meanwhile| Discover { meanwhile }),
        1 => Just(LetGo),
        6 => hierarchy().prop_map(|hierarchy| BeginScan { hierarchy }),
        14 => (hierarchy(), prop::collection::vec(any::<u8>(), 1..5))
            .prop_map(|(hierarchy, whiches)| ReadScan { hierarchy, whiches }),
        1 => (hierarchy(), any::<u8>()).prop_map(|(hierarchy, which)| SkipInScan { hierarchy, which }),
        6 => prop::option::of(0..4_u8)
            .prop_map(move |hasty| MergeScans { hasty: hasty.filter(|_| faults.hasty_merges) }),
        1 => hierarchy().prop_map(|hierarchy| FailScan { hierarchy }),
        1 => Just(Restart),
        4 => Just(Settle),
    ]
}

/// Runs the steps, and settles at the end. `max_dying`: as in [`Stage`]; `hidden`: as in [`Faults`].
pub fn run(steps: &[Step], max_dying: Option<usize>, hidden: bool) -> Result<(), TestCaseError> {
    let mut stage = Stage::start(Kernel::new(), max_dying);
    for (number, step) in steps.iter().chain([&Step::Settle]).enumerate() {
        take(&mut stage, step, hidden)
            .and_then(|()| stage.outcome())
            .map_err(|wrong| TestCaseError::fail(format!("step {number}, {step:?}: {wrong}")))?;
    }
    Ok(())
}

fn take(stage: &mut Stage, step: &Step, hidden: bool) -> Result<(), String> {
    let hierarchy = |which: u8| stage.world().kernel.pick(which).id;
    match *step {
        Step::Mkdir { hierarchy, parent, name, jump } => {
            let mut world = stage.world();
            let sent = world.kernel.mkdir(hierarchy, parent, name, jump);
            world.send(sent);
        }
        Step::Rmdir { hierarchy, which } => {
            let mut world = stage.world();
            let sent = world.kernel.rmdir(hierarchy, which);
            world.send(sent);
        }
        Step::Rename { hierarchy, which, name } => {
            let mut world = stage.world();
            let sent = world.kernel.rename(hierarchy, which, name);
            world.send(sent);
        }
        Step::Activity { hierarchy, which, what } => {
            let mut world = stage.world();
            let sent = world.kernel.activity(hierarchy, which, what);
            world.send(sent);
        }
        Step::FailMkdir { hierarchy } => {
            let mut world = stage.world();
            let sent = world.kernel.fail_mkdir(hierarchy);
            world.send(sent);
        }
        Step::AddHierarchy { again } => stage.world().add_hierarchy(again),
        Step::RemoveHierarchy { which } => stage.world().remove_hierarchy(which),
        Step::Deliver { count, activity_is_busy } => stage.deliver(count, activity_is_busy),
        Step::Repeat { back } => stage.repeat(back),
        Step::Lose { positions } => {
            let worst = if hidden { Fate::Hidden } else { Fate::Lost };
            let fate = |bit: u32| if positions >> bit & 1 == 1 { worst } else { Fate::Sent };
            stage.world().decide((0..u16::BITS).rev().map(fate).collect());
        }
        Step::Notice => stage.notice(),
        Step::Discover { ref meanwhile } => {
            stage.world().meanwhile.clone_from(meanwhile);
            stage.discover()?;
        }
        Step::LetGo => stage.world().let_go(),
        Step::BeginScan { hierarchy: which } => {
            let id = hierarchy(which);
            stage.begin_scan(id);
        }
        Step::ReadScan { hierarchy: which, ref whiches } => {
            let id = hierarchy(which);
            stage.read_scan(id, whiches);
        }
        Step::SkipInScan { hierarchy: of, which } => {
            let id = hierarchy(of);
            stage.skip_in_scan(id, which);
        }
        Step::FailScan { hierarchy: which } => {
            let id = hierarchy(which);
            stage.fail_scan(id);
        }
        Step::MergeScans { hasty } => stage.merge_scans(hasty),
        Step::Restart => stage.restart(),
        Step::Settle => {
            stage.settle()?;
            if hidden {
                stage.prove();
                stage.settle()?;
            }
            stage.outcome()?;
            check(stage)?;
        }
    }
    Ok(())
}
