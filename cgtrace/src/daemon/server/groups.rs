//! Those who follow, by what they want to be told: each distinct filter is held against a change once, however many
//! share it.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::{access::Access, pattern::Patterns, queue::Queue};
use crate::daemon::index::{Change, HierarchyId, Kind, Place};

/// What a subscriber asks for, in a form by which equal filters are found.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// Empty: all.
    pub patterns: BTreeSet<String>,
    /// Empty: all.
    pub kinds: BTreeSet<Kind>,
    /// Empty: all.
    pub hierarchies: BTreeSet<HierarchyId>,
}

/// What is wanted, ready to be held against changes.
#[derive(Debug)]
pub struct Filter {
    pub wanted: Wanted,
    pub patterns: Patterns,
}

impl Filter {
    pub fn matches(&self, change: &Change) -> bool {
        let kinds = &self.wanted.kinds;
        // What concerns the stream as a whole is told to everyone.
        if matches!(change.kind, Kind::Lost | Kind::Healed) && kinds.is_empty() {
            return true;
        }
        (kinds.is_empty() || kinds.contains(&change.kind))
            && change.place.as_ref().is_none_or(|place| self.wants(place.hierarchy))
            && self.matches_name(change)
    }

    /// Whether a hierarchy is among those asked for.
    pub fn wants(&self, hierarchy: HierarchyId) -> bool {
        self.wanted.hierarchies.is_empty() || self.wanted.hierarchies.contains(&hierarchy)
    }

    fn matches_name(&self, change: &Change) -> bool {
        let path = |place: &Place| self.patterns.matches(place.path.as_deref());
        match &change.place {
            // A rename concerns both names, a move both cgroups.
            Some(place) => path(place) || change.from.as_ref().is_some_and(path),
            None => true,
        }
    }
}

type Queues = BTreeMap<u64, Rc<Queue>>;

/// Those who want the same.
#[derive(Debug)]
struct Group {
    filter: Rc<Filter>,
    by_access: BTreeMap<Access, Queues>,
}

/// All who follow.
#[derive(Debug, Default)]
pub struct Groups {
    groups: BTreeMap<Wanted, Group>,
    count: usize,
    next: u64,
}

/// Whose queue it is.
#[derive(Clone, Debug)]
pub struct Ticket {
    filter: Rc<Filter>,
    access: Access,
    number: u64,
}

impl Groups {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether anybody is to be told that kind.
    pub fn want(&self, kind: Kind) -> bool {
        self.groups.keys().any(|wanted| wanted.kinds.is_empty() || wanted.kinds.contains(&kind))
    }

    /// The filter of those who want the same already.
    pub fn filter(&self, wanted: &Wanted) -> Option<Rc<Filter>> {
        self.groups.get(wanted).map(|group| Rc::clone(&group.filter))
    }

    pub fn add(&mut self, filter: &Rc<Filter>, access: Access, queue: &Rc<Queue>) -> Ticket {
        self.count += 1;
        self.next += 1;
        self.groups
            .entry(filter.wanted.clone())
            .or_insert_with(|| Group { filter: Rc::clone(filter), by_access: BTreeMap::new() })
            .by_access
            .entry(access)
            .or_default()
            .insert(self.next, Rc::clone(queue));
        Ticket { filter: Rc::clone(filter), access, number: self.next }
    }

    pub fn remove(&mut self, Ticket { filter, access, number }: &Ticket) {
        let Some(group) = self.groups.get_mut(&filter.wanted) else { return };
        if let Some(queues) = group.by_access.get_mut(access) {
            if queues.remove(number).is_some() {
                self.count -= 1;
            }
            if queues.is_empty() {
                group.by_access.remove(access);
            }
        }
        if group.by_access.is_empty() {
            self.groups.remove(&filter.wanted);
        }
    }

    /// The queues of those whom a change concerns, by what each may be told.
    pub fn concerned<'a>(&'a self, change: &'a Change) -> impl Iterator<Item = (Access, &'a Queues)> {
        self.groups
            .values()
            .filter(|group| group.filter.matches(change))
            .flat_map(|group| group.by_access.iter().map(|(access, queues)| (*access, queues)))
    }

    /// Every queue.
    pub fn queues(&self) -> impl Iterator<Item = &Rc<Queue>> {
        self.groups.values().flat_map(|group| group.by_access.values()).flat_map(BTreeMap::values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(kinds: &[Kind]) -> Rc<Filter> {
        let wanted = Wanted { kinds: kinds.iter().copied().collect(), ..Wanted::default() };
        Rc::new(Filter { wanted, patterns: Patterns::all() })
    }

    #[test]
    fn those_who_want_the_same_share_a_group_until_the_last_leaves() {
        let mut groups = Groups::default();
        let queue = Rc::new(Queue::default());
        let (mkdir, rmdir) = (filter(&[Kind::Mkdir]), filter(&[Kind::Rmdir]));
        let one = groups.add(&mkdir, Access::Full, &queue);
        let two = groups.add(&filter(&[Kind::Mkdir]), Access::Own(1), &queue);
        let three = groups.add(&rmdir, Access::Full, &queue);
        assert_eq!((groups.len(), groups.groups.len()), (3, 2));
        assert!(groups.want(Kind::Rmdir) && !groups.want(Kind::Release));
        assert!(groups.filter(&mkdir.wanted).is_some_and(|found| Rc::ptr_eq(&found, &mkdir)));
        groups.remove(&one);
        groups.remove(&one);
        assert_eq!((groups.len(), groups.groups.len()), (2, 2));
        groups.remove(&two);
        groups.remove(&three);
        let all = groups.add(&filter(&[]), Access::Full, &queue);
        assert!(groups.want(Kind::Release));
        groups.remove(&all);
        assert!(groups.is_empty() && groups.groups.is_empty());
    }
}
