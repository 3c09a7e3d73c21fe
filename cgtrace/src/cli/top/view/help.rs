//! The page of help.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    widgets::{Block, Clear, Paragraph, Widget as _},
};

const HELP: &str = "\
↑ ↓ PgUp PgDn Home End  move
Enter, Space            fold or unfold
← →                     fold or go up, unfold
/                       filter: a part of the path, or a pattern
Esc                     show all, or quit
h                       next hierarchy
s                       sort by name, age, processes, activity
q, Ctrl-C               quit

+ created in the last 5 s   - removed in the last 5 s
> it existed before cgtrace started to observe
PROCS: in the cgroup itself; `some` or 0: as events say, without the
right to read cgroup.procs";

/// Draws it over everything else.
pub fn draw(area: Rect, buffer: &mut Buffer) {
    let lines = u16::try_from(HELP.lines().count()).unwrap_or(u16::MAX);
    let (width, height) = (area.width.min(72), area.height.min(lines.saturating_add(2)));
    let window =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(window, buffer);
    Paragraph::new(HELP).block(Block::bordered().title(" cgtrace top ")).render(window, buffer);
}
