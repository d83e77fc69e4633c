//! `cargo xtask demo`: two people, one relay, a conversation, and what is left of it on the relay's disk.
//!
//! Everything is real: the programs that users get, a fresh relay, two fresh vaults. Only the passphrase
//! derivation runs at its documented minimum cost, so that the demo takes seconds. Nothing is left behind.

pub(crate) mod disk;
pub(crate) mod room;
pub(crate) mod teller;

use crate::{Outcome, system};
use disk::Stored;
use room::{Person, Programs, Relay, Room};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::IsTerminal;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};
use teller::Teller;

/// How long the burning message lives after it was read.
const BURNING: Duration = Duration::from_secs(10);
/// How long it may take to be gone, above that.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// How long a command waits for a message to come.
const WAIT: &str = "20s";

/// What the two say; the last one burns.
const HELLO: &str = "Did the documents reach you?";
const ANSWER: &str = "All forty pages. I am reading them now.";
const BURNS: &str = "Ask for Mrs. Larkin at the archive.";

/// Tells the story; on a terminal the relay then goes on running until Enter is pressed.
pub(crate) fn command(arguments: &[String]) -> Outcome {
    let alone = match arguments {
        [] => !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()),
        [flag] if flag == "--non-interactive" => true,
        _ => return Err("the only argument is --non-interactive".into()),
    };
    system::ready_to_build(false)?;
    let programs = Programs::build(&[])?;
    let room = Room::new("emptyroom-demo")?;
    let mut teller = Teller::new();
    // Nothing is left behind by Ctrl-C, either: what runs then fails, and the room is cleared as always.
    let (end, ends) = channel();
    if !alone {
        on_interrupt(end.clone())?;
    }
    let told = Stage::set(&mut teller, &programs, &room).and_then(|mut stage| {
        stage.play(&mut teller)?;
        if !alone {
            stage.leave_open(&mut teller);
            std::thread::spawn(move || {
                let _ = std::io::stdin().read_line(&mut String::new());
                let _ = end.send(());
            });
            let _ = ends.recv();
        }
        stage.relay.stop()
    });
    match told {
        Ok(()) => Ok(true),
        Err(why) => {
            eprintln!("the demo failed: {why}");
            Ok(false)
        }
    }
}

/// From now on Ctrl-C and SIGTERM are told instead of ending the program.
pub(crate) fn on_interrupt(told: Sender<()>) -> Result<(), String> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|e| e.to_string())?;
    std::thread::spawn(move || {
        for _ in signals.forever() {
            let _ = told.send(());
        }
    });
    Ok(())
}

/// Who and what is there.
pub(crate) struct Stage {
    ada: Person,
    ben: Person,
    pub(crate) relay: Relay,
}

impl Stage {
    /// A running relay and two people who have nothing yet.
    pub(crate) fn set(
        teller: &mut Teller,
        programs: &Programs,
        room: &Room,
    ) -> Result<Stage, String> {
        teller.title("1. A relay, and two people");
        teller.typed(
            "relay",
            "emptyroom-relay serve --data relay --listen 127.0.0.1:0",
        );
        let relay = Relay::start(&programs.relay, room.directory.join("relay"))?;
        teller.printed(&relay.address);
        teller.story("It has no users, no accounts, no names. A code says who may begin conversations on it:");
        teller.typed("relay", "emptyroom-relay address --data relay");
        teller.printed(&format!("{}?code=…", relay.address));
        Ok(Stage {
            ada: Person::new("ada", &programs.client, room)?,
            ben: Person::new("ben", &programs.client, room)?,
            relay,
        })
    }

    /// The whole story.
    ///
    /// # Errors
    /// The first thing that was not as it must be.
    pub(crate) fn play(&mut self, teller: &mut Teller) -> Result<(), String> {
        self.meet(teller)?;
        self.verify(teller)?;
        self.talk(teller)?;
        self.burn(teller)?;
        self.search(teller)
    }

