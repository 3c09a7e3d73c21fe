//! Comparing the index with every cgroupfs while events arrive.
//!
//! A scan may see either state of a cgroup that changes while it runs, so these are skipped: only a cgroup
//! that the index had unchanged throughout the scan, or had neither before nor after it, is compared.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    rc::{Rc, Weak},
};

use crate::daemon::index::{CgroupId, HierarchyId, Index, Instance, Key, Paused, ROOT, Scanned};
use cgtrace_host::hierarchy::{Budget, ScanError, ScanReport};

use super::scan::{ScanJob, ScanResult};

/// The result of a scan to compare with the index.
#[derive(Debug)]
pub struct VerifyScan {
    results: Vec<(HierarchyId, Result<Directories, ScanError>)>,
}

/// The scanned directories by id, and the scan's report.
type Directories = (HashMap<CgroupId, Scanned>, ScanReport);

impl VerifyScan {
    /// Scans every hierarchy of the job. It blocks: run it on the [`ScanThread`](super::ScanThread).
    #[must_use]
    pub fn run(job: ScanJob, budget: &mut Budget) -> Self {
        let results = job.run(budget).into_iter().map(|ScanResult { hierarchy, found }| {
            (hierarchy, found.map(|(scanned, report)| (by_id(scanned), report)))
        });
        Self { results: results.collect() }
    }
}

fn by_id(scanned: Vec<Scanned>) -> HashMap<CgroupId, Scanned> {
    scanned.into_iter().map(|directory| (directory.id, directory)).collect()
}

/// A cgroup on which the index and the file system differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The cgroup.
    pub key: Key,
    /// Its path, if the index has one.
    pub path: Option<Vec<u8>>,
    /// As in the index; `None` if it is not there.
    pub index: Option<Scanned>,
    /// As the scan found it; `None` if it did not.
    pub filesystem: Option<Scanned>,
}

/// The result of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Cgroups compared.
    pub compared: u64,
    /// Hierarchies, or parts of them, that could not be read, with the reason.
    pub unreadable: Vec<String>,
    /// The cgroups that differ.
    pub differences: Vec<Difference>,
}

/// The cgroups that changed since a comparison began.
#[derive(Debug, Default)]
struct Touched {
    keys: HashSet<Key>,
    /// Records were lost, or a hierarchy was created or destroyed: the comparison must be repeated.
    invalid: bool,
}

/// The comparisons in progress. One ends when it is dropped.
#[derive(Debug, Default)]
pub struct Verifications(Vec<Weak<RefCell<Touched>>>);

impl Verifications {
    /// Begins a comparison.
    pub fn begin(&mut self) -> Verification {
        let touched = Rc::default();
        self.0.retain(|in_progress| in_progress.strong_count() > 0);
        self.0.push(Rc::downgrade(&touched));
        Verification { touched, remaining: Vec::new(), report: VerifyReport::default() }
    }

    /// Records that a cgroup was created, removed or renamed.
    pub fn touch(&self, key: Key) {
        self.each(|touched| {
            touched.keys.insert(key);
        });
    }

    /// Invalidates every comparison in progress.
    pub fn invalidate(&self) {
        self.each(|touched| touched.invalid = true);
    }

    fn each(&self, note: impl Fn(&mut Touched)) {
        for touched in self.0.iter().filter_map(Weak::upgrade) {
            note(&mut touched.borrow_mut());
        }
    }
}

/// A comparison, made in steps while events arrive.
#[derive(Debug)]
pub struct Verification {
    touched: Rc<RefCell<Touched>>,
    /// The hierarchies still to be compared, the next one last.
    remaining: Vec<PendingHierarchy>,
    report: VerifyReport,
}

/// The scan of one hierarchy, compared with the index cgroup by cgroup.
#[derive(Debug)]
struct PendingHierarchy {
    hierarchy: HierarchyId,
    /// The position in the index.
    known: Paused,
    found: HashMap<CgroupId, Scanned>,
    /// A directory was unreadable, so that its descendants were not found.
    incomplete: bool,
}

impl Verification {
    /// Adds the result of the scan. The index must be caught up to the end of the scan.
    pub(super) fn add_scan(&mut self, index: &Index, scan: VerifyScan) {
        for (hierarchy, found) in scan.results {
            match found {
                Ok((found, report)) => {
                    self.report.unreadable.extend(report.note());
                    let known = index.subtree(Key { hierarchy, id: ROOT }).pause();
                    self.remaining.push(PendingHierarchy {
                        hierarchy,
                        known,
                        found,
                        incomplete: report.unreadable > 0,
                    });
                }
                Err(error) => self.report.unreadable.push(error.to_string()),
            }
        }
        self.remaining.reverse();
    }

    /// Compares up to `max` cgroups with the current index. Returns whether the comparison is complete.
    pub fn proceed(&mut self, index: &Index, mut max: usize) -> bool {
        while let Some(mut part) = self.remaining.pop() {
            let mut known = index.resume(part.known);
            let touched = self.touched.borrow();
            while max > 0 && !known.is_over() {
                max -= 1;
                // `None`: it was removed meanwhile.
                let Some((key, _)) = known.next() else { continue };
                let found = part.found.remove(&key.id);
                if key.id != ROOT && !touched.keys.contains(&key) {
                    self.report.compare(index, key, found, true, part.incomplete);
                }
            }
            if !known.is_over() {
                part.known = known.pause();
                drop(touched);
                self.remaining.push(part);
                return false;
            }
            for (id, found) in part.found {
                let key = Key { hierarchy: part.hierarchy, id };
                if id != ROOT && !touched.keys.contains(&key) {
                    self.report.compare(index, key, Some(found), false, false);
                }
            }
        }
        true
    }

