//! The table of cgroups.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
};

use super::{
    Theme,
    cells::{AGE, CREATOR, Cells, EVENTS, Mark, PROCESSES},
    ellipsis::{middle, width},
};
use crate::cli::top::model::Order;

/// The widths of the columns; 0: it does not fit.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    name: usize,
    /// In the order of [`RIGHT`].
    right: [usize; 4],
}

/// The columns to the right of the name.
const RIGHT: [(&str, usize); 4] = [AGE, PROCESSES, EVENTS, CREATOR];

impl Columns {
    /// Columns are left out from the right until the name has a width that is worth reading.
    pub fn fit(width: usize, order: Order) -> Self {
        let choices = [(4, 24), (3, 16), (1, 12), (0, 0)].map(|(shown, worth_reading)| {
            let right = widths(shown, order);
            let taken = right.iter().filter(|width| **width > 0).map(|width| width + 1).sum::<usize>();
            let name = width.saturating_sub(2 + taken);
            (name >= worth_reading, Self { name, right })
        });
        let fitting = choices.iter().find(|(fits, _)| *fits).or(choices.last());
        fitting.map_or(Self { name: width, right: [0; 4] }, |(_, columns)| *columns)
    }

    /// All of them, with a name of this width.
    pub fn with_name(name: usize, order: Order) -> Self {
        Self { name, right: widths(4, order) }
    }

    pub fn headings(&self) -> String {
        self.line(' ', &middle("CGROUP", self.name), RIGHT.map(|(heading, _)| heading))
    }

    pub fn row(&self, cells: &Cells) -> String {
        let mark = cells.mark.as_str().chars().next().unwrap_or(' ');
        // Deep rows keep half of the column for their names.
        let indent = (2 * cells.depth).min(self.name / 2);
        let name = middle(&cells.name, self.name.saturating_sub(indent + 2));
        let name = if self.name < 6 {
            middle(&cells.name, self.name)
        } else {
            format!("{}{}{name}", " ".repeat(indent), cells.fold)
        };
        let events = cells.events.as_deref().unwrap_or_default();
        self.line(mark, &name, [&cells.age, &cells.processes, events, &cells.creator])
    }

    fn line(&self, mark: char, name: &str, right: [&str; 4]) -> String {
        let mut line = format!("{mark} {name}{}", " ".repeat(self.name.saturating_sub(width(name))));
        for ((cell, columns), (heading, _)) in right.iter().zip(self.right).zip(RIGHT) {
            let cell = middle(cell, columns);
            let space = " ".repeat(columns.saturating_sub(width(&cell)));
            // Only the last one is text.
            match columns {
                0 => {}
                _ if heading == CREATOR.0 => line.push_str(&format!(" {cell}{space}")),
                _ => line.push_str(&format!(" {space}{cell}")),
            }
        }
        line
    }
}

/// The widths of the first columns.
fn widths(shown: usize, order: Order) -> [usize; 4] {
    let mut widths = RIGHT.map(|(_, width)| width);
    if order != Order::Activity {
        widths[2] = 0;
    }
    if let Some(hidden) = widths.get_mut(shown..) {
        hidden.fill(0);
    }
    widths
}

/// Draws a row.
pub fn draw_row(
    buffer: &mut Buffer,
    area: Rect,
    columns: &Columns,
    cells: &Cells,
    is_selected: bool,
    theme: Theme,
) {
    let mut style = match cells.mark {
        Mark::New => theme.color(Color::Green),
        Mark::Removed => theme.color(Color::Red).add_modifier(Modifier::CROSSED_OUT | Modifier::DIM),
        Mark::Unchanged => Style::new(),
    };
    if is_selected {
        style = style.add_modifier(Modifier::REVERSED);
    }
    buffer.set_stringn(area.x, area.y, columns.row(cells), usize::from(area.width), style);
    if is_selected {
        buffer.set_style(area, style);
    }
}
