//! What makes the daemon a well-behaved system service: few privileges, a service manager that knows how it is, a
//! socket that somebody else may have made, a log that the journal understands.

mod journal;
mod notify;
mod privileges;
mod socket;

pub use journal::{LogFormat, said_to_journal};
pub use notify::Supervisor;
pub use privileges::{Kept, NEEDS, Need, Until, drop_after_loading};
pub use socket::{InheritError, Sockets, inherited};
