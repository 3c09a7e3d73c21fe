//! The subscribers of one socket. Subscribers with equal filters share a group, so that each filter is
//! evaluated once.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use super::{
    filter::{Criteria, Filter},
    queue::Queue,
};
use crate::daemon::index::Kind;

/// The subscribers with equal filters.
#[derive(Debug)]
pub struct FilterGroup {
    pub filter: Rc<Filter>,
    queues: RefCell<BTreeMap<u64, Rc<Queue>>>,
}

impl FilterGroup {
    /// Calls a function with each subscriber's queue.
    pub fn each(&self, visit: impl FnMut(&Rc<Queue>)) {
        self.queues.borrow().values().for_each(visit);
    }
}

/// All subscribers of a socket.
#[derive(Debug, Default)]
pub struct Subscribers {
    groups: BTreeMap<Criteria, Rc<FilterGroup>>,
    count: usize,
    next: u64,
}

/// Identifies a subscriber.
#[derive(Clone, Debug)]
pub struct Ticket {
    filter: Rc<Filter>,
    number: u64,
}

impl Subscribers {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether any subscriber selects a kind.
    pub fn selects(&self, kind: Kind) -> bool {
        self.groups.values().any(|group| group.filter.selects_kind(kind))
    }

    pub fn groups(&self) -> impl Iterator<Item = &Rc<FilterGroup>> {
        self.groups.values()
    }

    pub fn add(&mut self, filter: &Rc<Filter>, queue: &Rc<Queue>) -> Ticket {
        self.count += 1;
        self.next += 1;
        let group = self.groups.entry(filter.criteria.clone()).or_insert_with(|| {
            Rc::new(FilterGroup { filter: Rc::clone(filter), queues: RefCell::default() })
        });
        group.queues.borrow_mut().insert(self.next, Rc::clone(queue));
        Ticket { filter: Rc::clone(filter), number: self.next }
    }

    pub fn remove(&mut self, Ticket { filter, number }: &Ticket) {
        let Some(group) = self.groups.get(&filter.criteria) else { return };
        if group.queues.borrow_mut().remove(number).is_some() {
            self.count -= 1;
        }
        let is_empty = group.queues.borrow().is_empty();
        if is_empty {
            self.groups.remove(&filter.criteria);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::server::events::pattern::Patterns;

    fn filter(kinds: &[Kind]) -> Rc<Filter> {
        let criteria = Criteria { kinds: kinds.iter().copied().collect(), ..Criteria::default() };
        Rc::new(Filter { criteria, patterns: Patterns::all() })
    }

    #[test]
    fn equal_filters_share_a_group_until_the_last_leaves() {
        let mut subscribers = Subscribers::default();
        let queue = Rc::new(Queue::new(0, None));
        let one = subscribers.add(&filter(&[Kind::Mkdir]), &queue);
        let two = subscribers.add(&filter(&[Kind::Mkdir]), &queue);
        let three = subscribers.add(&filter(&[Kind::Rmdir]), &queue);
        assert_eq!((subscribers.len(), subscribers.groups.len()), (3, 2));
        assert!(subscribers.selects(Kind::Rmdir) && !subscribers.selects(Kind::Release));
        subscribers.remove(&one);
        subscribers.remove(&one);
        assert_eq!((subscribers.len(), subscribers.groups.len()), (2, 2));
        subscribers.remove(&two);
        subscribers.remove(&three);
        let all = subscribers.add(&filter(&[]), &queue);
        assert!(subscribers.selects(Kind::Release));
        subscribers.remove(&all);
        assert!(subscribers.is_empty() && subscribers.groups.is_empty());
    }
}
