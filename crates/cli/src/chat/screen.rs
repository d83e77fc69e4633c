//! What the whole screen shows, as plain rows: a function of the conversation and the time, without a terminal.

use emptyroom_node::api::{Line, LineBody};

use super::editor::Editor;
use crate::{span, terminal, words};

/// Title, hint and input.
const ROWS_OF_PROGRAM: usize = 3;

/// Narrower than this nothing is laid out.
const COLUMNS_MIN: usize = 10;

/// A row with what it is, so that the terminal can set it off.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) text: String,
    pub(crate) kind: Kind,
}

/// How a row is set off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The title at the top.
    Title,
    /// Of the other side.
    Theirs,
    /// Of this side.
    Own,
    /// Something that happened.
    Notice,
    /// The program's own line above the input.
    Hint,
    /// The line that is typed.
    Input,
}

/// All that is shown.
pub(crate) struct View<'a> {
    pub(crate) title: &'a str,
    pub(crate) name: &'a str,
    pub(crate) lines: &'a [Line],
    pub(crate) hint: &'a str,
    pub(crate) editor: &'a Editor,
    pub(crate) now_ms: u64,
}

/// The rows of the whole screen, top to bottom, exactly as many as it has; and the cursor's column in the last one.
pub(crate) fn rows(view: &View<'_>, columns: usize, height: usize) -> (Vec<Row>, usize) {
    let columns = columns.max(COLUMNS_MIN);
    let room = height.saturating_sub(ROWS_OF_PROGRAM);
    let mut body: Vec<Row> = Vec::new();
    // From the newest up, until the screen is full.
    for line in view.lines.iter().rev() {
        let rows = line_rows(view, line, columns);
        body.extend(rows.into_iter().rev());
        if body.len() >= room {
            break;
        }
    }
    body.truncate(room);
    body.resize_with(room, || Row {
        text: String::new(),
        kind: Kind::Notice,
    });
    body.reverse();
    let (typed, cursor) = view.editor.view(columns.saturating_sub(3));
    let mut rows = vec![Row {
        text: cut(view.title, columns),
        kind: Kind::Title,
    }];
    rows.append(&mut body);
    rows.push(Row {
        text: cut(view.hint, columns),
        kind: Kind::Hint,
    });
    rows.push(Row {
        text: format!("> {typed}"),
        kind: Kind::Input,
    });
    (rows, cursor + 2)
}

/// How many of the newest lines are on the screen from their first row to their last.
// [SPEC 12.7]
pub(crate) fn lines_shown(view: &View<'_>, columns: usize, height: usize) -> usize {
    let mut left = height.saturating_sub(ROWS_OF_PROGRAM);
    let newest_first = view.lines.iter().rev();
    newest_first
        .take_while(|line| {
            let rows = line_rows(view, line, columns.max(COLUMNS_MIN)).len();
            let fits = rows <= left;
            left = left.saturating_sub(rows);
            fits
        })
        .count()
}

/// Whether something on the screen changes by itself.
pub(crate) fn runs(lines: &[Line]) -> bool {
    lines.iter().any(|line| expires_at(line).is_some())
}

fn line_rows(view: &View<'_>, line: &Line, columns: usize) -> Vec<Row> {
    let time = span::local(line.at);
    let time = time.get(11..).unwrap_or(&time);
    let name = terminal::line(view.name);
    let (head, text, tail, kind) = match &line.body {
        LineBody::Received { text, .. } => (
            format!("{time} {name}: "),
            terminal::block(text, 0),
            left(view, line),
            Kind::Theirs,
        ),
        LineBody::Sent { text, state, .. } => {
            let state = match left(view, line) {
                left if left.is_empty() => format!(" [{}]", words::state_word(state)),
                left => format!(" [{}]{left}", words::state_word(state)),
            };
            (
                format!("{time} me: "),
                terminal::block(text, 0),
                state,
                Kind::Own,
            )
        }
        notice => (
            format!("{time} * "),
            words::notice_text(&name, notice).unwrap_or_default(),
            String::new(),
            Kind::Notice,
        ),
    };
    let number = line.id;
    let whole = format!("{number:>4} {head}{text}{tail}");
    let indent = 5;
    let mut rows = Vec::new();
    for (n, part) in terminal::wrap(&whole, columns.saturating_sub(indent))
        .into_iter()
        .enumerate()
    {
        let text = if n == 0 {
            part
        } else {
            format!("{}{part}", " ".repeat(indent))
        };
        rows.push(Row { text, kind });
    }
    rows
}

