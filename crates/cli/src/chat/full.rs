//! Chat on a whole terminal: the alternate screen, drawn anew from the records whenever something happens.
//!
//! The alternate screen has no scrollback, so a message that burns is gone from the terminal as well. What is shown is read
//! from the records each time; events only say when.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use crossterm::event::{Event as Typed, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use emptyroom_node::api::{Answer, Call, Event, Failure, Line, LineBody};
use emptyroom_node::{Events, Session};

use super::INPUTS_WAITING_MAX;
use super::canvas::{self, AlternateScreen};
use super::editor::Editor;
use super::idle::Idle;
use super::screen::{View, lines_shown, rows, runs};
use crate::command::history;
use crate::command::receive::inbox::now_ms;
use crate::signals::{Then, Watch};
use crate::terminal::size;
use crate::{failure, room, span, words};

/// Lines of the conversation that are read for one screen.
const LINES_SHOWN: usize = 200;

/// How often running timers are drawn.
const TIMER_STEP: Duration = Duration::from_secs(1);

/// Shown while a message waits to be read.
const BURNS_ON_KEY: &str = "a message burns as soon as you press a key";

/// Shown while messages wait that do not fit: they do not count as read before they were seen.
const ABOVE: &str = "unread messages above do not fit: leave, `emptyroom receive` prints them";

/// Shown where a pasted text does not fit into a message.
const TOO_LONG: &str = "too long to paste: a message has 16 KiB";

/// What can come.
enum Input {
    Typed(Typed),
    Happened(Event),
    Locked,
    /// The program was told to end.
    Ended,
}

/// What a key comes to.
enum Step {
    Stay,
    Leave,
}

/// Talks until the user leaves.
///
/// # Errors
/// When the vault was locked, nothing was typed for too long, or the terminal fails.
pub(crate) fn run(session: &Session, name: &str, idle: Idle) -> Result<(), Failure> {
    let (sender, inputs) = sync_channel(INPUTS_WAITING_MAX);
    let _watch = watch(sender.clone())?;
    let _screen = AlternateScreen::enter()?;
    listen(session.events()?, sender);
    Chat {
        session,
        name,
        seen: false,
        lines: Vec::new(),
        title: String::new(),
        hint: String::new(),
        editor: Editor::default(),
        idle,
    }
    .run(&inputs)
}

struct Chat<'a> {
    session: &'a Session,
    name: &'a str,
    lines: Vec<Line>,
    title: String,
    hint: String,
    editor: Editor,
    /// A key was pressed since the last draw.
    seen: bool,
    idle: Idle,
}

/// Whether nothing can be asked for any more.
// [SPEC 12.46]
fn has_ended(failure: &Failure) -> bool {
    ["vault_locked", "vault_destroyed", "wipe_failed"].contains(&failure.error.as_str())
}

