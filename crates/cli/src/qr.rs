//! QR codes of half blocks, black on white whatever the terminal's colours are.

use qrcode::{Color, EcLevel, QrCode};

/// Modules around the code that stay white.
const QUIET: usize = 2;

/// The code as lines for a terminal of so many columns; nothing where it does not fit, or the text is too long for one.
pub(crate) fn lines(text: &str, columns: usize) -> Option<Vec<String>> {
    let code = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::L).ok()?;
    let width = code.width();
    let colors = code.to_colors();
    let dark = |x: usize, y: usize| {
        let inside = |at: usize| at.checked_sub(QUIET).filter(|at| *at < width);
        let (Some(x), Some(y)) = (inside(x), inside(y)) else {
            return false;
        };
        colors.get(y * width + x) == Some(&Color::Dark)
    };
    let side = width + 2 * QUIET;
    if side > columns {
        return None;
    }
    Some(
        (0..side.div_ceil(2))
            .map(|row| {
                let blocks: String = (0..side)
                    .map(|x| match (dark(x, 2 * row), dark(x, 2 * row + 1)) {
                        (true, true) => '█',
                        (true, false) => '▀',
                        (false, true) => '▄',
                        (false, false) => ' ',
                    })
                    .collect();
                format!("\u{1b}[38;5;16;48;5;231m{blocks}\u{1b}[0m")
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_square_and_framed_in_white() {
        let lines = lines("https://emptyroom.example", 80).unwrap();
        let plain = |line: &String| {
            line.trim_start_matches("\u{1b}[38;5;16;48;5;231m")
                .trim_end_matches("\u{1b}[0m")
                .to_owned()
        };
        let rows: Vec<String> = lines.iter().map(plain).collect();
        let width = rows[0].chars().count();
        assert_eq!(rows.len(), width.div_ceil(2));
        assert!(rows[0].chars().all(|c| c == ' '));
        // The finder pattern begins below the quiet zone.
        assert!(rows[1].starts_with("  █▀▀▀▀▀█ "), "{}", rows[1]);
        assert!(super::lines(&"x".repeat(5_000), usize::MAX).is_none());
        assert!(super::lines("https://emptyroom.example", width).is_some());
        assert!(super::lines("https://emptyroom.example", width - 1).is_none());
    }
}
