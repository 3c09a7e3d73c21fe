//! The screen: what is known as lines of a terminal. Only the visible rows are looked at.

mod cells;
mod ellipsis;
mod help;
#[cfg(test)]
mod screens;
mod status;
mod table;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
};

pub use cells::Cells;
pub use ellipsis::width;
pub use table::Columns;

use super::app::App;

/// Whether to use colors.
#[derive(Clone, Copy, Debug, Default)]
pub struct Theme {
    pub is_colored: bool,
}

impl Theme {
    fn color(self, color: Color) -> Style {
        if self.is_colored { Style::new().fg(color) } else { Style::new() }
    }
}

/// Draws the screen at a time in ns since boot. The first line is the header, then come the headings, the rows
/// and the status line. A small screen has rows only.
pub fn draw(app: &mut App, area: Rect, buffer: &mut Buffer, now: u64, theme: Theme) {
    let mut rows = area;
    let line = |y: u16| Rect { y, height: 1, ..area };
    if area.height >= 4 {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        put(buffer, line(area.y), &status::header(app, usize::from(area.width)), bold);
        let (text, is_problem) = status::footer(app, usize::from(area.width), now);
        let style =
            if is_problem { theme.color(Color::Yellow).add_modifier(Modifier::BOLD) } else { Style::new() };
        put(buffer, line(area.bottom() - 1), &text, style);
        rows = Rect { y: area.y + 2, height: area.height - 3, ..area };
    }
    let columns = Columns::fit(usize::from(area.width), app.model.order);
    if area.height >= 4 {
        put(buffer, line(area.y + 1), &columns.headings(), Style::new().add_modifier(Modifier::DIM));
    }
    if let Some(tree) = app.model.tree() {
        app.cursor.scroll(tree, usize::from(rows.height));
        let selected = app.cursor.selected(tree);
        for (y, id) in (rows.y..rows.bottom()).zip(app.cursor.visible()) {
            if let Some(node) = tree.get(*id) {
                let cells = Cells::of(tree, *id, node, now);
                table::draw_row(buffer, line(y), &columns, &cells, selected == Some(*id), theme);
            }
        }
    }
    if app.shows_help {
        help::draw(area, buffer);
    }
}

fn put(buffer: &mut Buffer, area: Rect, text: &str, style: Style) {
    let text = ellipsis::middle(text, usize::from(area.width));
    buffer.set_stringn(area.x, area.y, text, usize::from(area.width), style);
}
