//! Integration with the service manager: dropping privileges, `sd_notify(3)`, and socket activation.

mod notify;
mod privileges;
mod socket;

pub use notify::Supervisor;
pub use privileges::{NEEDS, Need, RetainedCapabilities, Until, drop_after_loading};
pub use socket::{InheritError, Sockets, inherited};
