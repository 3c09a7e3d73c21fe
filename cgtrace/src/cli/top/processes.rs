//! Counts the processes of cgroups. cgroupfs has one file per cgroup, and may block.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use cgtrace_host::hierarchy::{Mount, discover, read_members};

/// How long the table of mounts is used.
const MOUNTS_FOR: Duration = Duration::from_secs(10);

/// The cgroups to count the processes of, by id.
#[derive(Debug)]
pub struct Request {
    pub hierarchy: u32,
    pub cgroups: Vec<(u64, Arc<[u8]>)>,
}

/// The numbers of processes; `None`: unknown, for lack of a mount or of the right to read it.
#[derive(Debug)]
pub struct Counts {
    pub hierarchy: u32,
    pub counts: Vec<(u64, Option<u32>)>,
}

/// Counts processes.
#[derive(Debug, Default)]
pub struct Counter {
    mounts: HashMap<u32, Mount>,
    read_at: Option<Instant>,
}

impl Counter {
    pub fn count(&mut self, request: &Request) -> Counts {
        let mount = self.mount(request.hierarchy);
        let count = |path: &[u8]| {
            let members = read_members(mount?, path).ok()?;
            u32::try_from(members.ids.len() + members.elsewhere).ok()
        };
        let counts = request.cgroups.iter().map(|(id, path)| (*id, count(path))).collect();
        Counts { hierarchy: request.hierarchy, counts }
    }

    fn mount(&mut self, hierarchy: u32) -> Option<&Mount> {
        if self.read_at.is_none_or(|at| at.elapsed() > MOUNTS_FOR) {
            self.read_at = Some(Instant::now());
            let found = discover().unwrap_or_default().into_iter();
            self.mounts = found.filter_map(|found| Some((found.id.0, found.mount?))).collect();
        }
        self.mounts.get(&hierarchy)
    }
}
