//! Which process moved another one, and on whose behalf.

use cgtrace_client::wire::{Event, Task};
use cgtrace_paths::ParsedPath;

use super::wording;

/// Who moved a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mover<'a> {
    /// It is not known.
    Unknown,
    /// The moved process itself.
    Itself,
    /// The service manager, for a unit: its child, before it executes the unit's program.
    Manager { unit: String },
    /// Another process.
    Other(&'a Task),
}

impl<'a> Mover<'a> {
    pub fn of(event: &'a Event) -> Self {
        let Some(by) = &event.by else { return Self::Unknown };
        if let Some(unit) = child_of_manager(by, event.path.as_deref()) {
            return Self::Manager { unit };
        }
        if event.task.as_ref().is_some_and(|task| task.pid == by.pid) {
            Self::Itself
        } else {
            Self::Other(by)
        }
    }

    /// Whether it is a service manager, or acts for one.
    pub fn is_manager(&self) -> bool {
        match self {
            Self::Manager { .. } => true,
            Self::Other(by) => is_service_manager(by),
            Self::Unknown | Self::Itself => false,
        }
    }
}

/// Whether this is root's process of that name.
pub(super) fn is_service_manager(task: &Task) -> bool {
    task.comm == "systemd" && task.uid == Some(0)
}

/// The unit for which a service manager's child moves a process. Until it executes the unit's program, the child's
/// comm is the program's name in parentheses (`rename_process_from_path` in systemd), and it is root's, or that of
/// the user whose service manager it is. It attaches itself to the unit's cgroup, to which the service manager has
/// attached it before.
fn child_of_manager(by: &Task, to: Option<&str>) -> Option<String> {
    if !(by.comm.len() > 2 && by.comm.starts_with('(') && by.comm.ends_with(')')) {
        return None;
    }
    let ParsedPath { unit, user_unit, .. } = cgtrace_paths::parse(to?.as_bytes());
    match (by.uid, user_unit, unit) {
        (Some(0), user_unit, unit) => user_unit.or(unit),
        (Some(uid), Some(user_unit), Some(manager)) if manager == format!("user@{uid}.service") => {
            Some(user_unit)
        }
        _ => None,
    }
}

/// The process that moved another one, as evidence: ` by …`; empty if it is not known.
pub(super) fn by(event: &Event) -> String {
    match Mover::of(event) {
        Mover::Manager { unit } => format!(
            " by systemd, for the unit {}, as {} before it executes the unit's program",
            wording::plain(&unit),
            event.by.as_ref().map(wording::task).unwrap_or_default()
        ),
        _ => wording::by(event.by.as_ref()),
    }
}

#[cfg(test)]
mod tests {
    use cgtrace_client::wire::Timestamp;

    use super::*;

    fn moved(by: (u32, &str, u32), to: &str) -> Event {
        let task =
            |pid, comm: &str, uid| Task { pid, comm: comm.to_owned(), uid: Some(uid), ..Task::default() };
        let at = Timestamp::default();
        Event {
            time: at.time,
            path: Some(to.to_owned()),
            task: Some(task(7, "(my_proc)", by.2)),
            by: Some(task(by.0, by.1, by.2)),
            ..Event::default()
        }
    }

    #[test]
    fn a_child_of_the_service_manager_acts_for_the_unit() {
        let unit = "/system.slice/test.service";
        let of = |by, to| Mover::of(&moved(by, to)) == Mover::Manager { unit: "test.service".to_owned() };
        assert!(of((7, "(my_proc)", 0), unit));
        let user = "/user.slice/user-9.slice/user@9.service/app.slice/test.service";
        assert!(of((7, "(my_proc)", 9), user));
        // Any user can choose such a name.
        assert!(!of((7, "(my_proc)", 9), unit) && !of((7, "(my_proc)", 8), user));
        assert!(!of((7, "my_proc", 0), unit) && !of((7, "(my_proc)", 0), "/elsewhere"));
        assert_eq!(Mover::of(&moved((7, "my_proc", 0), unit)), Mover::Itself);
        assert!(Mover::of(&moved((1, "systemd", 0), unit)).is_manager());
        assert!(!Mover::of(&moved((2, "systemd", 9), unit)).is_manager());
    }
}
