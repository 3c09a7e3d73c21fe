//! Comparing the index with every cgroupfs while events go on.
//!
//! What changed while the scan ran can be seen either way by it, so it is left out: only a cgroup that the
//! index held unchanged from before the scan until after it, and one that it held at neither end, is compared.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    rc::{Rc, Weak},
};

use crate::daemon::index::{CgroupId, HierarchyId, Index, Instance, Key, Paused, ROOT, Scanned};
use cgtrace_host::hierarchy::{Budget, ScanError, ScanReport};

use super::scan::{ScanJob, ScanResult};

/// What a scan found, to compare with.
#[derive(Debug)]
pub struct VerifyScan {
    results: Vec<(HierarchyId, Result<Directories, ScanError>)>,
}

/// By their ids; and how the scan went.
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

/// A cgroup on which the index and the file system disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The cgroup.
    pub key: Key,
    /// Its path, as far as the index knows one.
    pub path: Option<Vec<u8>>,
    /// As the index has it; `None` if it has not.
    pub index: Option<Scanned>,
    /// As the scan found it, if it did.
    pub filesystem: Option<Scanned>,
}

/// How the comparison came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Cgroups compared.
    pub compared: u64,
    /// Hierarchies, or parts of them, that could not be read, with the reason.
    pub unreadable: Vec<String>,
    /// Where the two disagree.
    pub differences: Vec<Difference>,
}

/// The cgroups that changed since a verification began.
#[derive(Debug, Default)]
struct Touched {
    keys: HashSet<Key>,
    /// Records were lost or a hierarchy came or went: the comparison means nothing and is to be done again.
    invalid: bool,
}

/// The verifications that go on, as the tracker knows them: one ends when whoever makes it drops it.
#[derive(Debug, Default)]
pub struct Verifications(Vec<Weak<RefCell<Touched>>>);

impl Verifications {
    /// Begins one.
    pub fn begin(&mut self) -> Verification {
        let touched = Rc::default();
        self.0.retain(|going_on| going_on.strong_count() > 0);
        self.0.push(Rc::downgrade(&touched));
        Verification { touched, left: Vec::new(), report: VerifyReport::default() }
    }

    /// Notes that this cgroup was made, removed or renamed.
    pub fn touch(&self, key: Key) {
        self.each(|touched| {
            touched.keys.insert(key);
        });
    }

    /// Notes that no comparison that goes on means anything.
    pub fn invalidate(&self) {
        self.each(|touched| touched.invalid = true);
    }

    fn each(&self, note: impl Fn(&mut Touched)) {
        for touched in self.0.iter().filter_map(Weak::upgrade) {
            note(&mut touched.borrow_mut());
        }
    }
}

/// A comparison, made piece by piece while events go on.
#[derive(Debug)]
pub struct Verification {
    touched: Rc<RefCell<Touched>>,
    /// The hierarchies still to be compared, the next one last.
    left: Vec<Part>,
    report: VerifyReport,
}

/// One hierarchy's scan, compared with the index cgroup by cgroup.
#[derive(Debug)]
struct Part {
    hierarchy: HierarchyId,
    /// Where the index is to be read on.
    known: Paused,
    found: HashMap<CgroupId, Scanned>,
    /// A directory that could not be read hides what is below it; the report says so.
    hides: bool,
}

impl Verification {
    /// Takes what the scan found. Whatever had been made or removed before the scan's end is to be in the index.
    pub(super) fn take(&mut self, index: &Index, scan: VerifyScan) {
        for (hierarchy, found) in scan.results {
            match found {
                Ok((found, report)) => {
                    self.report.unreadable.extend(report.note());
                    let known = index.subtree(Key { hierarchy, id: ROOT }).pause();
                    self.left.push(Part { hierarchy, known, found, hides: report.unreadable > 0 });
                }
                Err(error) => self.report.unreadable.push(error.to_string()),
            }
        }
        self.left.reverse();
    }

