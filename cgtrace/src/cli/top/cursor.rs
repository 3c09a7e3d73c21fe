//! The selected row and the first visible one. Both are cgroups, not numbers: rows that appear above do not
//! move the selection.

use super::model::Tree;

#[derive(Debug, Default)]
pub struct Cursor {
    /// `None`: the first row, whichever that is.
    selected: Option<u64>,
    /// The rows that were last visible, from the top.
    visible: Vec<u64>,
}

/// A movement of the selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    /// To the ancestor.
    Out,
}

impl Cursor {
    pub fn selected(&self, tree: &Tree) -> Option<u64> {
        self.selected.or_else(|| tree.first())
    }

    pub fn visible(&self) -> &[u64] {
        &self.visible
    }

    /// Forgets the rows of another tree.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    pub fn apply(&mut self, motion: Motion, tree: &Tree) {
        let Some(selected) = self.selected(tree) else { return };
        let page = self.visible.len().saturating_sub(1).max(1);
        let steps = |from: u64, steps: usize, step: fn(&Tree, u64) -> Option<u64>| {
            let rows = std::iter::successors(Some(from), |id| step(tree, *id));
            rows.take(steps + 1).last()
        };
        self.selected = match motion {
            Motion::Up => steps(selected, 1, Tree::previous),
            Motion::Down => steps(selected, 1, Tree::next),
            Motion::PageUp => steps(selected, page, Tree::previous),
            Motion::PageDown => steps(selected, page, Tree::next),
            Motion::First => None,
            Motion::Last => tree.last(),
            Motion::Out => tree.get(selected).and_then(|node| node.parent).or(Some(selected)),
        };
        if self.selected == tree.first() {
            self.selected = None;
        }
    }

    /// Chooses the visible rows so that the selection is among them, and the others stay where they are.
    pub fn scroll(&mut self, tree: &Tree, height: usize) {
        self.keep_selection(tree);
        let Some(selected) = self.selected(tree).filter(|_| height > 0) else {
            self.visible.clear();
            return;
        };
        let top = if self.selected.is_none() {
            selected
        } else {
            self.visible.iter().copied().find(|id| tree.is_row(*id)).unwrap_or(selected)
        };
        let mut rows = rows_from(tree, top, height);
        if !rows.contains(&selected) {
            // Down by a row: the selection is the last one. Otherwise it is where it was, or the first.
            let was_below = rows.last().and_then(|last| tree.next(*last)) == Some(selected);
            let line = if was_below { height - 1 } else { self.line_of(selected).min(height - 1) };
            rows = rows_from(tree, back(tree, selected, line), height);
        }
        if rows.len() < height
            && let Some(first) = rows.first()
        {
            rows = rows_from(tree, back(tree, *first, height - rows.len()), height);
        }
        self.visible = rows;
    }

    fn line_of(&self, id: u64) -> usize {
        self.visible.iter().position(|visible| *visible == id).unwrap_or(0)
    }

    /// If the selected row is gone, selects the nearest one that was visible.
    fn keep_selection(&mut self, tree: &Tree) {
        let Some(selected) = self.selected.filter(|id| !tree.is_row(*id)) else { return };
        let line = self.line_of(selected);
        let (above, below) = self.visible.split_at(line.min(self.visible.len()));
        let nearest = below.iter().chain(above.iter().rev());
        self.selected = nearest.copied().find(|id| tree.is_row(*id));
    }
}

fn rows_from(tree: &Tree, top: u64, height: usize) -> Vec<u64> {
    std::iter::successors(Some(top), |id| tree.next(*id)).take(height).collect()
}

/// The row so many above, or the first one.
fn back(tree: &Tree, from: u64, rows: usize) -> u64 {
    let above = std::iter::successors(Some(from), |id| tree.previous(*id));
    above.take(rows + 1).last().unwrap_or(from)
}
