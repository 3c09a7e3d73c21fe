//! The rows: a table for people, JSON for machines.

use serde_json::json;

use crate::statistics::Series;

/// One row of the table.
pub struct Row {
    pub what: String,
    /// What was measured, with its unit.
    pub figure: String,
    /// The ratio that the goal is about, its spread, and the goal; absent where there is none.
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
}

#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
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
        let mut lines = vec![
            "| figure | measured | ratio (lowest–highest) | goal | |".to_owned(),
            "|---|---|---|---|---|".to_owned(),
        ];
        for Row { what, figure, ratio, note } in &self.rows {
            let (spread, goal) = match ratio {
                Some(Ratio { median, low, high, goal }) => (
                    format!("{median:.3} × ({low:.3}–{high:.3})"),
                    goal.map_or(String::new(), |goal| {
                        format!("≤ {goal} × {}", if *median <= goal { "met" } else { "**missed**" })
                    }),
                ),
                None => (String::new(), String::new()),
            };
            lines.push(format!("| {what} | {figure} | {spread} | {goal} | {note} |"));
        }
        lines.join("\n")
    }

    pub fn json(&self) -> serde_json::Value {
        self.rows
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
            .collect()
    }
}
