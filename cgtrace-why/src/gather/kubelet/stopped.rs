//! The kubelet that is not running: what it would look up, from its unit.

use std::path::Path;

use cgtrace_host::{process, root::Root};

use super::{
    super::{Deadline, unit},
    sources::{Files, settings},
};
use crate::rules::{Program, Settings, slice_path};

/// A kubelet that is not running.
#[derive(Clone, Debug)]
pub(crate) struct StoppedKubelet {
    /// Its unit.
    pub unit: String,
    /// The cgroup of its unit.
    pub own: String,
    /// The settings with which its unit would start it.
    pub settings: Settings,
}

/// The kubelet that a unit of this machine would start.
pub(crate) fn stopped(deadline: Deadline, notes: &mut Vec<String>) -> Option<StoppedKubelet> {
    let starters = process::named(&[b"k0s", b"rke2"]);
    for starter in starters.iter().filter(|found| found.process.uid == 0).take(1) {
        notes.push(format!(
            "{}[{}] is running, which starts a kubelet, but that is not running",
            String::from_utf8_lossy(&starter.process.comm),
            starter.process.pid
        ));
    }
    let candidates =
        Program::ALL.into_iter().flat_map(|program| program.units().iter().map(move |unit| (program, *unit)));
    let find = move || {
        let root = Root::open(Path::new("/")).ok()?;
        candidates.into_iter().find_map(|(program, name)| Some((program, name, unit::command(name, &root)?)))
    };
    let (program, name, unit::UnitCommand { words, slice }) = deadline.run(find)??;
    let settings = settings(Files::Here, Some(program), &words, deadline, notes);
    Some(StoppedKubelet { unit: name.to_owned(), own: format!("{}/{name}", slice_path(&slice)), settings })
}
