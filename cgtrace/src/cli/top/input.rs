//! Keys.

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::cursor::Motion;

/// What a key does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Move(Motion),
    /// Folds or unfolds the selected row.
    Toggle,
    Fold,
    Unfold,
    /// Begins to type a filter.
    Filter,
    NextHierarchy,
    NextOrder,
    Help,
    Quit,
    /// The terminal has another size, or must be drawn again.
    Redraw,
    /// Adds to the filter that is typed.
    Type(char),
    Erase,
    /// Ends typing: keeps the filter, or removes it.
    Accept,
    Cancel,
}

/// What an event of the terminal means, while a filter is typed or not.
pub fn action(event: &Event, is_typing: bool) -> Option<Action> {
    match event {
        Event::Resize(..) => Some(Action::Redraw),
        Event::Key(key) if key.kind != KeyEventKind::Release => {
            if key.modifiers.contains(KeyModifiers::CONTROL) {
                return with_control(key);
            }
            moved(key).map(Action::Move).or_else(|| if is_typing { typed(key) } else { pressed(key) })
        }
        _ => None,
    }
}

fn with_control(key: &KeyEvent) -> Option<Action> {
    match key.code {
        KeyCode::Char('c') => Some(Action::Quit),
        KeyCode::Char('l') => Some(Action::Redraw),
        KeyCode::Char('h') => Some(Action::Erase),
        _ => None,
    }
}

fn moved(key: &KeyEvent) -> Option<Motion> {
    Some(match key.code {
        KeyCode::Up => Motion::Up,
        KeyCode::Down => Motion::Down,
        KeyCode::PageUp => Motion::PageUp,
        KeyCode::PageDown => Motion::PageDown,
        KeyCode::Home => Motion::First,
        KeyCode::End => Motion::Last,
        _ => return None,
    })
}

fn pressed(key: &KeyEvent) -> Option<Action> {
    Some(match key.code {
        KeyCode::Enter | KeyCode::Char(' ') => Action::Toggle,
        KeyCode::Left => Action::Fold,
        KeyCode::Right => Action::Unfold,
        KeyCode::Char('/') => Action::Filter,
        KeyCode::Char('h') => Action::NextHierarchy,
        KeyCode::Char('s') => Action::NextOrder,
        KeyCode::Char('?') => Action::Help,
        KeyCode::Char('q') => Action::Quit,
        KeyCode::Esc => Action::Cancel,
        _ => return None,
    })
}

fn typed(key: &KeyEvent) -> Option<Action> {
    Some(match key.code {
        KeyCode::Char(character) => Action::Type(character),
        KeyCode::Backspace => Action::Erase,
        KeyCode::Enter => Action::Accept,
        KeyCode::Esc => Action::Cancel,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: KeyCode, is_typing: bool) -> Option<Action> {
        action(&Event::Key(KeyEvent::new(code, KeyModifiers::NONE)), is_typing)
    }

    #[test]
    fn letters_are_commands_unless_a_filter_is_typed() {
        assert_eq!(key(KeyCode::Char('q'), false), Some(Action::Quit));
        assert_eq!(key(KeyCode::Char('q'), true), Some(Action::Type('q')));
        assert_eq!(key(KeyCode::Down, true), Some(Action::Move(Motion::Down)));
        assert_eq!(key(KeyCode::Enter, true), Some(Action::Accept));
        assert_eq!(key(KeyCode::Char('x'), false), None);
    }

    #[test]
    fn control_c_always_quits() {
        let event = Event::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert_eq!((action(&event, true), action(&event, false)), (Some(Action::Quit), Some(Action::Quit)));
    }
}
