//! Stored results of machines, so that a single one can be run again and the table is still complete.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    Mode,
    kernels::{MATRIX, Series},
    machine::BootResult,
    table::{Cell, Table},
};
use crate::{command::output, lab};

fn file(series: Series, mode: Mode) -> Result<PathBuf> {
    let folder = lab::folder()?.join("vm-records");
    fs::create_dir_all(&folder)?;
    Ok(folder.join(format!("{}-{}.json", series.name, mode.as_str())))
}

fn store(series: Series, mode: Mode, mut record: Value) -> Result<()> {
    record["date"] = output("date", &["-u", "+%Y-%m-%d"]).unwrap_or_default().into();
    let file = file(series, mode)?;
    fs::write(&file, record.to_string()).with_context(|| format!("failed to write {}", file.display()))
}

/// Stores a boot, and which part of the tests ran.
pub fn booted(series: Series, mode: Mode, kernel: &str, part: &str, result: &BootResult) -> Result<()> {
    let BootResult { console, took, timed_out, passes } = result;
    let record = json!({
        "kernel": kernel, "console": console, "seconds": took.as_secs(), "timed_out": timed_out, "passes": passes,
        "part": part,
    });
    store(series, mode, record)
}

/// Stores that a machine could not be booted.
pub fn skipped(series: Series, mode: Mode, kernel: &str, why: &str) -> Result<()> {
    store(series, mode, json!({ "kernel": kernel, "why": why }))
}

/// The latest result of every machine of the matrix that ran here.
pub fn all() -> Result<Table> {
    let mut table = Table::default();
    for series in MATRIX {
        for mode in Mode::ALL {
            let Ok(text) = fs::read_to_string(file(series, mode)?) else { continue };
            let record: Value =
                serde_json::from_str(&text).context("invalid record in target/lab/vm-records")?;
            table.add(cell(mode, &record));
        }
    }
    Ok(table)
}

fn cell(mode: Mode, record: &Value) -> Cell {
    let word = |field: &str| record[field].as_str().unwrap_or_default().to_owned();
    let number = |field: &str| record[field].as_u64().unwrap_or(0);
    let mut cell = match record["why"].as_str() {
        Some(why) => Cell::skipped(&word("kernel"), mode, why),
        None => {
            let result = BootResult {
                console: word("console"),
                took: Duration::from_secs(number("seconds")),
                timed_out: record["timed_out"] == true,
                passes: usize::try_from(number("passes")).unwrap_or(0),
            };
            Cell::of(&word("kernel"), mode, result)
        }
    };
    (cell.date, cell.part) = (word("date"), word("part"));
    cell
}
