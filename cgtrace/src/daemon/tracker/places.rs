//! Which hierarchies there are, where they are mounted, and the walks and comparisons of them.

use std::rc::Rc;

use crate::daemon::{
    index::{Hierarchy, HierarchyId, UNIFIED},
    memory,
};
use cgtrace_host::hierarchy::{self, Found, HierarchyError, Mount};

use super::{
    HierarchyView, Tracker,
    clock::boot_ns,
    scan::{ScanJob, ScanResult},
    verify::{Verification, Verified, VerifyJob, VerifyScan},
};

impl Tracker {
    pub(super) fn readable(&self) -> Vec<HierarchyId> {
        self.views.iter().filter(|(_, view)| view.mount.is_some()).map(|(id, _)| *id).collect()
    }

    /// Looks which hierarchies there are and where they are mounted, at the start.
    pub(super) fn discover(&mut self, known_since_boot_ns: u64) -> Result<(), HierarchyError> {
        let found = hierarchy::discover()?;
        self.take_places(&found, known_since_boot_ns);
        Ok(())
    }

    /// The same whenever the mount table changed: mounting a hierarchy that exists already fires no event.
    pub fn discover_again(&mut self) -> Result<(), HierarchyError> {
        let found = hierarchy::discover()?;
        // A new one was recorded before the mount table had it: its record tells more, from its birth on.
        self.catch_up_quietly();
        self.take_places(&found, boot_ns());
        Ok(())
    }

    fn take_places(&mut self, found: &[Found], known_since_boot_ns: u64) {
        for Found { id, name, mount, note } in found {
            let id = *id;
            let news = !self.index.hierarchies().any(|state| state.id == id && state.name.is_some());
            if news {
                self.index.know_hierarchy(&Hierarchy { id, name: Rc::clone(name) }, known_since_boot_ns);
            }
            let walked = self.index.hierarchies().any(|state| state.id == id && state.walked);
            let view = self.views.entry(id).or_default();
            view.mount.clone_from(mount);
            view.note.clone_from(note);
            if mount.is_none() && !walked {
                view.note = Some("not mounted in this mount namespace: known from events alone".to_owned());
            }
            if mount.is_some() && !walked {
                self.walks.want(id);
            }
        }
        // Gone without an event that we saw: destroy_root may have been lost.
        let gone: Vec<HierarchyId> = self
            .index
            .hierarchies()
            .map(|state| state.id)
            .filter(|id| *id != UNIFIED && !found.iter().any(|found| found.id == *id))
            .collect();
        for id in gone {
            self.catch_up_quietly();
            if self.index.hierarchies().any(|state| state.id == id) {
                let change = self.index.forget_hierarchy(id, boot_ns());
                self.tell(change);
            }
            self.views.remove(&id);
            self.walks.forget(id);
        }
        self.nudge.notify_one();
    }

    /// How a hierarchy can be read here.
    #[must_use]
    pub fn view(&self, hierarchy: HierarchyId) -> HierarchyView {
        self.views.get(&hierarchy).cloned().unwrap_or_else(|| HierarchyView {
            mount: None,
            note: Some("not mounted in this mount namespace: known from events alone".to_owned()),
        })
    }

    /// The next walk to run, if one is asked for and none runs. Hand its result to
    /// [`merge`](Self::merge).
    pub fn next_walk(&mut self) -> Option<ScanJob> {
        if !self.walks.waiting() {
            return None;
        }
        let hierarchies: Vec<(HierarchyId, Mount)> = self
            .walks
            .start()
            .into_iter()
            .filter_map(|id| {
                let mount = self.views.get(&id).and_then(|view| view.mount.clone());
                if mount.is_none() {
                    self.walks.finish(id, false);
                }
                mount.map(|mount| (id, mount))
            })
            .collect();
        for (id, _) in &hierarchies {
            self.index.begin_walk(*id);
        }
        if hierarchies.is_empty() { None } else { Some(ScanJob { hierarchies }) }
    }

    /// Takes what a walk found.
    pub fn merge(&mut self, results: Vec<ScanResult>) {
        // Whatever was made or removed before the walk's end is to be known to the merge.
        self.catch_up_quietly();
        let now = boot_ns();
        for ScanResult { hierarchy, found } in results {
            let mut whole = false;
            match found {
                Ok((walked, report)) => {
                    whole = report.unreadable == 0;
                    if let Some(view) = self.views.get_mut(&hierarchy)
                        && let Some(note) = report.note()
                    {
                        view.note = Some(note);
                    }
                    let changes = self.index.merge_walk(hierarchy, walked, whole, now);
                    self.tell(changes);
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to walk a hierarchy");
                    self.index.abandon_walk(hierarchy);
                    if let Some(view) = self.views.get_mut(&hierarchy) {
                        view.note = Some(error.to_string());
                    }
                }
            }
            if self.walks.finish(hierarchy, whole) {
                self.heals += 1;
                let change = self.index.healed(now, Some(hierarchy));
                self.tell([change]);
            }
        }
        if self.walks.settled() {
            self.settled.notify_waiters();
        }
        // A walk holds every name once more.
        memory::give_back();
        self.nudge.notify_one();
    }

    /// Begins a comparison with every cgroupfs; run the job aside, then go on with [`compare`](Self::compare). Several may go
    /// on at a time; one that is dropped is given up.
    pub fn begin_verify(&mut self) -> (Verification, VerifyJob) {
        let verification = self.verifications.begin();
        self.catch_up_quietly();
        let mounts = self.views.iter().filter_map(|(id, view)| view.mount.clone().map(|mount| (*id, mount)));
        (verification, VerifyJob { mounts: mounts.collect() })
    }

    /// Gives a comparison what the walk found. Then [go on](Verification::go_on) with it until all is compared.
    pub fn compare(&mut self, verification: &mut Verification, walk: VerifyScan) {
        self.catch_up_quietly();
        verification.take(&self.index, walk);
    }

    /// Ends the comparison. `None`: a loss or a vanished hierarchy spoilt it; begin again.
    pub fn end_verify(&mut self, verification: Verification) -> Option<Verified> {
        let mut verified = verification.end()?;
        for (id, view) in &self.views {
            if view.mount.is_none() {
                verified.unread.push(format!("hierarchy {}: not mounted in this mount namespace", id.0));
            }
        }
        Some(verified)
    }
}
