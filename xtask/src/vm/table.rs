//! The results of the machines, one row per kernel and mode.

use std::{fmt, fs, time::Duration};

use anyhow::{Context, Result};

use super::{
    Mode,
    machine::{BootResult, DIED},
    skips::Skips,
};
use crate::{
    command::workspace,
    test::{Count, closing},
};

/// The outcome of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every test that ran passed.
    Green,
    /// A test failed, or the machine did not finish.
    Red(String),
    /// The machine could not run here.
    Skipped(String),
}

/// A kernel in a mode.
#[derive(Debug)]
pub struct Cell {
    kernel: String,
    mode: &'static str,
    count: Count,
    /// Seconds until PID 1 started the tests.
    boot: Option<f64>,
    took: Duration,
    verified: Option<Verified>,
    /// The date of the boot, if it is part of the table.
    pub date: String,
    /// The part of the tests that ran.
    pub part: String,
    pub outcome: Outcome,
    pub console: String,
}

/// What the kernel's verifier reports on the programs.
#[derive(Clone, Copy, Debug)]
struct Verified {
    /// Instructions that it checked, over all programs; since Linux 5.16.
    instructions: Option<u64>,
    /// Bytes of machine code, over all programs.
    jited_bytes: u64,
}

impl Cell {
    /// The cell of a boot.
    pub fn of(kernel: &str, mode: Mode, result: BootResult) -> Self {
        let BootResult { console, took, timed_out, passes } = result;
        let ended: Vec<Count> = console.lines().filter_map(closing).collect();
        let mut count = Count::default();
        for pass in &ended {
            count.passed += pass.passed;
            count.failed += pass.failed;
            count.skipped += pass.skipped;
        }
        let word = |mark: &str| console.lines().find_map(|line| line.strip_prefix(mark)).map(str::trim);
        let outcome = match word("@@EXIT ") {
            _ if count.failed > 0 => Outcome::Red(format!("{} failed", count.failed)),
            Some("0") if ended.len() == passes && count.passed > 0 => Outcome::Green,
            _ if timed_out => Outcome::Red("timed out".to_owned()),
            _ => Outcome::Red("ended without a result".to_owned()),
        };
        Self {
            kernel: kernel.to_owned(),
            mode: mode.as_str(),
            count,
            boot: word("@@BEGIN ").and_then(|up| up.parse().ok()),
            took,
            verified: console.lines().find_map(verified),
            date: String::new(),
            part: String::new(),
            outcome,
            console,
        }
    }

    /// The cell of a machine that cannot run here, for example without a kernel on the mirror.
    pub fn skipped(kernel: &str, mode: Mode, why: &str) -> Self {
        Self {
            kernel: kernel.to_owned(),
            mode: mode.as_str(),
            count: Count::default(),
            boot: None,
            took: Duration::ZERO,
            verified: None,
            date: String::new(),
            part: String::new(),
            outcome: Outcome::Skipped(why.to_owned()),
            console: String::new(),
        }
    }

    /// The failures that the harness reported, otherwise the last lines of the console.
    pub fn failures(&self) -> Vec<&str> {
        let lines: Vec<&str> = self.console.lines().collect();
        if self.count.failed == 0 {
            return lines.into_iter().rev().take(15).rev().collect();
        }
        let heads = (0..lines.len()).filter(|at| lines[*at].starts_with("---- "));
        heads.flat_map(|at| lines.iter().skip(at).take(6).copied()).collect()
    }

    fn columns(&self) -> [String; 9] {
        let Count { passed, failed, skipped } = self.count;
        let result = match &self.outcome {
            Outcome::Green => match self.console.lines().filter(|line| line.starts_with(DIED)).count() {
                0 => "green".to_owned(),
                died => format!("green, at boot {}", died + 1),
            },
            Outcome::Red(why) | Outcome::Skipped(why) => why.clone(),
        };
        let none = || "–".to_owned();
        let verified = |of: fn(&Verified) -> Option<u64>| {
            self.verified.as_ref().and_then(of).map_or_else(none, |number| number.to_string())
        };
        [
            self.kernel.clone(),
            self.mode.to_owned(),
            passed.to_string(),
            failed.to_string(),
            skipped.to_string(),
            self.boot.map_or_else(none, |boot| format!("{boot:.1}")),
            verified(|verified| verified.instructions),
            verified(|verified| Some(verified.jited_bytes)),
            result,
        ]
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [kernel, mode, passed, failed, skipped, _, _, _, result] = self.columns();
        let took = self.took.as_secs();
        write!(
            f,
            "{kernel} {mode}: {passed} passed, {failed} failed, {skipped} skipped in {took} s: {result}"
        )
    }
}

