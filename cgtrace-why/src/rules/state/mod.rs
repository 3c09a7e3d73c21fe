//! What a cgroup that exists says of itself: why it does not run, take processes or children, or go away.
//!
//! These causes do not hide the cgroup, so they follow `present`.

mod busy;
mod controllers;
mod delegation;
mod domain;
mod frozen;
mod left_over;
mod limits;
mod members;
mod summary;
mod unit_limits;

pub(super) use busy::busy;
pub(super) use controllers::{controller_not_enabled, enable};
pub(super) use delegation::not_delegated;
pub(super) use domain::{invalid_domain, threaded};
pub(super) use frozen::frozen;
pub(crate) use frozen::frozen_level;
pub(super) use left_over::{contains_no_process, empty, left_over_processes};
pub(super) use limits::limit_reached;
pub(super) use summary::summary;
pub(super) use unit_limits::differs_from_unit;

use super::{case::Case, shell, wording};
use crate::{
    facts::{CgroupState, Level},
    report::Remedy,
};

/// The threaded controllers (`cgroup_threaded_mask` in the kernel), which a cgroup with processes can enable for
/// its children: it becomes the root of a threaded subtree then.
const THREADED: [&str; 4] = ["cpu", "cpuset", "perf_event", "pids"];

/// The states of the cgroup itself, on the hierarchies that have it.
fn own_states<'a>(case: &Case<'a>) -> impl Iterator<Item = (&'a CgroupState, &'a Level)> {
    let existing = case.facts.states.iter().filter(|state| state.exists);
    existing.filter_map(|state| Some((state, state.levels.first()?)))
}

/// A cgroup's file as one word of a shell command line.
fn file(level: &Level, name: &str) -> String {
    shell::shell_bytes(&[level.directory.as_slice(), b"/", name.as_bytes()].concat())
}

/// A cgroup's directory as one word of a shell command line.
fn directory(level: &Level) -> String {
    shell::shell_bytes(&level.directory)
}

/// The command that writes a value to a cgroup's file.
fn write(value: &str, level: &Level, name: &str) -> String {
    format!("echo {value} > {}", file(level, name))
}

/// The command that ends the processes of a cgroup and of its descendants.
fn kill(level: &Level) -> String {
    if level.has_kill {
        return write("1", level, "cgroup.kill");
    }
    format!("kill -KILL $(find {} -name cgroup.procs -exec cat {{}} +)", directory(level))
}

/// A command, and what it is for.
fn purpose(text: &str, command: String) -> Remedy {
    Remedy::with(format!("{text}: {command}"), command)
}

/// A cgroup's path in quotes.
fn path(level: &Level) -> String {
    wording::quoted(&level.path)
}

/// The evidence `file of '/a' on v2: content`.
fn content(state: &CgroupState, level: &Level, name: &str, content: &str) -> String {
    format!("{name} of {} on {}: {}", path(level), wording::plain(&state.hierarchy), wording::plain(content))
}
