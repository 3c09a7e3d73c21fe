//! Deduplicates the [`Actor`]s of a task's successive actions, which would otherwise be stored with each
//! cgroup.

use std::hash::BuildHasher;
use std::rc::Rc;

use hashbrown::DefaultHashBuilder;

use super::event::{CgroupId, Task};
use super::instance::Actor;

/// Number of tasks and of cgroups cached. One that was evicted is stored again.
const SLOTS: u64 = 256;

/// The longest path of an actor's cgroup that is stored, in bytes. An unprivileged user can create many paths
/// of 160 KB.
pub(super) const MAX_PATH: usize = 4096;

/// A direct-mapped cache of the tasks seen last: each has one slot, and is evicted by the next one that maps
/// to it.
#[derive(Debug)]
pub(super) struct TaskCache {
    tasks: Vec<Option<Rc<Actor>>>,
    cgroups: Vec<Option<(CgroupId, Rc<[u8]>)>>,
    hasher: DefaultHashBuilder,
}

impl TaskCache {
    pub fn new() -> Self {
        let slots = usize::try_from(SLOTS).unwrap_or_default();
        Self { tasks: vec![None; slots], cgroups: vec![None; slots], hasher: DefaultHashBuilder::default() }
    }

    /// Returns the shared [`Actor`] of a task. Calls `path` only if the path of its cgroup is not cached.
    pub fn of(&mut self, task: &Task, path: impl FnOnce(CgroupId) -> Option<Rc<[u8]>>) -> Rc<Actor> {
        let slot = self.slot(task);
        let cgroup = self.cgroup(task.cgroup, path);
        let Some(entry) = self.tasks.get_mut(slot) else {
            return Rc::new(Actor { task: Rc::new(*task), cgroup });
        };
        match entry {
            Some(actor) if *actor.task == *task && actor.cgroup.is_some() == cgroup.is_some() => {
                Rc::clone(actor)
            }
            _ => Rc::clone(entry.insert(Rc::new(Actor { task: Rc::new(*task), cgroup }))),
        }
    }

    /// Drops every path: a cgroup of the default hierarchy was renamed or replaced.
    pub fn forget_paths(&mut self) {
        self.tasks.fill(None);
        self.cgroups.fill(None);
    }

    fn cgroup(&mut self, id: CgroupId, path: impl FnOnce(CgroupId) -> Option<Rc<[u8]>>) -> Option<Rc<[u8]>> {
        let slot = self.slot(&id);
        match self.cgroups.get(slot) {
            Some(Some((held, path))) if *held == id => Some(Rc::clone(path)),
            _ => {
                let path = path(id).filter(|path| path.len() <= MAX_PATH)?;
                if let Some(entry) = self.cgroups.get_mut(slot) {
                    *entry = Some((id, Rc::clone(&path)));
                }
                Some(path)
            }
        }
    }

    fn slot(&self, of: &impl std::hash::Hash) -> usize {
        usize::try_from(self.hasher.hash_one(of) % SLOTS).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(pid: u32, cgroup: u64) -> Task {
        Task {
            pid,
            tid: pid,
            ppid: 1,
            uid: 0,
            start_boot_ns: 7,
            cgroup: CgroupId(cgroup),
            comm: *b"runc\0\0\0\0\0\0\0\0\0\0\0\0",
        }
    }

    #[test]
    fn the_same_task_is_stored_once() {
        let mut task_cache = TaskCache::new();
        let first = task_cache.of(&task(1, 5), |_| Some(Rc::from(&b"/a"[..])));
        let second = task_cache.of(&task(1, 5), |_| panic!("it is cached"));
        assert!(Rc::ptr_eq(&first, &second));
        assert_eq!(first.cgroup.as_deref(), Some(&b"/a"[..]));
    }

    #[test]
    fn tasks_of_one_cgroup_share_its_path() {
        let mut task_cache = TaskCache::new();
        let first = task_cache.of(&task(1, 5), |_| Some(Rc::from(&b"/a"[..])));
        let other = task_cache.of(&task(2, 5), |_| None);
        assert_eq!(first.cgroup.as_ref().map(Rc::as_ptr), other.cgroup.as_ref().map(Rc::as_ptr));
    }

    #[test]
    fn an_unknown_path_is_looked_up_again() {
        let mut task_cache = TaskCache::new();
        let unknown = task_cache.of(&task(1, 5), |_| None);
        assert_eq!(unknown.cgroup, None);
        assert!(Rc::ptr_eq(&unknown, &task_cache.of(&task(1, 5), |_| None)));
        assert!(task_cache.of(&task(1, 5), |_| Some(Rc::from(&b"/a"[..]))).cgroup.is_some());
        task_cache.forget_paths();
        assert_eq!(task_cache.of(&task(1, 5), |_| None).cgroup, None);
    }

    #[test]
    fn its_size_is_fixed() {
        let mut task_cache = TaskCache::new();
        for pid in 0..10_000 {
            assert_eq!(task_cache.of(&task(pid, u64::from(pid)), |_| None).task.pid, pid);
        }
        assert_eq!(task_cache.tasks.len(), 256);
    }
}
