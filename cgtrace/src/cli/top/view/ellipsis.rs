//! Text that fits a number of columns.

use ratatui::text::Span;

/// How many columns a text takes.
pub fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// The text, or its beginning and its end with `…` between them. The end is the longer part: it tells units
/// and containers apart.
pub fn middle(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(left) = columns.checked_sub(1) else { return String::new() };
    let head = prefix(text.chars(), left / 2);
    let tail: Vec<char> = prefix(text.chars().rev(), left - left / 2).chars().rev().collect();
    format!("{head}…{}", tail.into_iter().collect::<String>())
}

/// The first characters that fit.
fn prefix(characters: impl Iterator<Item = char>, columns: usize) -> String {
    let mut text = String::new();
    let mut left = columns;
    for character in characters {
        match left.checked_sub(width(character.encode_utf8(&mut [0; 4]))) {
            Some(less) => left = less,
            None => break,
        }
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_loses_its_middle() {
        assert_eq!(middle("kubelet.service", 15), "kubelet.service");
        assert_eq!(middle("cri-containerd-0123456789.scope", 15), "cri-con…9.scope");
        assert_eq!(
            ["", "…", "…e"],
            [0, 1, 2].map(|columns| middle("scope", columns)).each_ref().map(|s| &**s)
        );
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(middle("日本語日本語", 8), "日…本語");
        assert!((0..20).all(|columns| width(&middle("日a本b語c", columns)) <= columns.max(9)));
        assert!((0..9).all(|columns| width(&middle("日a本b語c", columns)) <= columns));
    }
}