    fn meet(&self, teller: &mut Teller) -> Result<(), String> {
        let minimum = ["--kdf", "minimum"];
        teller.typed("ada", "emptyroom init --relay -");
        let address = format!("{}\n", self.relay.address_with_code);
        self.ada.run(
            &[&["init", "--relay", "-"], &minimum[..]].concat(),
            &address,
        )?;
        teller.typed("ben", "emptyroom init");
        self.ben.run(&[&["init"], &minimum[..]].concat(), "")?;
        teller.story("Each has a vault now. Ben needs no relay of his own: he only joins.");

        teller.title("2. Ada invites Ben");
        teller.typed("ada", "emptyroom invite ben");
        let link = self.ada.run(&["invite", "ben"], "")?.out;
        let link = link.trim();
        teller.printed(&shortened(link));
        teller.story(
            "She gives him that link in private. It works once, and expires after seven days.",
        );
        teller.typed("ben", "emptyroom join --as ada");
        self.ben
            .run(&["join", "--as", "ada"], &format!("{link}\n"))?;
        teller.good("Ben took the link. He can write at once, whether Ada is there or not.");
        Ok(())
    }

    fn verify(&self, teller: &mut Teller) -> Result<(), String> {
        // Ada's program reads that Ben came.
        self.ada.json(&["receive", "--wait", WAIT])?;
        teller.title("3. Nobody stands between them");
        teller.typed("ada", "emptyroom verify ben");
        let hers = number(&self.ada, "ben")?;
        teller.printed(&hers);
        teller.typed("ben", "emptyroom verify ada");
        let his = number(&self.ben, "ada")?;
        teller.printed(&his);
        if hers != his {
            return Err(format!("the numbers differ: {hers} and {his}"));
        }
        teller.good(
            "The same sixty digits on both sides. They compare them by voice, or scan the code.",
        );
        Ok(())
    }

    fn talk(&self, teller: &mut Teller) -> Result<(), String> {
        teller.title("4. They talk");
        say(teller, &self.ben, &self.ada, HELLO, &[])?;
        say(teller, &self.ada, &self.ben, ANSWER, &[])?;
        teller.good("Both messages arrived, each shown once.");
        Ok(())
    }

