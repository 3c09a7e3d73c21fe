//! What the daemon lost: records, runs of BPF programs, and what contradicted its index.

use cgtrace_client::wire::{Check, Status};

use super::{ok, warn};

pub fn checks(status: &Status) -> Vec<Check> {
    let lost: Vec<String> = status
        .rings
        .iter()
        .filter(|ring| ring.lost > 0)
        .map(|ring| format!("{} of the {} ring", ring.lost, ring.name))
        .collect();
    let missed: u64 = status.programs.iter().filter_map(|program| program.missed).sum();
    let mut checks = Vec::new();
    if !lost.is_empty() {
        checks.push(warn(
            "losses",
            format!("records lost: {}; {} resyncs", lost.join(", "), status.resyncs),
            "larger rings: lifecycle-ring and activity-ring in /etc/cgtrace/cgtrace.toml",
        ));
    }
    if missed > 0 {
        checks.push(warn(
            "losses",
            format!("{missed} runs of BPF programs missed"),
            "nothing: scans find what they would have reported; cgtrace status names the programs",
        ));
    }
    if status.anomalies > 0 {
        checks.push(warn(
            "losses",
            format!("{} anomalies: events that contradict the index", status.anomalies),
            "cgtrace verify; if it finds differences, please report them with the daemon's log",
        ));
    }
    if checks.is_empty() {
        checks.push(ok("losses", "no record lost, no run missed, no anomaly"));
    }
    checks
}

#[cfg(test)]
mod tests {
    use cgtrace_client::wire::{CheckResult, ProgramStatus, RingStatus};

    use super::*;

    #[test]
    fn each_loss_is_counted() {
        assert_eq!(checks(&Status::default())[0].result, CheckResult::Ok);
        let status = Status {
            rings: vec![RingStatus { name: "activity".to_owned(), lost: 9, ..RingStatus::default() }],
            programs: vec![ProgramStatus { missed: Some(2), ..ProgramStatus::default() }],
            anomalies: 1,
            ..Status::default()
        };
        let texts: Vec<String> = checks(&status).into_iter().map(|check| check.text).collect();
        assert_eq!(texts.len(), 3);
        assert!(texts[0].contains("9 of the activity ring") && texts[1].starts_with("2 runs"), "{texts:?}");
    }
}