impl Chat<'_> {
    fn run(&mut self, inputs: &Receiver<Input>) -> Result<(), Failure> {
        self.read()?;
        loop {
            self.draw()?;
            if self.mark()? {
                self.read()?;
                continue;
            }
            let timers = runs(&self.lines).then_some(TIMER_STEP);
            let wait = timers.map_or(self.idle.left(), |step| step.min(self.idle.left()));
            let mut next = match inputs.recv_timeout(wait) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Err(Failure::locked()),
            };
            self.idle.check()?;
            let mut stale = false;
            while let Some(input) = next {
                match input {
                    Input::Typed(Typed::Key(key)) => {
                        stale |= key.code == KeyCode::Enter;
                        self.seen = true;
                        self.idle.typed();
                        if matches!(self.key(key)?, Step::Leave) {
                            return Ok(());
                        }
                    }
                    // Text that comes from elsewhere: what sends and commands is what was typed.
                    // [SPEC 12.38]
                    Input::Typed(Typed::Paste(text)) => {
                        self.seen = true;
                        self.idle.typed();
                        if !self.editor.paste(&text) {
                            self.hint = TOO_LONG.to_owned();
                        }
                    }
                    Input::Typed(_) => {}
                    Input::Happened(event) => {
                        self.tell(&event)?;
                        stale = true;
                    }
                    Input::Locked => return Err(Failure::locked()),
                    Input::Ended => return Ok(()),
                }
                next = inputs.try_recv().ok();
            }
            if stale {
                self.read()?;
            }
        }
    }

    /// Reads what is to be shown.
    fn read(&mut self) -> Result<(), Failure> {
        let contact = room::contact(self.session, self.name)?;
        let verified = if contact.verified {
            "verified"
        } else {
            "not verified"
        };
        self.title = format!(
            "{} · {} · {verified} · timer {}",
            self.name,
            words::with_why(&contact.state, contact.why.as_deref()),
            words::timer(contact.timer_s)
        );
        self.lines = history::lines(self.session, self.name, LINES_SHOWN)?;
        // No key that came before them says that they were seen.
        self.seen = false;
        Ok(())
    }

    /// What has been drawn was shown. A message that burns on reading waits for a key, else nobody would ever see it.
    /// Says whether something has changed.
    fn mark(&mut self) -> Result<bool, Failure> {
        let burns = |line: &Line| {
            matches!(
                line.body,
                LineBody::Received {
                    read: false,
                    timer_s: Some(0),
                    ..
                }
            )
        };
        let (columns, height) = size();
        let shown = lines_shown(&self.view(), columns, height);
        let above = self.lines.len().saturating_sub(shown);
        let shown = self.lines.get(above..).unwrap_or_default();
        if shown.iter().any(burns) && !self.seen {
            return self.say(BURNS_ON_KEY).map(|()| false);
        }
        if history::mark(self.session, self.name, shown)? {
            return Ok(true);
        }
        let above = self.lines.iter().any(history::is_unread);
        // What the relay did is told first.
        if above && self.hint.is_empty() {
            return self.say(ABOVE).map(|()| false);
        }
        if !above && [BURNS_ON_KEY, ABOVE].contains(&self.hint.as_str()) {
            self.hint.clear();
        }
        Ok(false)
    }

    /// Shows a hint at once.
    fn say(&mut self, hint: &str) -> Result<(), Failure> {
        if self.hint == hint {
            return Ok(());
        }
        self.hint = hint.to_owned();
        self.draw()
    }

    fn tell(&mut self, event: &Event) -> Result<(), Failure> {
        // [SPEC 12.46]
        if let Some(why) = event.end() {
            return Err(why);
        }
        match event {
            Event::Connection { relay, up: true } => {
                // That all is well is no news: what said otherwise goes.
                let was = words::event(&Event::Connection {
                    relay: relay.clone(),
                    up: false,
                });
                if was.is_some_and(|was| was == self.hint) {
                    self.hint.clear();
                }
                Ok(())
            }
            Event::Connection { up: false, .. }
            | Event::UpdateNeeded { .. }
            | Event::RelayTrouble { .. }
            | Event::PeerTrouble { .. }
            | Event::RestartWaits { .. }
            | Event::ConversationOver { .. }
            | Event::Deadman { .. }
            | Event::DeadmanUnwritten {}
            | Event::WrongPins {}
            | Event::SwitchGone { .. }
            | Event::SwitchFilled { .. } => {
                self.hint = words::event(event).unwrap_or_default();
                Ok(())
            }
            Event::MessageReceived { conversation, .. } if conversation != self.name => {
                self.hint = format!("new message from {conversation}");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn key(&mut self, key: KeyEvent) -> Result<Step, Failure> {
        if key.kind == KeyEventKind::Release {
            return Ok(Step::Stay);
        }
        let editor = &mut self.editor;
        match (key.code, key.modifiers.contains(KeyModifiers::CONTROL)) {
            (KeyCode::Char('c'), true) => return Ok(Step::Leave),
            (KeyCode::Char('d'), true) if editor.is_empty() => return Ok(Step::Leave),
            (KeyCode::Char('d'), true) | (KeyCode::Delete, _) => editor.delete(),
            (KeyCode::Char('u'), true) => editor.delete_to_start(),
            (KeyCode::Char('w'), true) => editor.delete_word(),
            (KeyCode::Char('a'), true) | (KeyCode::Home, _) => editor.home(),
            (KeyCode::Char('e'), true) | (KeyCode::End, _) => editor.end(),
            (KeyCode::Char(c), false) => editor.insert(c),
            (KeyCode::Backspace, _) => editor.backspace(),
            (KeyCode::Left, _) => editor.left(),
            (KeyCode::Right, _) => editor.right(),
            (KeyCode::Enter, _) => {
                let line = editor.take();
                return self.entered(&line);
            }
            _ => {}
        }
        Ok(Step::Stay)
    }

    /// A line was entered: a command or a message. What is refused is told and changes nothing.
    fn entered(&mut self, line: &str) -> Result<Step, Failure> {
        self.hint.clear();
        let call = match parse(self.name, line) {
            Ok(Entered::Nothing) => return Ok(Step::Stay),
            Ok(Entered::Leave) => return Ok(Step::Leave),
            Ok(Entered::Call(call)) => call,
            Err(text) => {
                self.hint = text;
                return Ok(Step::Stay);
            }
        };
        match self.session.call(call) {
            Ok(Answer::Deleted {
                may_have_left: true,
            }) => {
                self.hint = "it was on its way: it may arrive all the same".to_owned();
                Ok(Step::Stay)
            }
            Ok(_) => Ok(Step::Stay),
            Err(failure) if has_ended(&failure) => Err(failure),
            Err(failure) => {
                self.hint = failure.text;
                if !line.starts_with('/') {
                    self.editor.paste(line);
                }
                Ok(Step::Stay)
            }
        }
    }

    fn draw(&self) -> Result<(), Failure> {
        let (columns, height) = size();
        let (rows, cursor) = rows(&self.view(), columns, height);
        canvas::put(&rows, cursor).map_err(|e| failure::io("the terminal", &e))
    }

    fn view(&self) -> View<'_> {
        View {
            title: &self.title,
            name: self.name,
            lines: &self.lines,
            hint: &self.hint,
            editor: &self.editor,
            now_ms: now_ms(),
        }
    }
}

/// What a line comes to.
enum Entered {
    Nothing,
    Leave,
    Call(Call),
}

fn parse(name: &str, line: &str) -> Result<Entered, String> {
    let name = name.to_owned();
    let send = |text: &str, burn_s| Call::Send {
        to: name.clone(),
        text: text.to_owned(),
        burn_s,
        relay_days: None,
    };
    let Some(command) = line.strip_prefix('/') else {
        return Ok(if line.is_empty() {
            Entered::Nothing
        } else {
            Entered::Call(send(line, None))
        });
    };
    if command.starts_with('/') {
        return Ok(Entered::Call(send(command, None)));
    }
    let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
    let rest = rest.trim_start();
    Ok(Entered::Call(match word {
        "quit" => return Ok(Entered::Leave),
        "timer" => Call::SetTimer {
            name: name.clone(),
            timer_s: span::timer(rest)?.0,
        },
        "burn" => {
            let (time, text) = rest.split_once(' ').ok_or("/burn TIME TEXT")?;
            send(text, Some(span::burn(time)?))
        }
        "delete" => Call::Delete {
            name: name.clone(),
            id: rest.parse().map_err(|_| "/delete NUMBER")?,
        },
        _ => {
            return Err(
                "/burn TIME TEXT, /timer TIME, /delete NUMBER, /quit; //TEXT begins with a slash"
                    .to_owned(),
            );
        }
    }))
}

/// Keys and events into one channel, each from its own thread. Who is not read waits: keys in the terminal, events where
/// too many become [`Event::Missed`].
fn listen(events: Events, inputs: SyncSender<Input>) {
    let typed = inputs.clone();
    std::thread::spawn(move || {
        while let Ok(event) = crossterm::event::read() {
            if typed.send(Input::Typed(event)).is_err() {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        for event in events {
            if inputs.send(Input::Happened(event)).is_err() {
                return;
            }
        }
        let _ = inputs.send(Input::Locked);
    });
}

/// The first signal ends the conversation as leaving does, so that the vault is locked; if that takes too long, another one
/// ends the program. The terminal is put back in any case.
fn watch(inputs: SyncSender<Input>) -> Result<Watch, Failure> {
    let mut told = false;
    Watch::with(move || {
        if !told && inputs.try_send(Input::Ended).is_ok() {
            told = true;
            return Then::Stay;
        }
        canvas::put_back();
        Then::End
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_or_commands() {
        let call = |line| match parse("bob", line) {
            Ok(Entered::Call(call)) => Some(serde_json::to_value(&call).unwrap()),
            _ => None,
        };
        let text = |line| call(line).and_then(|c| c["params"]["text"].as_str().map(str::to_owned));
        assert_eq!(text("hello"), Some("hello".into()));
        assert_eq!(text("//etc"), Some("/etc".into()));
        assert_eq!(text("/burn 30s the code"), Some("the code".into()));
        assert_eq!(
            call("/timer off").unwrap()["params"]["timer_s"],
            serde_json::Value::Null
        );
        assert_eq!(call("/delete 12").unwrap()["params"]["id"], 12);
        assert!(matches!(parse("bob", ""), Ok(Entered::Nothing)));
        assert!(matches!(parse("bob", "/quit"), Ok(Entered::Leave)));
        for wrong in [
            "/burn 30s",
            "/burn soon x",
            "/timer",
            "/delete x",
            "/unknown",
        ] {
            assert!(parse("bob", wrong).is_err(), "{wrong}");
        }
    }
}
