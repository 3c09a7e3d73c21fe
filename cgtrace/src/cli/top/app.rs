//! The state of the program, and how keys change it.

use super::{
    cursor::{Cursor, Motion},
    input::Action,
    model::{Filter, Model},
};

#[derive(Debug, Default)]
pub struct App {
    pub model: Model,
    pub cursor: Cursor,
    /// The filter's text. While it is typed it may be an incomplete pattern.
    pub filter: String,
    pub is_typing: bool,
    /// What is wrong with the typed pattern.
    pub mistake: Option<String>,
    pub shows_help: bool,
    pub has_ended: bool,
}

impl App {
    pub fn apply(&mut self, action: &Action) {
        if self.shows_help && !matches!(action, Action::Quit | Action::Redraw) {
            self.shows_help = false;
            return;
        }
        match action {
            Action::Move(motion) => self.with_tree(|cursor, tree| cursor.apply(*motion, tree)),
            Action::Toggle => self.fold(|folded, _| !folded),
            Action::Unfold => self.fold(|_, _| false),
            Action::Fold => {
                let is_open = self.selected().is_some_and(|(folded, has_children)| !folded && has_children);
                if is_open {
                    self.fold(|_, has_children| has_children);
                } else {
                    self.with_tree(|cursor, tree| cursor.apply(Motion::Out, tree));
                }
            }
            Action::Filter => self.is_typing = true,
            Action::NextHierarchy => {
                self.model.next_hierarchy();
                self.cursor.reset();
            }
            Action::NextOrder => self.model.set_order(self.model.order.next()),
            Action::Help => self.shows_help = true,
            Action::Redraw => {}
            Action::Type(character) => {
                self.filter.push(*character);
                self.set_filter();
            }
            Action::Erase => {
                self.filter.pop();
                self.set_filter();
            }
            Action::Accept => {
                self.is_typing = false;
                if self.mistake.is_some() {
                    self.clear_filter();
                }
            }
            Action::Cancel if self.is_typing || !self.filter.is_empty() => self.clear_filter(),
            Action::Quit | Action::Cancel => self.has_ended = true,
        }
    }

    fn with_tree(&mut self, apply: impl FnOnce(&mut Cursor, &super::model::Tree)) {
        if let Some(tree) = self.model.tree() {
            apply(&mut self.cursor, tree);
        }
    }

    /// Whether the selected row is folded, and whether it has children.
    fn selected(&self) -> Option<(bool, bool)> {
        let tree = self.model.tree()?;
        let id = self.cursor.selected(tree)?;
        Some((tree.get(id)?.folded, tree.has_children(id)))
    }

    fn fold(&mut self, fold: impl FnOnce(bool, bool) -> bool) {
        let Some((folded, has_children)) = self.selected() else { return };
        let Some(id) = self.model.tree().and_then(|tree| self.cursor.selected(tree)) else { return };
        if let Some(tree) = self.model.tree_mut() {
            tree.set_folded(id, has_children && fold(folded, has_children));
        }
    }

    fn clear_filter(&mut self) {
        self.is_typing = false;
        self.filter.clear();
        self.set_filter();
    }

    fn set_filter(&mut self) {
        match Filter::parse(&self.filter) {
            Ok(filter) => {
                self.mistake = None;
                self.model.set_filter(filter);
            }
            // The last valid filter remains.
            Err(mistake) => self.mistake = Some(mistake),
        }
    }
}