    fn burn(&self, teller: &mut Teller) -> Result<(), String> {
        teller.title("5. A message that burns");
        let seconds = format!("{}s", BURNING.as_secs());
        let start = Instant::now();
        say(teller, &self.ada, &self.ben, BURNS, &["--burn", &seconds])?;
        let history = self.ben.run(&["history", "ada"], "")?.out;
        // On a busy machine it may be gone by now: it was shown, and that is when its time began.
        if start.elapsed() < BURNING && !history.contains(BURNS) {
            return Err("Ben's history does not show the message that has not burnt yet".into());
        }
        teller.story(&format!(
            "Ben has read it. {} seconds later:",
            BURNING.as_secs()
        ));
        loop {
            let left = [(&self.ben, "ada"), (&self.ada, "ben")];
            let mut shown = 0;
            for (person, other) in left {
                shown += usize::from(person.run(&["history", other], "")?.out.contains(BURNS));
            }
            if shown == 0 {
                break;
            }
            if start.elapsed() > BURNING + GONE_WITHIN {
                return Err("the burning message is still there".into());
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        teller.typed("ben", "emptyroom history ada");
        teller.printed(&self.ben.run(&["history", "ada"], "")?.out);
        teller.good("It is gone from both vaults; the keys that opened it are destroyed.");
        Ok(())
    }

    fn search(&self, teller: &mut Teller) -> Result<(), String> {
        teller.title("6. Somebody takes the relay's disk");
        let files = disk::files(&self.relay.data)?;
        teller.typed("thief", "ls -l relay");
        for file in &files {
            teller.printed(&format!("{:>9}  {}", file.bytes.len(), file.name));
        }
        if let Some(file) = fullest(&files) {
            let middle = densest(&file.bytes);
            teller.typed("thief", &format!("hexdump -C -s {middle} {}", file.name));
            teller.printed(&disk::hexdump(&file.bytes, middle, 5));
        }
        let said = [HELLO, ANSWER, BURNS, "documents", "forty pages", "Larkin"].map(str::to_owned);
        if disk::count(&files, &["ERFRAM01".to_owned()]) == 0 {
            return Err("the search does not even find what must be there".into());
        }
        let found = disk::count(&files, &said);
        let bytes: usize = files.iter().map(|file| file.bytes.len()).sum();
        let text = format!(
            "{found} of their words found in {} files, {bytes} bytes",
            files.len()
        );
        if found != 0 {
            return Err(text);
        }
        teller.good(&format!("{text} (as text, UTF-16, hex, base64)."));
        for person in [&self.ada, &self.ben] {
            let home = disk::files(&person.home)?;
            let found = disk::count(&home, &said);
            if found != 0 {
                return Err(format!(
                    "{found} of their words found in the files of {}",
                    person.name
                ));
            }
        }
        teller.good("0 found in the two locked vaults, too.");
        teller.story("");
        teller.story("The room is empty.");
        Ok(())
    }

    fn leave_open(&self, teller: &mut Teller) {
        teller.title("Go on by hand");
        teller.story("The relay is still running. In two other terminals:");
        teller.story("");
        for (person, other) in [(&self.ada, "ben"), (&self.ben, "ada")] {
            teller.story(&format!("  {}", person.alias()));
            teller.story(&format!("  {} chat {other}", person.name));
            teller.story("");
        }
        teller.story("Press Enter here to stop the relay and erase everything.");
    }
}

/// One sends, the other receives, and it is shown exactly once.
fn say(
    teller: &mut Teller,
    from: &Person,
    to: &Person,
    text: &str,
    options: &[&str],
) -> Result<(), String> {
    let shown = options
        .iter()
        .fold(String::new(), |shown, option| format!("{shown} {option}"));
    teller.typed(
        from.name,
        &format!("emptyroom send {}{shown} <<< \"{text}\"", to.name),
    );
    // Not as an argument, which other users of the machine would see.
    from.run(&[&["send", to.name], options].concat(), text)?;
    teller.typed(to.name, "emptyroom receive");
    let mut received = Vec::new();
    let start = Instant::now();
    while received.is_empty() && start.elapsed() < GONE_WITHIN {
        let events = to.json(&["receive", "--wait", WAIT])?;
        received.extend(
            events
                .iter()
                .filter_map(|event| event.get("text")?.as_str().map(str::to_owned)),
        );
    }
    if received != [text] {
        return Err(format!(
            "{} received {received:?}, not once {text:?}",
            to.name
        ));
    }
    teller.printed(&format!("{}: {text}", from.name));
    Ok(())
}

/// The number that two people compare.
fn number(person: &Person, other: &str) -> Result<String, String> {
    let number = person.run(&["verify", other], "")?.out.trim().to_owned();
    let digits = number.chars().filter(char::is_ascii_digit).count();
    if digits == 60 {
        return Ok(number);
    }
    Err(format!("verify gave no number of sixty digits: {number}"))
}

/// A secret is not for the picture.
fn shortened(link: &str) -> String {
    let start: String = link.chars().take(44).collect();
    format!("{start}… ({} characters)", link.chars().count())
}

/// The largest file.
fn fullest(files: &[Stored]) -> Option<&Stored> {
    files.iter().max_by_key(|file| file.bytes.len())
}

/// Where a file has the fewest zeros: where something is stored.
fn densest(bytes: &[u8]) -> usize {
    const WINDOW: usize = 4096;
    let zeros = |window: &[u8]| window.iter().filter(|byte| **byte == 0).count();
    let windows = bytes.chunks_exact(WINDOW).enumerate();
    let densest = windows.min_by_key(|(_, window)| zeros(window));
    densest.map_or(0, |(number, _)| number * WINDOW + WINDOW / 2)
}
