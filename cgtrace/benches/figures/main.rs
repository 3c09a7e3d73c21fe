//! The benchmarks of cgtrace, as ratios within one run.
//!
//! Prints a table; `--json FILE` also writes JSON; arguments select groups of rows (`cost deep kernel seen
//! wake lookup index idle fan hostile attackers waiters why history`).

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures"
)]

mod answers;
mod attackers;
#[path = "../../../tests/hostile/flood.rs"]
mod flood;
mod floor;
mod helper;
mod history;
mod hostile;
mod index;
mod inotify;
mod kernel_time;
mod load;
mod peers;
mod placement;
mod report;
mod seen;
mod service;
mod statistics;
mod support;
mod tracing_cost;
mod waiters;
mod why;

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};

use report::Report;

type Group = (&'static str, fn(&mut Report) -> Result<()>);

const GROUPS: [Group; 14] = [
    ("cost", |report| tracing_cost::measure(report, 0)),
    ("deep", |report| tracing_cost::measure(report, 300)),
    ("kernel", kernel_time::measure),
    ("seen", seen::measure),
    ("wake", answers::wake),
    ("lookup", answers::lookup),
    ("index", index::first),
    ("idle", index::idle),
    ("fan", answers::fan_out),
    ("hostile", hostile::measure),
    ("attackers", attackers::measure),
    ("waiters", waiters::measure),
    ("why", why::measure),
    ("history", history::measure),
];

fn main() -> Result<()> {
    let mut json: Option<PathBuf> = None;
    let mut selected = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // cargo bench passes it to every harness.
            "--bench" => {}
            "--helper" => return helper::run(arguments),
            "--json" => json = Some(arguments.next().context("--json needs a file")?.into()),
            word if GROUPS.iter().any(|(name, _)| *name == word) => selected.push(word.to_owned()),
            other => {
                let names: Vec<&str> = GROUPS.iter().map(|(name, _)| *name).collect();
                bail!("no figures are called `{other}`; there are {}", names.join(" "));
            }
        }
    }
    if !rustix::process::geteuid().is_root() {
        bail!("the figures are measured on the real kernel: run as root");
    }
    peers::install();
    let mut report = Report::new();
    for (name, measure) in GROUPS {
        if selected.is_empty() || selected.iter().any(|word| word == name) {
            eprintln!("measuring {name}");
            if let Err(error) = measure(&mut report) {
                report.not_measured(name, format!("{error:#}"));
            }
        }
    }
    println!("{}", report.table());
    if let Some(file) = json {
        fs::write(&file, serde_json::to_vec_pretty(&report.json())?)
            .with_context(|| format!("failed to write {}", file.display()))?;
    }
    Ok(())
}
