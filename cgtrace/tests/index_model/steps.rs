//! What may happen next.

use cgtrace::daemon::index::Limits;
use proptest::prelude::*;

use crate::checks::check;
use crate::daemon::Daemon;
use crate::kernel::{Kernel, SHORT_NAMES};

/// Its numbers choose among what there is at that time.
#[derive(Clone, Debug)]
pub enum Step {
    Mkdir { hierarchy: u8, parent: u8, name: u8, jump: bool },
    Rmdir { hierarchy: u8, which: u8 },
    Rename { hierarchy: u8, which: u8, name: u8 },
    Tell { hierarchy: u8, which: u8, what: u8 },
    FailMkdir { hierarchy: u8 },
    AddHierarchy { again: bool },
    RemoveHierarchy { which: u8 },
    Deliver { count: u8 },
    DeliverTold { which: u8 },
    Repeat { back: u8 },
    Lose { places: u16 },
    Notice,
    BeginWalk { hierarchy: u8 },
    ReadWalk { hierarchy: u8, whiches: Vec<u8> },
    SkipInWalk { hierarchy: u8, which: u8 },
    MergeWalk { hierarchy: u8, hasty: bool },
    AbandonWalk { hierarchy: u8 },
    Restart,
    Settle,
}

/// What of all that may go wrong does.
#[derive(Clone, Copy)]
pub struct Troubles {
    pub losses: bool,
    pub hasty_merges: bool,
    pub long_names: bool,
}

pub fn steps(troubles: Troubles, most: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(troubles), 1..most)
}

fn step(troubles: Troubles) -> impl Strategy<Value = Step> {
    use Step::{
        AbandonWalk, AddHierarchy, BeginWalk, Deliver, DeliverTold, FailMkdir, Lose, MergeWalk, Mkdir,
        Notice, ReadWalk, RemoveHierarchy, Rename, Repeat, Restart, Rmdir, Settle, SkipInWalk, Tell,
    };
    let hierarchy = || 0..4_u8;
    let name = || 0..SHORT_NAMES + u8::from(troubles.long_names);
    prop_oneof![
        20 => (hierarchy(), any::<u8>(), name(), prop::bool::weighted(0.1))
            .prop_map(|(hierarchy, parent, name, jump)| Mkdir { hierarchy, parent, name, jump }),
        14 => (hierarchy(), any::<u8>()).prop_map(|(hierarchy, which)| Rmdir { hierarchy, which }),
        8 => (hierarchy(), any::<u8>(), name())
            .prop_map(|(hierarchy, which, name)| Rename { hierarchy, which, name }),
        6 => (hierarchy(), any::<u8>(), any::<u8>())
            .prop_map(|(hierarchy, which, what)| Tell { hierarchy, which, what }),
        1 => hierarchy().prop_map(|hierarchy| FailMkdir { hierarchy }),
        2 => any::<bool>().prop_map(|again| AddHierarchy { again }),
        2 => any::<u8>().prop_map(|which| RemoveHierarchy { which }),
        10 => (1..5_u8).prop_map(|count| Deliver { count }),
        4 => any::<u8>().prop_map(|which| DeliverTold { which }),
        4 => prop_oneof![Just(0), 0..12_u8].prop_map(|back| Repeat { back }),
        6 => prop_oneof![any::<u16>(), Just(u16::MAX), Just(1)].prop_map(move |places| Lose {
            places: if troubles.losses { places } else { 0 }
        }),
        3 => Just(Notice),
        6 => hierarchy().prop_map(|hierarchy| BeginWalk { hierarchy }),
        14 => (hierarchy(), prop::collection::vec(any::<u8>(), 1..5))
            .prop_map(|(hierarchy, whiches)| ReadWalk { hierarchy, whiches }),
        1 => (hierarchy(), any::<u8>()).prop_map(|(hierarchy, which)| SkipInWalk { hierarchy, which }),
        6 => (hierarchy(), any::<bool>()).prop_map(move |(hierarchy, hasty)| {
            MergeWalk { hierarchy, hasty: hasty && troubles.hasty_merges }
        }),
        1 => hierarchy().prop_map(|hierarchy| AbandonWalk { hierarchy }),
        1 => Just(Restart),
        4 => Just(Settle),
    ]
}

/// Lets it all happen, and settles at the end.
pub fn run(steps: &[Step], limits: Limits) -> Result<(), TestCaseError> {
    let mut kernel = Kernel::new();
    let mut daemon = Daemon::start(&mut kernel, limits);
    for (place, step) in steps.iter().chain([&Step::Settle]).enumerate() {
        take(&mut kernel, &mut daemon, step)
            .map_err(|wrong| TestCaseError::fail(format!("step {place}, {step:?}: {wrong}")))?;
    }
    Ok(())
}

fn take(kernel: &mut Kernel, daemon: &mut Daemon, step: &Step) -> Result<(), String> {
    match *step {
        Step::Mkdir { hierarchy, parent, name, jump } => {
            daemon.send(kernel.mkdir(hierarchy, parent, name, jump));
        }
        Step::Rmdir { hierarchy, which } => daemon.send(kernel.rmdir(hierarchy, which)),
        Step::Rename { hierarchy, which, name } => daemon.send(kernel.rename(hierarchy, which, name)),
        Step::Tell { hierarchy, which, what } => daemon.send(kernel.tell(hierarchy, which, what)),
        Step::FailMkdir { hierarchy } => daemon.send(kernel.fail_mkdir(hierarchy)),
        Step::AddHierarchy { again } => {
            let again = if again { daemon.gone() } else { None };
            daemon.send(kernel.add_hierarchy(again));
        }
        Step::RemoveHierarchy { which } => daemon.send(kernel.remove_hierarchy(which)),
        Step::Deliver { count } => daemon.deliver(kernel, count)?,
        Step::DeliverTold { which } => daemon.deliver_told(kernel, which)?,
        Step::Repeat { back } => daemon.repeat(kernel, back)?,
        Step::Lose { places } => daemon.lose(places),
        Step::Notice => daemon.notice(kernel)?,
        Step::BeginWalk { hierarchy } => daemon.begin_walk(kernel, kernel.pick(hierarchy).id),
        Step::ReadWalk { hierarchy, ref whiches } => {
            daemon.read_walk(kernel, kernel.pick(hierarchy).id, whiches);
        }
        Step::SkipInWalk { hierarchy, which } => daemon.skip_in_walk(kernel.pick(hierarchy).id, which),
        Step::MergeWalk { hierarchy, hasty } => {
            let hierarchy = kernel.pick(hierarchy).id;
            daemon.merge_walk(kernel, hierarchy, hasty)?;
        }
        Step::AbandonWalk { hierarchy } => daemon.abandon_walk(kernel.pick(hierarchy).id),
        Step::Restart => daemon.restart(kernel),
        Step::Settle => {
            daemon.settle(kernel)?;
            check(kernel, daemon)?;
        }
    }
    Ok(())
}