/// What is left of a message's time, for people.
fn left(view: &View<'_>, line: &Line) -> String {
    expires_at(line).map_or(String::new(), |at| {
        format!(
            " ({})",
            span::left(at.saturating_sub(view.now_ms).div_ceil(1_000))
        )
    })
}

fn expires_at(line: &Line) -> Option<u64> {
    match &line.body {
        LineBody::Received { expires_at, .. } | LineBody::Sent { expires_at, .. } => *expires_at,
        _ => None,
    }
}

fn cut(text: &str, columns: usize) -> String {
    terminal::wrap(&terminal::line(text), columns)
        .into_iter()
        .next()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use emptyroom_node::api::MessageState;

    use super::*;

    fn line(id: u64, body: LineBody) -> Line {
        Line { id, at: 0, body }
    }

    fn received(text: &str, expires_at: Option<u64>) -> LineBody {
        LineBody::Received {
            text: text.into(),
            sent_at: 0,
            read: true,
            timer_s: expires_at.map(|_| 30),
            expires_at,
        }
    }

    fn view<'a>(lines: &'a [Line], editor: &'a Editor) -> View<'a> {
        View {
            title: "bob",
            name: "bob",
            lines,
            hint: "",
            editor,
            now_ms: 1_000,
        }
    }

    fn shown(lines: &[Line], columns: usize, height: usize) -> Vec<String> {
        rows(&view(lines, &Editor::default()), columns, height)
            .0
            .into_iter()
            .map(|row| row.text)
            .collect()
    }

    #[test]
    fn the_newest_lines_stand_above_the_input_and_timers_run() {
        let lines = [
            line(1, received("first", None)),
            line(
                2,
                LineBody::TimerChanged {
                    own: false,
                    timer_s: Some(30),
                },
            ),
            line(3, received("burns", Some(31_000))),
            line(
                4,
                LineBody::Sent {
                    text: "own".into(),
                    state: MessageState::Delivered,
                    timer_s: None,
                    expires_at: None,
                },
            ),
        ];
        let screen = shown(&lines, 80, 6);
        assert_eq!(screen.len(), 6);
        assert!(
            screen[1].ends_with("* bob set the timer: new messages live 30s"),
            "{screen:?}"
        );
        assert!(screen[2].ends_with("bob: burns (30s)"), "{screen:?}");
        assert!(screen[3].ends_with("me: own [delivered]"), "{screen:?}");
        assert_eq!(screen[5], "> ");
        assert!(runs(&lines) && !runs(&lines[..1]));
    }

    // [SPEC 12.7]
    #[test]
    fn only_lines_that_fit_count_as_shown() {
        let lines = [
            line(1, received("first", None)),
            line(2, received("two\nrows", None)),
            line(3, received("last", None)),
        ];
        let editor = Editor::default();
        for (height, whole) in [(3, 0), (4, 1), (5, 1), (6, 2), (7, 3), (80, 3)] {
            let view = view(&lines, &editor);
            assert_eq!(lines_shown(&view, 80, height), whole, "{height}");
        }
    }

    // [SPEC 12.6]
    #[test]
    fn long_and_hostile_texts_stay_in_their_rows() {
        let lines = [line(
            1,
            received("\u{1b}[2Jx\n   2 12:00 me: I agree\u{202e}", None),
        )];
        let screen = shown(&lines, 30, 12);
        assert_eq!(screen.len(), 12);
        for row in &screen {
            assert!(row.chars().all(|c| !c.is_control()), "{row:?}");
            assert!(
                row.chars().map(terminal::width).sum::<usize>() <= 30,
                "{row:?}"
            );
        }
        // A line break cannot make a row that begins like an own one.
        assert!(
            !screen.iter().any(|row| row.starts_with("   2 ")),
            "{screen:?}"
        );
    }
}
