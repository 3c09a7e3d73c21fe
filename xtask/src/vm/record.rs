//! What machines came to before, so that one of them can be run again and the table be written whole.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    Mode,
    kernels::{MATRIX, Series},
    machine::Ran,
    table::{Cell, Table},
};
use crate::{command::output, lab};

fn file(series: Series, mode: Mode) -> Result<PathBuf> {
    let folder = lab::folder()?.join("vm-records");
    fs::create_dir_all(&folder)?;
    Ok(folder.join(format!("{}-{}.json", series.name, mode.word())))
}

fn keep(series: Series, mode: Mode, mut record: Value) -> Result<()> {
    record["date"] = output("date", &["-u", "+%Y-%m-%d"]).unwrap_or_default().into();
    let file = file(series, mode)?;
    fs::write(&file, record.to_string()).with_context(|| format!("failed to write {}", file.display()))
}

/// Keeps a boot, and which part of the tests it was.
pub fn ran(series: Series, mode: Mode, kernel: &str, part: &str, ran: &Ran) -> Result<()> {
    let Ran { console, took, timed_out, passes } = ran;
    let record = json!({
        "kernel": kernel, "console": console, "seconds": took.as_secs(), "timed_out": timed_out, "passes": passes,
        "part": part,
    });
    keep(series, mode, record)
}

/// Keeps that one could not be booted.
pub fn skipped(series: Series, mode: Mode, kernel: &str, why: &str) -> Result<()> {
    keep(series, mode, json!({ "kernel": kernel, "why": why }))
}

/// The newest of every machine of the matrix, as far as it was run here.
pub fn all() -> Result<Table> {
    let mut table = Table::default();
    for series in MATRIX {
        for mode in Mode::ALL {
            let Ok(text) = fs::read_to_string(file(series, mode)?) else { continue };
            let record: Value =
                serde_json::from_str(&text).context("a record of target/lab/vm-records is broken")?;
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
            let ran = Ran {
                console: word("console"),
                took: Duration::from_secs(number("seconds")),
                timed_out: record["timed_out"] == true,
                passes: usize::try_from(number("passes")).unwrap_or(0),
            };
            Cell::of(&word("kernel"), mode, ran)
        }
    };
    (cell.date, cell.part) = (word("date"), word("part"));
    cell
}
