//! The tracker owns the index and keeps it true: it attaches, walks, merges, catches up before every answer,
//! and heals after a loss. It feeds listeners; what they do with a change is not its business.
//!
//! All of it lives on one thread. What may block (a walk of a cgroupfs) is handed out as a job and comes back
//! as a value.

mod clock;
mod drive;
mod healing;
mod losses;
mod places;
mod resume;
mod state;
mod verify;
mod wakeups;
mod walk;

pub use clock::{Anchor, boot_ns};
pub use drive::{DriveError, drive};
pub use state::{HierarchyView, StartError, Tracker, Unavailable};
pub use verify::{Belief, Difference, Verification, Verified, VerifyJob, VerifyWalk};
pub use walk::{WalkJob, WalkResult};

use std::rc::Rc;

use crate::index::{Change, Index};

/// Who wants to hear of changes as they are applied.
pub trait Listener {
    /// One change, right after the index took it.
    fn changed(&mut self, change: &Rc<Change>, index: &Index, anchor: Anchor);
}
