//! What makes the daemon a well-behaved system service: few privileges, a service manager that knows how it is, a
//! socket that somebody else may have made.

mod notify;
mod privileges;
mod socket;

pub use notify::Supervisor;
pub use privileges::{Kept, NEEDS, Need, Until, drop_after_loading};
pub use socket::{InheritError, Sockets, inherited};
