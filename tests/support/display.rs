//! What a terminal displays: the few control sequences of crossterm, on characters that are one column wide.

use std::mem;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cell {
    character: char,
    is_struck: bool,
}

const BLANK: Cell = Cell { character: ' ', is_struck: false };

/// The rows of a terminal, and its modes.
#[derive(Debug)]
pub struct Display {
    rows: Vec<Vec<Cell>>,
    row: usize,
    column: usize,
    is_struck: bool,
    pub is_alternate: bool,
    pub is_cursor_hidden: bool,
    /// A part of a sequence or of a character.
    pending: Vec<u8>,
}

impl Display {
    pub fn new(columns: u16, rows: u16) -> Self {
        Self {
            rows: vec![vec![BLANK; usize::from(columns)]; usize::from(rows)],
            row: 0,
            column: 0,
            is_struck: false,
            is_alternate: false,
            is_cursor_hidden: false,
            pending: Vec::new(),
        }
    }

    /// The text of each row.
    pub fn lines(&self) -> Vec<String> {
        let text = |row: &Vec<Cell>| row.iter().map(|cell| cell.character).collect::<String>();
        self.rows.iter().map(|row| text(row).trim_end().to_owned()).collect()
    }

    /// The row that contains a text, and whether that text is struck out.
    pub fn find(&self, text: &str) -> Option<(String, bool)> {
        self.lines().into_iter().zip(&self.rows).find_map(|(line, row)| {
            let column = line.split_once(text)?.0.chars().count();
            Some((line, row[column].is_struck))
        })
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        let bytes = mem::take(&mut self.pending);
        let mut left = &bytes[..];
        while let Some(used) = self.step(left) {
            left = &left[used..];
        }
        self.pending = left.to_vec();
    }

    /// Takes one sequence or character, unless the rest of it is missing. Returns its length.
    fn step(&mut self, bytes: &[u8]) -> Option<usize> {
        match *bytes {
            [] | [0x1b] => None,
            [0x1b, b'[', ref rest @ ..] => {
                let end = rest.iter().position(|byte| (0x40..0x7f).contains(byte))?;
                self.control(&String::from_utf8_lossy(&rest[..end]), rest[end]);
                Some(end + 3)
            }
            // Another kind of sequence: two bytes.
            [0x1b, ..] => Some(2),
            [b'\r', ..] => {
                self.column = 0;
                Some(1)
            }
            [b'\n', ..] => {
                self.row += 1;
                Some(1)
            }
            [first, ..] => {
                let length = match first {
                    0xf0.. => 4,
                    0xe0.. => 3,
                    0xc0.. => 2,
                    _ => 1,
                };
                let text = std::str::from_utf8(bytes.get(..length)?).unwrap_or("?");
                text.chars().for_each(|character| self.put(character));
                Some(length)
            }
        }
    }

    fn put(&mut self, character: char) {
        let cell = Cell { character, is_struck: self.is_struck };
        if let Some(place) = self.rows.get_mut(self.row).and_then(|row| row.get_mut(self.column)) {
            *place = cell;
        }
        self.column += 1;
    }

    fn control(&mut self, parameters: &str, command: u8) {
        let numbers: Vec<usize> = parameters.split(';').map(|number| number.parse().unwrap_or(0)).collect();
        let number = |index: usize| numbers.get(index).copied().unwrap_or(0);
        match (command, parameters) {
            (b'H', _) => (self.row, self.column) = (number(0).max(1) - 1, number(1).max(1) - 1),
            (b'J', _) => self.rows.iter_mut().for_each(|row| row.fill(BLANK)),
            (b'm', _) => {
                for (index, number) in numbers.iter().enumerate() {
                    // The numbers of a color are not attributes.
                    if index > 0 && matches!(numbers[0], 38 | 48) {
                        break;
                    }
                    match number {
                        9 => self.is_struck = true,
                        0 | 29 => self.is_struck = false,
                        _ => {}
                    }
                }
            }
            (b'h' | b'l', "?1049") => self.is_alternate = command == b'h',
            (b'h' | b'l', "?25") => self.is_cursor_hidden = command == b'l',
            _ => {}
        }
    }
}