    /// Compares so many cgroups with the index as it is now; whether that were all.
    pub fn proceed(&mut self, index: &Index, mut most: usize) -> bool {
        while let Some(mut part) = self.left.pop() {
            let mut known = index.resume(part.known);
            let touched = self.touched.borrow();
            while most > 0 && !known.is_over() {
                most -= 1;
                // `None`: this one has gone meanwhile.
                let Some((key, _)) = known.next() else { continue };
                let found = part.found.remove(&key.id);
                if key.id != ROOT && !touched.keys.contains(&key) {
                    self.report.compare(index, key, found, true, part.hides);
                }
            }
            if !known.is_over() {
                part.known = known.pause();
                drop(touched);
                self.left.push(part);
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

    /// How it came out. `None`: a loss or a vanished hierarchy invalid it; begin again.
    pub(super) fn end(self) -> Option<VerifyReport> {
        let Self { touched, mut report, .. } = self;
        let touched = touched.borrow();
        report.differences.retain(|difference| !touched.keys.contains(&difference.key));
        (!touched.invalid).then_some(report)
    }
}

impl VerifyReport {
    /// Compares what the index says of a cgroup with what the scan found of it. One that is not `reachable` from the
    /// root of the index differs in any case; where a part could not be read (`hides`), what was not found does not.
    fn compare(&mut self, index: &Index, key: Key, found: Option<Scanned>, reachable: bool, hides: bool) {
        self.compared += 1;
        let parent_and_leaf = |instance: Instance<'_>| Scanned {
            id: key.id,
            parent: instance.parent,
            leaf: instance.leaf.into(),
        };
        let known = index.instance(key).map(parent_and_leaf);
        let hidden = found.is_none() && hides;
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
    use crate::daemon::index::{Child, Event, Hierarchy, Leaf, PreviousLimits, Task, UNIFIED, What};

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
        let mut index = Index::new(PreviousLimits::default());
        index.add_hierarchy(&Hierarchy { id: UNIFIED, name: "v2".into() }, 1);
        for (id, leaf) in cgroups {
            let leaf = Leaf { bytes: leaf.as_bytes().into(), truncated: false };
            let what = What::Mkdir(Child { key: key(*id), parent: ROOT, level: 1, leaf, by: by() });
            index.apply(&Event { boot_ns: *id, what });
        }
        index
    }

    /// What is said of each difference: id, path, what the index believes, what the scan found. `meanwhile` happens after the
    /// first cgroup was compared.
    fn differences(
        index: &mut Index,
        found: Vec<Scanned>,
        meanwhile: impl FnOnce(&mut Index, &Verifications),
    ) -> Option<Vec<(u64, String, bool, bool)>> {
        let mut verifications = Verifications::default();
        let mut verification = verifications.begin();
        let found = (by_id(found), ScanReport::default());
        verification.take(index, VerifyScan { results: vec![(UNIFIED, Ok(found))] });
        // The root, and one more.
        verification.proceed(index, 2);
        meanwhile(index, &verifications);
        while !verification.proceed(index, 1) {}
        let differences = verification.end()?.differences.into_iter();
        let mut told: Vec<_> = differences
            .map(|Difference { key, path, index, filesystem }| {
                let path = path.map(|path| String::from_utf8_lossy(&path).into_owned());
                (key.id.0, path.unwrap_or_default(), index.is_some(), filesystem.is_some())
            })
            .collect();
        told.sort();
        Some(told)
    }

    #[test]
    fn each_difference_is_told_with_what_both_say() {
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
    fn what_changes_while_it_is_compared_is_no_difference() {
        // 11 comes first, so that it is compared before it changes; 13 and 14 are told of as found at the end.
        let mut index = index(&[(11, "a-gone"), (12, "b-goes"), (15, "c-gone")]);
        let found = vec![scanned(12, "b-goes"), scanned(13, "made"), scanned(14, "unknown")];
        let told = differences(&mut index, found, |index, verifications| {
            let leaf = Leaf { bytes: b"b-goes".as_slice().into(), truncated: false };
            let what = What::Rmdir(Child { key: key(12), parent: ROOT, level: 1, leaf, by: by() });
            index.apply(&Event { boot_ns: 20, what });
            for id in [11, 12, 13] {
                verifications.touch(key(id));
            }
        });
        let expected = [(14, "/unknown".to_owned(), false, true), (15, "/c-gone".to_owned(), true, false)];
        assert_eq!(told.unwrap(), expected);
    }

    #[test]
    fn what_a_loss_spoilt_means_nothing() {
        let mut index = index(&[(11, "gone")]);
        assert_eq!(differences(&mut index, Vec::new(), |_, verifications| verifications.invalidate()), None);
    }

    #[test]
    fn one_that_was_given_up_is_forgotten() {
        let mut verifications = Verifications::default();
        drop(verifications.begin());
        let going_on = verifications.begin();
        verifications.touch(key(7));
        assert_eq!(verifications.0.len(), 1);
        assert!(going_on.touched.borrow().keys.contains(&key(7)));
    }
}