/// Parses `@@STATUS`, followed by the output of `cgtrace status --json`.
fn verified(line: &str) -> Option<Verified> {
    let status: serde_json::Value = serde_json::from_str(line.strip_prefix("@@STATUS ")?).ok()?;
    let programs = status["programs"].as_array()?;
    let sum = |field: &str| -> Option<u64> {
        programs
            .iter()
            .filter(|program| program["attached"] == true)
            .map(|program| program[field].as_u64())
            .sum()
    };
    Some(Verified {
        // A kernel that does not count them reports 0.
        instructions: sum("instructions").filter(|instructions| *instructions > 0),
        jited_bytes: sum("jited_bytes")?,
    })
}

/// All cells.
#[derive(Debug, Default)]
pub struct Table {
    cells: Vec<Cell>,
}

const HEADER: [&str; 9] = [
    "kernel",
    "cgroups",
    "passed",
    "failed",
    "skipped",
    "boot s",
    "instructions verified",
    "jited bytes",
    "result",
];

impl Table {
    pub fn add(&mut self, cell: Cell) {
        self.cells.push(cell);
    }

    /// Whether anything failed.
    pub fn is_red(&self) -> bool {
        self.cells.iter().any(|cell| matches!(cell.outcome, Outcome::Red(_)))
    }

    /// Whether anything ran.
    pub fn has_run(&self) -> bool {
        self.cells.iter().any(|cell| !matches!(cell.outcome, Outcome::Skipped(_)))
    }

    /// The sum over all machines. A machine that did not finish counts as a failed test, one that could not
    /// run as a skipped one.
    pub fn count(&self) -> Count {
        let mut total = Count::default();
        for cell in &self.cells {
            total.passed += cell.count.passed;
            total.failed += cell.count.failed;
            total.skipped += cell.count.skipped;
            match &cell.outcome {
                Outcome::Red(_) if cell.count.failed == 0 => total.failed += 1,
                Outcome::Skipped(_) => total.skipped += 1,
                _ => {}
            }
        }
        total
    }

    /// The count as one line.
    pub fn closing(&self) -> String {
        let Count { passed, failed, skipped } = self.count();
        format!("{passed} passed, {failed} failed, {skipped} skipped")
    }

    /// Writes the table to `docs/internals/compatibility.md`, between its markers.
    pub fn write(&self) -> Result<()> {
        const BEGIN: &str = "<!-- table -->\n";
        const END: &str = "<!-- end of table -->";
        let path = workspace()?.join("docs/internals/compatibility.md");
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
        let (head, rest) =
            text.split_once(BEGIN).context("docs/internals/compatibility.md has no table marker")?;
        let (_, tail) =
            rest.split_once(END).context("docs/internals/compatibility.md has no end-of-table marker")?;
        fs::write(&path, format!("{head}{BEGIN}{}\n{}{END}{tail}", self.markdown(), self.skips()))
            .with_context(|| format!("failed to write {}", path.display()))
    }

    fn skips(&self) -> String {
        let mut skips = Skips::default();
        for cell in self.cells.iter().filter(|cell| cell.boot.is_some()) {
            skips.add(&cell.kernel, cell.mode, &cell.console);
        }
        skips.markdown()
    }

    fn markdown(&self) -> String {
        let row = |columns: &[String]| format!("| {} |\n", columns.join(" | "));
        let head: Vec<String> = HEADER.into_iter().chain(["tests", "date"]).map(str::to_owned).collect();
        let mut text = row(&head);
        text.push_str(&row(&vec!["---".to_owned(); head.len()]));
        for cell in &self.cells {
            let mut columns = cell.columns().to_vec();
            columns.extend([cell.part.clone(), cell.date.clone()]);
            text.push_str(&row(&columns));
        }
        text
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<[String; 9]> =
            std::iter::once(HEADER.map(str::to_owned)).chain(self.cells.iter().map(Cell::columns)).collect();
        for row in &rows {
            let line: Vec<String> = row
                .iter()
                .enumerate()
                .map(|(column, text)| {
                    let width = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
                    format!("{text:<width$}")
                })
                .collect();
            writeln!(f, "{}", line.join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifier_statistics_are_parsed() {
        let line = r#"@@STATUS {"programs":[{"attached":true,"instructions":7,"jited_bytes":100},
            {"attached":true,"instructions":5,"jited_bytes":20},{"attached":false}]}"#
            .replace('\n', "");
        let verified = verified(&line).unwrap();
        assert_eq!((verified.instructions, verified.jited_bytes), (Some(12), 120));
    }
}
