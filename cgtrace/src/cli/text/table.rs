//! Tables.

use super::{QUIET, fit::ellipsis, styled};

/// A table with headings. Each column is as wide as its widest cell; numbers are right-aligned.
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

    /// The lines, with the last column shortened to fit a width.
    pub fn lines(&self, width: Option<usize>) -> Vec<String> {
        let mut lines = vec![String::new(); self.rows.len() + 1];
        for (column, heading) in self.headings.iter().enumerate() {
            let cells: Vec<&str> = self.rows.iter().map(|row| row[column].as_str()).collect();
            let width = cells.iter().chain([heading]).map(|cell| cell.chars().count()).max().unwrap_or(0);
            let is_number = |cell: &&str| cell.starts_with(|first: char| first.is_ascii_digit());
            let are_numbers = !cells.is_empty() && cells.iter().all(is_number);
            for (line, cell) in lines.iter_mut().zip([*heading].into_iter().chain(cells)) {
                line.push_str(&if are_numbers {
                    format!("{cell:>width$}  ")
                } else {
                    format!("{cell:<width$}  ")
                });
            }
        }
        let mut lines: Vec<String> = lines.iter().map(|line| shortened(line.trim_end(), width)).collect();
        lines[0] = styled(QUIET, &lines[0]);
        lines
    }
}

/// A line whose last cell is shortened to fit a width.
fn shortened(line: &str, width: Option<usize>) -> String {
    let Some(excess) = width.and_then(|width| line.chars().count().checked_sub(width)) else {
        return line.to_owned();
    };
    let (front, last) = line.rsplit_once("  ").unwrap_or(("", line));
    format!("{front}  {}", ellipsis(last, last.chars().count().saturating_sub(excess)))
}
