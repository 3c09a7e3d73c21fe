//! Explains why a cgroup is absent, or why a process does not see it: [`rules`] evaluated over [`facts`].
//! [`ask()`] gathers the facts with the privileges of the calling process and adds what a daemon recorded.

mod ask;
mod clock;
pub mod facts;
pub mod format;
mod gather;
pub mod instances;
pub mod report;
mod resolve;
pub mod rules;
mod show;

pub use ask::{AskError, Question, ask};
pub use facts::Member;
pub use gather::{ObserverSelector, unit};
pub use resolve::{
    Found, KnownPath, KnownPaths, Log, LogMention, NameError, Resolution, Resolved, Resolver, WithResolution,
    is_v2_controller,
};
pub use rules::shell_word;
pub use show::{CgroupMembers, CgroupSelector, ShowReport, show};
