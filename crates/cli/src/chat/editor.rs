//! The line that is being typed.

use emptyroom_node::api::TEXT_BYTES_MAX;

use crate::terminal;

/// Longer than any message may be is not typed.
const CHARS_MAX: usize = 16 * 1024;

/// A line with a cursor.
#[derive(Default)]
pub(crate) struct Editor {
    chars: Vec<char>,
    at: usize,
}

impl Editor {
    pub(crate) fn insert(&mut self, c: char) {
        if self.chars.len() < CHARS_MAX {
            self.chars.insert(self.at, c);
            self.at += 1;
        }
    }

    /// Inserts a text as it is, line breaks included. False: it would not fit whole, and nothing was inserted.
    pub(crate) fn paste(&mut self, text: &str) -> bool {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let typed: usize = self.chars.iter().map(|c| c.len_utf8()).sum();
        let fits = typed + text.len() <= TEXT_BYTES_MAX;
        if fits {
            text.chars().for_each(|c| self.insert(c));
        }
        fits
    }

    pub(crate) fn backspace(&mut self) {
        if self.at > 0 {
            self.at -= 1;
            self.chars.remove(self.at);
        }
    }

    pub(crate) fn delete(&mut self) {
        if self.at < self.chars.len() {
            self.chars.remove(self.at);
        }
    }

    /// Deletes the word before the cursor.
    pub(crate) fn delete_word(&mut self) {
        let before = self.chars.get(..self.at).unwrap_or_default();
        let blanks = before
            .iter()
            .rev()
            .take_while(|c| c.is_whitespace())
            .count();
        let letters = before
            .iter()
            .rev()
            .skip(blanks)
            .take_while(|c| !c.is_whitespace())
            .count();
        let from = self.at - blanks - letters;
        self.chars.drain(from..self.at);
        self.at = from;
    }

    /// Deletes everything before the cursor.
    pub(crate) fn delete_to_start(&mut self) {
        self.chars.drain(..self.at);
        self.at = 0;
    }

    pub(crate) fn left(&mut self) {
        self.at = self.at.saturating_sub(1);
    }

    pub(crate) fn right(&mut self) {
        self.at = (self.at + 1).min(self.chars.len());
    }

    pub(crate) fn home(&mut self) {
        self.at = 0;
    }

    pub(crate) fn end(&mut self) {
        self.at = self.chars.len();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chars.is_empty()
    }

    /// The line, which is empty afterwards.
    pub(crate) fn take(&mut self) -> String {
        self.at = 0;
        self.chars.drain(..).collect()
    }

    /// What fits into so many columns, with the cursor in it, and the cursor's column.
    pub(crate) fn view(&self, columns: usize) -> (String, usize) {
        let chars: Vec<char> = self.chars.iter().map(|c| shown(*c)).collect();
        let mut from = self.at;
        let mut before = 0;
        for c in chars.get(..self.at).unwrap_or_default().iter().rev() {
            let width = terminal::width(*c);
            if before + width >= columns {
                break;
            }
            before += width;
            from -= 1;
        }
        let mut text = String::new();
        let mut used = 0;
        for c in chars.get(from..).unwrap_or_default() {
            used += terminal::width(*c);
            if used > columns {
                break;
            }
            text.push(*c);
        }
        (terminal::line(&text), before)
    }
}

/// A line break takes one column of the line that is typed.
fn shown(c: char) -> char {
    if c == '\n' { '\u{23ce}' } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Editor {
        let mut editor = Editor::default();
        text.chars().for_each(|c| editor.insert(c));
        editor
    }

    #[test]
    fn words_and_characters_go() {
        let mut editor = typed("one two  ");
        editor.delete_word();
        assert_eq!(editor.view(80), ("one ".into(), 4));
        editor.backspace();
        editor.left();
        editor.delete();
        editor.insert('x');
        editor.home();
        editor.right();
        editor.delete_to_start();
        editor.end();
        assert_eq!(editor.take(), "nx");
        assert!(editor.is_empty());
        editor.backspace();
        editor.delete();
        editor.delete_word();
        editor.left();
        assert_eq!(editor.view(10), (String::new(), 0));
    }

    // [SPEC 12.38]
    #[test]
    fn what_is_pasted_stays_one_text() {
        let mut editor = typed("see ");
        assert!(editor.paste("one\r\n/delete 3\rtwo\n"));
        assert!(
            !editor.paste(&"y".repeat(TEXT_BYTES_MAX)),
            "all of it or nothing"
        );
        assert_eq!(
            editor.view(80).0,
            "see one\u{23ce}/delete 3\u{23ce}two\u{23ce}"
        );
        assert_eq!(editor.take(), "see one\n/delete 3\ntwo\n");
    }

    #[test]
    fn a_long_line_shows_the_part_around_the_cursor() {
        let mut editor = typed("abcdefghij");
        assert_eq!(editor.view(4), ("hij".into(), 3));
        editor.home();
        assert_eq!(editor.view(4), ("abcd".into(), 0));
    }
}
