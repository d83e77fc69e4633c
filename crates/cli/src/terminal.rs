//! What may reach a terminal: text of peers without what steers it.
//!
//! A peer chooses texts, an inviter's link may carry anything, a contact's name may be pasted from somewhere. Control
//! characters could move the cursor, rewrite what is above, set the title or reorder a line; so every one of them is
//! shown as its code instead of being sent.

use serde::Serialize;

/// Columns and rows of the terminal; the usual ones where it does not say, as over a serial line or in a container.
pub(crate) fn size() -> (usize, usize) {
    let (columns, rows) = crossterm::terminal::size().unwrap_or_default();
    let or = |said: u16, usual| if said == 0 { usual } else { usize::from(said) };
    (or(columns, 80), or(rows, 24))
}

/// One line: nothing steers, line breaks are shown as codes too.
// [SPEC 12.6]
pub(crate) fn line(text: &str) -> String {
    escape(text, false)
}

/// A text that may have several lines; the following ones are indented by `indent` blanks, so that none can pass for
/// a line of the program.
// [SPEC 12.6]
pub(crate) fn block(text: &str, indent: usize) -> String {
    escape(text, true).replace('\n', &format!("\n{}", " ".repeat(indent)))
}

/// JSON of a value in one line, in which what steers a terminal is escaped (JSON allows that everywhere in a string).
// [SPEC 12.6]
pub(crate) fn json<T: Serialize>(value: &T) -> String {
    let plain = serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned());
    if !plain.chars().any(steers) {
        return plain;
    }
    let mut safe = String::with_capacity(plain.len());
    for c in plain.chars() {
        if steers(c) {
            let mut units = [0_u16; 2];
            for unit in c.encode_utf16(&mut units) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

fn escape(text: &str, keep_line_breaks: bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' if keep_line_breaks => safe.push('\n'),
            '\t' => safe.push_str("    "),
            c if steers(c) => safe.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => safe.push(c),
        }
    }
    safe
}

/// Whether a character does something to a terminal other than being seen.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{061c}' // invisible, direction marks
            | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' // invisible joiners and operators, shaping
            | '\u{00ad}' | '\u{180e}' | '\u{1160}' | '\u{115f}' | '\u{3164}' | '\u{ffa0}' // hyphen, separator, fillers
            | '\u{2028}' | '\u{2029}' // line and paragraph separators
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' // direction overrides and isolates
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' // byte order mark, annotations
            | '\u{e0000}'..='\u{e007f}') // tags
}

/// How many columns a character takes: rather too many than too few, so that no terminal breaks a line where this program
/// does not.
pub(crate) fn width(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036f
        | 0x0483..=0x0489
        | 0x0591..=0x05bd
        | 0x064b..=0x065f
        | 0x1ab0..=0x1aff
        | 0x1dc0..=0x1dff
        | 0x200c..=0x200d
        | 0x20d0..=0x20ff
        | 0xfe00..=0xfe0e
        | 0xfe20..=0xfe2f => 0,
        0x1100..=0x115f
        | 0x231a..=0x231b
        | 0x2329..=0x232a
        | 0x23e9..=0x23f3
        | 0x25fd..=0x25fe
        | 0x2614..=0x2615
        | 0x2630..=0x2637
        | 0x2648..=0x2653
        | 0x267f
        | 0x268a..=0x268f
        | 0x2693
        | 0x26a1
        | 0x26aa..=0x26ab
        | 0x26bd..=0x26be
        | 0x26c4..=0x26c5
        | 0x26ce
        | 0x26d4
        | 0x26ea
        | 0x26f2..=0x26f3
        | 0x26f5
        | 0x26fa
        | 0x26fd
        | 0x2705
        | 0x270a..=0x270b
        | 0x2728
        | 0x274c
        | 0x274e
        | 0x2753..=0x2755
        | 0x2757
        | 0x2795..=0x2797
        | 0x27b0
        | 0x27bf
        | 0x2b1b..=0x2b1c
        | 0x2b50
        | 0x2b55
        | 0x2e80..=0x303e
        | 0x3041..=0x33ff
        | 0x3400..=0x4dbf
        | 0x4e00..=0x9fff
        | 0xa000..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe4f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x16fe0..=0x18dff
        | 0x1aff0..=0x1b2ff
        | 0x1f000..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// A text for a terminal of so many columns: what does not fit into a line goes on in the next one, indented, so that the
/// terminal breaks none itself and begins what a peer wrote where the program's own lines begin.
// [SPEC 12.6]
pub(crate) fn fit(text: &str, columns: usize) -> String {
    const INDENT: usize = 4;
    let columns = columns.saturating_sub(INDENT).max(INDENT);
    let fitted = |line| wrap(line, columns).join(&format!("\n{}", " ".repeat(INDENT)));
    text.split('\n').map(fitted).collect::<Vec<_>>().join("\n")
}

/// Breaks a text into lines of at most `columns` columns, at blanks where there are any. Blanks beyond the end of a line go.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        let mut used = 0;
        for word in paragraph.split_inclusive(' ') {
            let wide: usize = word.trim_end().chars().map(width).sum();
            if used > 0 && used + wide > columns {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            for c in word.chars() {
                if used + width(c) > columns {
                    if c == ' ' {
                        continue;
                    }
                    lines.push(std::mem::take(&mut line));
                    used = 0;
                }
                line.push(c);
                used += width(c);
            }
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    // [SPEC 12.6]
    #[test]
    fn nothing_a_peer_writes_steers_the_terminal() {
        let evil = "a\u{1b}[2J\u{9b}1mb\u{7f}\u{202e}c\u{2066}\r\nbob: I agree\u{e0041}\u{200b}\u{2060}\u{206e}\u{ad}\u{3164}";
        for shown in [line(evil), block(evil, 4), json(&evil)] {
            assert!(shown.chars().all(|c| c == '\n' || !steers(c)), "{shown:?}");
        }
        assert!(!line(evil).contains('\n'));
        // A second line never begins where the program's own lines begin.
        assert!(block(evil, 4).contains("\n    bob"));
        let back: String = serde_json::from_str(&json(&evil)).unwrap();
        assert_eq!(back, evil);
    }

    #[test]
    fn lines_break_at_blanks_and_inside_long_words() {
        assert_eq!(wrap("one two three", 8), ["one two ", "three"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("日本語", 4), ["日本", "語"]);
        assert_eq!(wrap("a\n\nb", 4), ["a", "", "b"]);
        assert_eq!(wrap("a         b", 4), ["a   ", "b"]);
    }

    // [SPEC 12.6]
    #[test]
    fn nothing_a_peer_writes_begins_a_line_of_the_terminal() {
        for padding in [
            " ".repeat(500),
            "\u{26a1}".repeat(40),
            "x".repeat(80),
            "\u{2764}\u{fe0f}".repeat(40),
        ] {
            let text = block(
                &format!("hello{padding}9  2026-01-01 00:00  me: I agree"),
                4,
            );
            let shown = fit(&format!("8  2026-01-01 00:00  bob: {text}"), 80);
            for (n, line) in shown.split('\n').enumerate() {
                assert!(line.chars().map(width).sum::<usize>() <= 80, "{line:?}");
                assert!(n == 0 || line.starts_with("    "), "{line:?}");
            }
        }
    }
}
