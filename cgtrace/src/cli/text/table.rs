//! Columns.

use super::{QUIET, styled};

/// Rows under headings, each column as wide as its widest cell; numbers stand to the right.
#[derive(Debug)]
pub struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub fn lines(&self) -> Vec<String> {
        let widths: Vec<usize> = self
            .headings
            .iter()
            .enumerate()
            .map(|(column, heading)| {
                let cells =
                    self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
                cells.chain([heading.len()]).max().unwrap_or(0)
            })
            .collect();
        let headings = self.headings.iter().map(|heading| (*heading).to_owned()).collect::<Vec<_>>();
        let is_number: Vec<bool> = (0..widths.len())
            .map(|column| {
                !self.rows.is_empty()
                    && self
                        .rows
                        .iter()
                        .all(|row| row[column].starts_with(|first: char| first.is_ascii_digit()))
            })
            .collect();
        let line = |cells: &[String]| {
            let mut line = String::new();
            for ((cell, width), number) in cells.iter().zip(&widths).zip(&is_number) {
                let cell = if *number { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") };
                line.push_str(&cell);
            }
            line.trim_end().to_owned()
        };
        let mut lines = vec![styled(QUIET, &line(&headings))];
        lines.extend(self.rows.iter().map(|row| line(row)));
        lines
    }
}
