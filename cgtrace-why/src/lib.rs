//! Why a cgroup is not there: [`rules`] over facts, and [`gather`], which collects these facts with the authority of the
//! process that asks.

pub mod gather;
pub mod rules;
