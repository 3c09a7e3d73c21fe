//! What is said on the wire: one type for each of the interface's, with the same fields. What a field means
//! stands in [`INTERFACE`](crate::INTERFACE).

mod answer;
mod call;
mod event;
mod history;
mod printed;
mod status;

pub use answer::{Answer, Cgroup, Gap, Life, Moment, Row};
pub use call::{
    Await, Awaited, Call, Difference, List, ListReply, LookedUp, Lookup, MetricsReply, Reply, VerifyReply,
    Watch, WatchReply,
};
pub use event::{Event, Place, Task};
pub use history::{Exec, History, HistoryReply, Membership};
pub use printed::{ConfigChecked, EventLine, Lagged, LaggedKind, Unpinned};
pub use status::{HierarchyStatus, Limits, ProgramStatus, RingStatus, Status};
