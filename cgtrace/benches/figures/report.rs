//! The results: a table for people, JSON for machines.

use std::{fs, thread};

use serde_json::json;

use crate::statistics::Series;

/// One row of the table.
pub struct Row {
    pub what: String,
    /// What was measured, with its unit.
    pub figure: String,
    /// The ratio, its spread and its goal; `None` if there is no goal.
    pub ratio: Option<Ratio>,
    pub note: String,
}

pub struct Ratio {
    pub median: f64,
    pub low: f64,
    pub high: f64,
    /// The highest ratio that meets the goal.
    pub goal: Option<f64>,
}

impl Ratio {
    pub fn of(series: &Series, goal: Option<f64>) -> Self {
        Self { median: series.median(), low: series.quantile(0.0), high: series.quantile(1.0), goal }
    }

    /// The ratio of a quantile of both series, with its spread over ten stretches.
    pub fn of_quantile(series: &Series, base: &Series, share: f64, goal: Option<f64>) -> Self {
        let stretches = series.stretches(share).ratios(&base.stretches(share));
        let median = series.quantile(share) / base.quantile(share);
        Self { median, ..Self::of(&stretches, goal) }
    }
}

pub struct Report {
    /// Date, kernel and processor, without which a figure is meaningless.
    machine: Vec<(&'static str, String)>,
    rows: Vec<Row>,
}

impl Report {
    pub fn new() -> Self {
        Self { machine: machine(), rows: Vec::new() }
    }

    pub fn row(&mut self, row: Row) {
        eprintln!("  {}: {}", row.what, row.figure);
        self.rows.push(row);
    }

    pub fn figure(&mut self, what: impl Into<String>, figure: impl Into<String>, note: impl Into<String>) {
        self.row(Row { what: what.into(), figure: figure.into(), ratio: None, note: note.into() });
    }

    pub fn not_measured(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.row(Row { what: what.into(), figure: "not measured".to_owned(), ratio: None, note: why.into() });
    }

    pub fn table(&self) -> String {
        let machine: Vec<String> =
            self.machine.iter().map(|(what, value)| format!("{what}: {value}")).collect();
        let mut lines = vec![
            machine.join("; "),
            String::new(),
            "| figure | measured | ratio (lowest–highest) | goal | |".to_owned(),
            "|---|---|---|---|---|".to_owned(),
        ];
        for Row { what, figure, ratio, note } in &self.rows {
            let (spread, goal) = match ratio {
                Some(Ratio { median, low, high, goal }) => (
                    format!("{median:.3} × ({low:.3}–{high:.3})"),
                    goal.map_or(String::new(), |goal| {
                        format!("≤ {goal:.3} × {}", if *median <= goal { "met" } else { "**missed**" })
                    }),
                ),
                None => (String::new(), String::new()),
            };
            lines.push(format!("| {what} | {figure} | {spread} | {goal} | {note} |"));
        }
        lines.join("\n")
    }

    pub fn json(&self) -> serde_json::Value {
        let rows: Vec<serde_json::Value> = self
            .rows
            .iter()
            .map(|Row { what, figure, ratio, note }| {
                json!({
                    "what": what,
                    "figure": figure,
                    "ratio": ratio.as_ref().map(|ratio| json!({
                        "median": ratio.median, "low": ratio.low, "high": ratio.high, "goal": ratio.goal,
                    })),
                    "note": note,
                })
            })
            .collect();
        let machine: serde_json::Map<String, serde_json::Value> =
            self.machine.iter().map(|(what, value)| ((*what).to_owned(), json!(value))).collect();
        json!({"machine": machine, "rows": rows})
    }
}

fn machine() -> Vec<(&'static str, String)> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("unknown");
        line.trim_start_matches([' ', '\t', ':']).to_owned()
    };
    let uname = rustix::system::uname();
    let seconds = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
    vec![
        ("date", jiff::Timestamp::from_second(seconds).map_or_else(|_| String::new(), |now| now.to_string())),
        ("kernel", format!("{} {}", uname.release().to_string_lossy(), uname.machine().to_string_lossy())),
        ("processor", field(&read("/proc/cpuinfo"), "model name")),
        ("cpus", thread::available_parallelism().map_or(0, usize::from).to_string()),
        ("memory", field(&read("/proc/meminfo"), "MemTotal")),
        (
            "return thunks (SRSO)",
            read("/sys/devices/system/cpu/vulnerabilities/spec_rstack_overflow").trim().to_owned(),
        ),
    ]
}
