//! `cargo xtask picture`: `docs/demo.svg`, a terminal picture of a demo that was really run.

use crate::demo::Stage;
use crate::demo::room::{Programs, Room};
use crate::demo::teller::{Style, Teller};
use crate::{Outcome, system, tree};
use std::fmt::Write;
use std::fs;

const PICTURE: &str = "docs/demo.svg";
/// Longer lines are cut in the picture.
const COLUMNS_MAX: usize = 96;
/// Pixels of one character cell at the font size below.
const CELL_WIDTH: f32 = 7.85;
const LINE_HEIGHT: usize = 19;
const MARGIN: usize = 24;
/// Height of the window's title bar.
const BAR: usize = 36;

/// Runs the demo and draws what it told.
pub(crate) fn command(arguments: &[String]) -> Outcome {
    if !arguments.is_empty() {
        return Err("takes no arguments".into());
    }
    system::ready_to_build(false)?;
    let programs = Programs::build(&[])?;
    let room = Room::new("emptyroom-picture")?;
    let mut teller = Teller::new();
    let mut stage = Stage::set(&mut teller, &programs, &room)?;
    stage.play(&mut teller)?;
    stage.relay.stop()?;
    let path = tree::root().join(PICTURE);
    fs::write(&path, draw(&teller.lines)).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(true)
}

fn draw(lines: &[(Style, String)]) -> String {
    let shown: Vec<(Style, String)> = lines
        .iter()
        .map(|(style, text)| (*style, cut(text)))
        .collect();
    let columns = shown
        .iter()
        .map(|(_, text)| text.chars().count())
        .max()
        .unwrap_or(0);
    // A picture has a few hundred columns at most: nothing is lost here.
    let columns = u16::try_from(columns).unwrap_or(u16::MAX);
    let width = f32::from(columns) * CELL_WIDTH + 48.0;
    let height = BAR + 2 * MARGIN + shown.len() * LINE_HEIGHT;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" xml:space=\"preserve\" width=\"{width:.0}\" height=\"{height}\" viewBox=\"0 0 {width:.0} {height}\" role=\"img\">\n\
         <title>cargo xtask demo</title>\n\
         <!-- Recorded by `cargo xtask picture` from a real run; do not edit. -->\n\
         <style>text{{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre;fill:#c9d1d9}}\
         .t{{font-weight:bold;fill:#f0f6fc}}.c{{fill:#79c0ff}}.p{{fill:#a5b1bd}}.g{{fill:#7ee787}}.w{{fill:#8b949e;text-anchor:middle}}</style>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"10\" fill=\"#0d1117\"/>\n\
         <rect width=\"100%\" height=\"{BAR}\" rx=\"10\" fill=\"#161b22\"/>\n\
         <circle cx=\"22\" cy=\"18\" r=\"6\" fill=\"#ff5f57\"/><circle cx=\"42\" cy=\"18\" r=\"6\" fill=\"#febc2e\"/><circle cx=\"62\" cy=\"18\" r=\"6\" fill=\"#28c840\"/>\n\
         <text class=\"w\" x=\"50%\" y=\"23\">cargo xtask demo</text>\n"
    );
    for (number, (style, text)) in shown.iter().enumerate() {
        let class = match style {
            Style::Title => " class=\"t\"",
            Style::Typed => " class=\"c\"",
            Style::Printed => " class=\"p\"",
            Style::Good => " class=\"g\"",
            Style::Story => "",
        };
        let y = BAR + MARGIN + (number + 1) * LINE_HEIGHT - 6;
        if !text.is_empty() {
            // Writing to a string does not fail.
            let _ = writeln!(
                svg,
                "<text{class} x=\"{MARGIN}\" y=\"{y}\">{}</text>",
                escaped(text)
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn cut(text: &str) -> String {
    if text.chars().count() <= COLUMNS_MAX {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(COLUMNS_MAX - 1).collect();
    short.push('…');
    short
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_every_line_escaped_and_none_too_long() {
        let lines = [
            (Style::Typed, "a$ b < c & \"d\"".to_owned()),
            (Style::Story, String::new()),
            (Style::Printed, "x".repeat(COLUMNS_MAX + 5)),
        ];
        let svg = draw(&lines);
        assert!(svg.contains(">a$ b &lt; c &amp; \"d\"</text>"));
        assert!(svg.contains(&format!("{}…</text>", "x".repeat(COLUMNS_MAX - 1))));
        assert_eq!(svg.matches("<text").count(), 3);
    }
}
