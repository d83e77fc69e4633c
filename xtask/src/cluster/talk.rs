//! People who talk without end, two and two, and what of it arrived when.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::demo::room::Person;

/// Between two messages of one person.
const PAUSE: Duration = Duration::from_millis(400);
/// How often somebody looks what has arrived.
const LOOK: Duration = Duration::from_millis(50);
/// How `send` ends when the message is kept, and goes out later.
const NOT_YET: i32 = 3;

/// What one person says to another.
struct Line {
    from: Person,
    to: &'static str,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    /// When each message was given to `send`: the first has number 0.
    sent: Vec<Instant>,
    /// Numbers in the order in which they were shown.
    heard: Vec<(usize, Instant)>,
    failure: Option<String>,
}

impl Line {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fails(&self, why: String) {
        self.said().failure.get_or_insert(why);
    }

    /// Says one thing after the other.
    fn talk(&self, is_over: &AtomicBool) {
        loop {
            let number = {
                let mut said = self.said();
                // Whoever ends the talk asks for this afterwards.
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                said.sent.push(Instant::now());
                said.sent.len() - 1
            };
            match self
                .from
                .try_run(&["send", self.to, &number.to_string()], "")
            {
                Ok(done) if matches!(done.code, Some(0 | NOT_YET)) => {}
                Ok(done) => self.fails(format!("{}{}", done.out, done.errors)),
                Err(why) => self.fails(why),
            }
            thread::sleep(PAUSE);
        }
    }

    /// Writes down what the other one is shown.
    fn listen(&self, shown: impl BufRead) {
        for line in shown.lines().map_while(Result::ok) {
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            let Some(text) = event.get("text").and_then(Value::as_str) else {
                continue;
            };
            match text.parse() {
                Ok(number) => self.said().heard.push((number, Instant::now())),
                Err(_) => self.fails(format!("{} got {text:?}", self.to)),
            }
        }
    }
}

/// All of them.
pub(crate) struct Talk {
    lines: Vec<Arc<Line>>,
    listening: Vec<Child>,
    threads: Vec<JoinHandle<()>>,
    is_over: Arc<AtomicBool>,
}

impl Talk {
    /// Begins. Whoever is named has a daemon that runs.
    ///
    /// # Errors
    /// When a program cannot be run.
    pub(crate) fn begin(pairs: &[(Person, Person)]) -> Result<Talk, String> {
        let mut talk = Talk {
            lines: Vec::new(),
            listening: Vec::new(),
            threads: Vec::new(),
            is_over: Arc::default(),
        };
        for (one, other) in pairs {
            talk.line(one, other)?;
            talk.line(other, one)?;
        }
        Ok(talk)
    }

    fn line(&mut self, from: &Person, to: &Person) -> Result<(), String> {
        let mut listening = to.command(&["--json", "receive", "--follow"]);
        listening
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut listening = listening
            .spawn()
            .map_err(|e| format!("cannot run emptyroom: {e}"))?;
        let shown = listening.stdout.take();
        self.listening.push(listening);
        let line = Arc::new(Line {
            from: from.clone(),
            to: to.name,
            said: Mutex::default(),
        });
        let (speaks, hears) = (Arc::clone(&line), Arc::clone(&line));
        let is_over = Arc::clone(&self.is_over);
        self.threads
            .push(thread::spawn(move || speaks.talk(&is_over)));
        self.threads.push(thread::spawn(move || {
            if let Some(shown) = shown {
                hears.listen(BufReader::new(shown));
            }
        }));
        self.lines.push(line);
        Ok(())
    }

    /// Waits until everybody was shown something that was said since `begun`; how long after it the last one was.
    ///
    /// # Errors
    /// When that takes longer than `longest`, or somebody's command failed.
    pub(crate) fn goes_on(&self, begun: Instant, longest: Duration) -> Result<Duration, String> {
        let mut took = Duration::ZERO;
        for line in &self.lines {
            let first = |said: &Said| {
                let since = said.sent.partition_point(|sent| *sent <= begun);
                let heard = said.heard.iter().find(|(number, _)| *number >= since);
                heard.map(|(_, at)| *at)
            };
            let at = line.wait(begun + longest, first)?;
            took = took.max(at.duration_since(begun));
        }
        Ok(took)
    }

    /// Ends the talk: how many messages there were. Each was shown, once, in the order in which it was said.
    ///
    /// # Errors
    /// When one was not, or not within `longest`.
    pub(crate) fn end(mut self, longest: Duration) -> Result<usize, String> {
        self.is_over.store(true, Ordering::Relaxed);
        let until = Instant::now() + longest;
        let mut all = 0;
        for line in &self.lines {
            let whole = |said: &Said| (said.heard.len() >= said.sent.len()).then_some(());
            line.wait(until, whole)?;
        }
        self.stop();
        for line in &self.lines {
            let said = line.said();
            let heard = said.heard.iter().map(|(number, _)| *number);
            if !heard.clone().eq(0..said.sent.len()) {
                let heard: Vec<usize> = heard.collect();
                let (number, to) = (said.sent.len(), line.to);
                return Err(format!("of {number} messages {to} was shown {heard:?}"));
            }
            all += said.sent.len();
        }
        Ok(all)
    }

    fn stop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for mut listening in self.listening.drain(..) {
            let _ = listening.kill();
            let _ = listening.wait();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Line {
    /// Looks until there is an answer.
    fn wait<T>(&self, until: Instant, look: impl Fn(&Said) -> Option<T>) -> Result<T, String> {
        loop {
            {
                let said = self.said();
                if let Some(why) = &said.failure {
                    return Err(format!("{}: {why}", self.from.name));
                }
                if let Some(found) = look(&said) {
                    return Ok(found);
                }
                if Instant::now() > until {
                    let (sent, heard) = (said.sent.len(), said.heard.len());
                    let (from, to) = (self.from.name, self.to);
                    return Err(format!("of {sent} messages of {from} {to} has {heard}"));
                }
            }
            thread::sleep(LOOK);
        }
    }
}