    /// Returns the result; `None` if a loss or a destroyed hierarchy invalidated it: begin again.
    pub(super) fn end(self) -> Option<VerifyReport> {
        let Self { touched, mut report, .. } = self;
        let touched = touched.borrow();
        report.differences.retain(|difference| !touched.keys.contains(&difference.key));
        (!touched.invalid).then_some(report)
    }
}

impl VerifyReport {
    /// Compares a cgroup in the index with the scan's. One that is not `reachable` from the index's root
    /// always differs; if the scan is `incomplete`, one that it did not find does not.
    fn compare(
        &mut self,
        index: &Index,
        key: Key,
        found: Option<Scanned>,
        reachable: bool,
        incomplete: bool,
    ) {
        self.compared += 1;
        let parent_and_leaf = |instance: Instance<'_>| Scanned {
            id: key.id,
            parent: instance.parent,
            leaf: instance.leaf.into(),
        };
        let known = index.instance(key).map(parent_and_leaf);
        let hidden = found.is_none() && incomplete;
        if !reachable || known != found && !hidden {
            let path = match &found {
                Some(found) if !reachable => index
                    .path(Key { id: found.parent, ..key })
                    .map(|above| [above.strip_suffix(b"/").unwrap_or(&above), b"/", &found.leaf].concat()),
                _ => index.path(key),
            };
            self.differences.push(Difference { key, path, index: known, filesystem: found });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::index::{Child, Event, Hierarchy, Leaf, Task, UNIFIED, What};

    fn key(id: u64) -> Key {
        Key { hierarchy: UNIFIED, id: CgroupId(id) }
    }

    fn by() -> Task {
        Task { pid: 1, tid: 1, ppid: 0, uid: 0, start_boot_ns: 0, cgroup: ROOT, comm: [0; 16] }
    }

    fn scanned(id: u64, leaf: &str) -> Scanned {
        Scanned { id: CgroupId(id), parent: ROOT, leaf: leaf.as_bytes().into() }
    }

    fn index(cgroups: &[(u64, &str)]) -> Index {
        let mut index = Index::new();
        index.add_hierarchy(&Hierarchy { id: UNIFIED, name: "v2".into() }, 1);
        for (id, leaf) in cgroups {
            let leaf = Leaf { bytes: leaf.as_bytes().into(), truncated: false };
            let what = What::Mkdir(Child { key: key(*id), parent: ROOT, level: 1, leaf, by: by() });
            index.apply(&Event { boot_ns: *id, what });
        }
        index
    }

    /// Returns the differences: id, path, whether in the index, whether in the file system. `meanwhile` runs
    /// after the first cgroup was compared.
    fn differences(
        index: &mut Index,
        found: Vec<Scanned>,
        meanwhile: impl FnOnce(&mut Index, &Verifications),
    ) -> Option<Vec<(u64, String, bool, bool)>> {
        let mut verifications = Verifications::default();
        let mut verification = verifications.begin();
        let found = (by_id(found), ScanReport::default());
        verification.add_scan(index, VerifyScan { results: vec![(UNIFIED, Ok(found))] });
        // The root and one more.
        verification.proceed(index, 2);
        meanwhile(index, &verifications);
        while !verification.proceed(index, 1) {}
        let differences = verification.end()?.differences.into_iter();
        let mut found: Vec<_> = differences
            .map(|Difference { key, path, index, filesystem }| {
                let path = path.map(|path| String::from_utf8_lossy(&path).into_owned());
                (key.id.0, path.unwrap_or_default(), index.is_some(), filesystem.is_some())
            })
            .collect();
        found.sort();
        Some(found)
    }

    #[test]
    fn each_difference_is_reported_with_both_states() {
        let mut index = index(&[(10, "same"), (11, "gone"), (12, "old-name")]);
        let found = vec![scanned(10, "same"), scanned(12, "new-name"), scanned(13, "unknown")];
        assert_eq!(
            differences(&mut index, found, |_, _| {}).unwrap(),
            [
                (11, "/gone".to_owned(), true, false),
                (12, "/old-name".to_owned(), true, true),
                (13, "/unknown".to_owned(), false, true),
            ]
        );
    }

    #[test]
    fn a_concurrent_change_is_no_difference() {
        // 11 is compared before it changes; 13 and 14 are reported at the end, as found by the scan only.
        let mut index = index(&[(11, "a-gone"), (12, "b-goes"), (15, "c-gone")]);
        let found = vec![scanned(12, "b-goes"), scanned(13, "new"), scanned(14, "unknown")];
        let found = differences(&mut index, found, |index, verifications| {
            let leaf = Leaf { bytes: b"b-goes".as_slice().into(), truncated: false };
            let what = What::Rmdir(Child { key: key(12), parent: ROOT, level: 1, leaf, by: by() });
            index.apply(&Event { boot_ns: 20, what });
            for id in [11, 12, 13] {
                verifications.touch(key(id));
            }
        });
        let expected = [(14, "/unknown".to_owned(), false, true), (15, "/c-gone".to_owned(), true, false)];
        assert_eq!(found.unwrap(), expected);
    }

    #[test]
    fn a_loss_invalidates_the_comparison() {
        let mut index = index(&[(11, "gone")]);
        assert_eq!(differences(&mut index, Vec::new(), |_, verifications| verifications.invalidate()), None);
    }

    #[test]
    fn a_dropped_comparison_is_forgotten() {
        let mut verifications = Verifications::default();
        drop(verifications.begin());
        let in_progress = verifications.begin();
        verifications.touch(key(7));
        assert_eq!(verifications.0.len(), 1);
        assert!(in_progress.touched.borrow().keys.contains(&key(7)));
    }
}
