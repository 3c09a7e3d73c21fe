//! The unit of the daemon.

use std::path::Path;

use cgtrace_client::wire::Check;
use cgtrace_why::facts::Unit;

use super::{START, fail, ok, warn};

/// What to do without the unit.
const INSTALL: &str = "install the package, or: sudo cgtrace daemon";

/// The unit.
const UNIT: &str = "cgtrace.service";

/// This directory exists if systemd is running (`sd_booted(3)`).
const BOOTED: &str = "/run/systemd/system";

/// The facts about the unit.
#[derive(Debug, Default)]
pub struct ServiceFacts {
    /// Whether systemd is running.
    booted: bool,
    unit: Option<Unit>,
    /// Why its state is not known.
    notes: Vec<String>,
}

impl ServiceFacts {
    pub fn gather() -> Self {
        let mut notes = Vec::new();
        let unit = cgtrace_why::unit(UNIT, &mut notes);
        Self { booted: Path::new(BOOTED).is_dir(), unit, notes }
    }
}

pub fn check(facts: &ServiceFacts, daemon: bool) -> Check {
    let installed = facts.unit.as_ref().filter(|unit| unit.load_state != "not-found");
    let Some(unit) = installed.filter(|_| facts.booted) else {
        let text =
            if facts.booted { "cgtrace.service is not installed" } else { "systemd does not run here" };
        return if daemon {
            ok("service", format!("{text}; the daemon runs without it"))
        } else {
            warn("service", text, if facts.booted { INSTALL } else { START })
        };
    };
    let file = if unit.file_state.is_empty() { "no install state" } else { &unit.file_state };
    let text = format!("{UNIT}: {} ({}), {file}", unit.active_state, unit.sub_state);
    if unit.load_state == "masked" {
        return fail("service", text, "sudo systemctl unmask cgtrace");
    }
    match unit.active_state.as_str() {
        "active" | "reloading" if matches!(file, "disabled" | "indirect") => warn(
            "service",
            format!("{text}: after a reboot, it does not run"),
            "sudo systemctl enable cgtrace",
        ),
        "active" | "reloading" => ok("service", text),
        "activating" | "deactivating" => warn("service", text, "systemctl status cgtrace"),
        "failed" => fail("service", text, "journalctl -u cgtrace"),
        "inactive" if daemon => warn(
            "service",
            format!("{text}; a daemon runs without it"),
            "stop it, then: sudo systemctl enable --now cgtrace",
        ),
        "inactive" => fail("service", text, "sudo systemctl enable --now cgtrace"),
        _ => warn("service", format!("{text}; {}", facts.notes.join("; ")), "systemctl status cgtrace"),
    }
}

#[cfg(test)]
mod tests {
    use cgtrace_client::wire::CheckResult::{Fail, Ok, Warn};

    use super::*;

    fn unit(load: &str, active: &str, file: &str) -> ServiceFacts {
        let unit = Unit {
            load_state: load.to_owned(),
            active_state: active.to_owned(),
            sub_state: "some".to_owned(),
            file_state: file.to_owned(),
            ..Unit::default()
        };
        ServiceFacts { booted: true, unit: Some(unit), notes: Vec::new() }
    }

    #[test]
    fn each_state_of_the_unit_has_its_next_step() {
        for (facts, daemon, result, next) in [
            (unit("loaded", "active", "enabled"), true, Ok, ""),
            (unit("loaded", "active", "disabled"), true, Warn, "systemctl enable"),
            (unit("loaded", "inactive", "enabled"), false, Fail, "enable --now"),
            (unit("loaded", "inactive", "enabled"), true, Warn, "stop it"),
            (unit("loaded", "failed", "enabled"), false, Fail, "journalctl"),
            (unit("loaded", "activating", "enabled"), false, Warn, "systemctl status"),
            (unit("loaded", "unknown", ""), false, Warn, "systemctl status"),
            (unit("masked", "inactive", "masked"), false, Fail, "unmask"),
            (unit("not-found", "inactive", ""), false, Warn, "sudo cgtrace daemon"),
            (unit("not-found", "inactive", ""), true, Ok, ""),
            (ServiceFacts::default(), false, Warn, "sudo cgtrace daemon"),
            (ServiceFacts::default(), true, Ok, ""),
        ] {
            let check = check(&facts, daemon);
            assert_eq!(check.result, result, "{facts:?}");
            assert!(check.next_step.unwrap_or_default().contains(next), "{facts:?}");
        }
    }
}
