//! Why a cgroup is not there: [`rules`] over [`facts`]. The facts are gathered with the authority of the process that
//! calls [`ask()`], and joined with what a daemon recorded.

mod ask;
mod clock;
pub mod facts;
mod gather;
pub mod report;
pub mod rules;
mod show;

pub use ask::{AskError, Question, ask};
pub use gather::Who;
pub use rules::shell_word;
pub use show::{CgroupMembers, Member, Selector, Shown, show};
