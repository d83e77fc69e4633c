//! Two clients talk through a relay on loopback: how long it takes, and how many bytes it is.
//!
//! The clients are the node that the programs use (vault, core, TLS, sealed stream), in this process; the relay is the real program.

mod proxy;

use emptyroom_load::Trouble;
use emptyroom_load::program::RelayProgram;
use emptyroom_load::report::{Section, percentile, time};
use emptyroom_load::scratch::Scratch;
use emptyroom_node::api::{Answer, Call, Event, SecretText};
use emptyroom_node::{Events, Kdf, Session};
use proxy::Proxy;
use std::path::Path;
use std::time::{Duration, Instant};

/// Invites taken, and messages in a running conversation.
const INVITES: usize = 100;
const MESSAGES: usize = 1_000;
/// Messages whose bytes are counted.
const COUNTED: usize = 100;
/// Longer than any receipt waits.
const RECEIPTS: Duration = Duration::from_secs(12);
/// Longer than anything takes that works.
const WAIT: Duration = Duration::from_secs(30);
const TEXT: &str = "All forty pages. I am reading them now.";

pub(crate) fn measure() -> Result<Section, Trouble> {
    let mut section = Section::new(
        "Two people on loopback",
        format!(
            "Two clients in one process and the relay program, durable writes everywhere. A message counts from the call that sends it to the event that \
             shows it ({MESSAGES} in turn); an invite from the call that takes the link to the other side's event of the first message ({INVITES} of them). \
             Bytes are TCP payload, both clients together."
        ),
    );
    let scratch = Scratch::new("talk")?;
    let relay = RelayProgram::start(&scratch.path.join("relay"), &["--store", "sqlite"])?;
    latencies(&mut section, &relay.address, &scratch.path)?;
    bytes(&mut section, &relay.address, &scratch.path)?;
    Ok(section)
}

fn latencies(section: &mut Section, address: &str, directory: &Path) -> Result<(), Trouble> {
    let ada = Person::new(&directory.join("ada"), Some(address))?;
    let ben = Person::new(&directory.join("ben"), None)?;
    let mut invites = Vec::new();
    for number in 0..INVITES {
        let (hers, his) = (format!("ben{number}"), format!("ada{number}"));
        let link = ada.invite(&hers)?;
        let start = Instant::now();
        ben.join(link, &his)?;
        ben.wait_for(|event| matches!(event, Event::Joined { .. }))?;
        ben.send(&his)?;
        ada.received(&hers)?;
        invites.push(start.elapsed());
    }
    // Receipts wait for up to seconds, so each invite goes on beside those of the one before. Messages begin when all are out.
    ada.flush()?;
    ben.flush()?;
    let mut messages = Vec::new();
    for number in 0..MESSAGES {
        let turn = number % 2 == 0;
        let (from, to) = if turn { (&ada, &ben) } else { (&ben, &ada) };
        let (name_there, name_here) = if turn {
            ("ben0", "ada0")
        } else {
            ("ada0", "ben0")
        };
        let start = Instant::now();
        from.send(name_there)?;
        to.received(name_here)?;
        messages.push(start.elapsed());
    }
    section.row(
        "message sent → shown, p50",
        time(percentile(&mut messages, 50)),
    );
    section.aimed(
        "message sent → shown, p99",
        time(percentile(&mut messages, 99)),
        "under 20 ms on an idle machine",
    );
    section.row(
        "invite taken → first message shown, p50",
        time(percentile(&mut invites, 50)),
    );
    section.row(
        "invite taken → first message shown, p99",
        time(percentile(&mut invites, 99)),
    );
    Ok(())
}

fn bytes(section: &mut Section, address: &str, directory: &Path) -> Result<(), Trouble> {
    let proxy = Proxy::start(address)?;
    let ada = Person::new(&directory.join("ada-counted"), Some(&proxy.address))?;
    let ben = Person::new(&directory.join("ben-counted"), None)?;
    ada.flush()?;
    let before = proxy.counted();
    let link = ada.invite("ben")?;
    ben.join(link, "ada")?;
    ada.wait_for(|event| matches!(event, Event::Joined { .. }))?;
    std::thread::sleep(RECEIPTS);
    let (up, down) = proxy.counted().since(before);
    section.row(
        "bytes of an invite, until both are in (taker's connection and TLS included)",
        format!("{up} to the relay, {down} from it"),
    );
    let before = proxy.counted();
    for _ in 0..COUNTED {
        ada.send("ben")?;
        ben.received("ada")?;
    }
    std::thread::sleep(RECEIPTS);
    let (up, down) = proxy.counted().since(before);
    let each = |bytes: u64| bytes / u64::try_from(COUNTED).unwrap_or(1);
    section.row(
        "bytes of a message (receipts included)",
        format!("{} to the relay, {} from it", each(up), each(down)),
    );
    Ok(())
}

/// A client with its events.
struct Person {
    session: Session,
    events: Events,
}

impl Person {
    fn new(home: &Path, relay: Option<&str>) -> Result<Person, Trouble> {
        let secret = SecretText::new("a passphrase for the bench".to_owned());
        let relay = relay.map(|address| SecretText::new(address.to_owned()));
        let session = Session::create(home, &secret, Kdf::Minimum, relay.as_ref()).map_err(said)?;
        let events = session.events().map_err(said)?;
        Ok(Person { session, events })
    }

    fn call(&self, call: Call) -> Result<Answer, Trouble> {
        self.session.call(call).map_err(said)
    }

    fn flush(&self) -> Result<(), Trouble> {
        self.call(Call::Flush { wait_ms: 30_000 })?;
        while self.events.next_within(Duration::ZERO).is_some() {}
        Ok(())
    }

    /// A link that works.
    fn invite(&self, name: &str) -> Result<String, Trouble> {
        let invite = Call::Invite {
            name: name.to_owned(),
            expires_in_s: None,
        };
        let Answer::Invited { link, .. } = self.call(invite)? else {
            return Err("no link".into());
        };
        self.wait_for(|event| matches!(event, Event::InviteReady { .. }))?;
        Ok(link)
    }

    fn join(&self, link: String, name: &str) -> Result<(), Trouble> {
        let name = name.to_owned();
        self.call(Call::Join { link, name }).map(drop)
    }

    fn send(&self, to: &str) -> Result<(), Trouble> {
        let send = Call::Send {
            to: to.to_owned(),
            text: TEXT.to_owned(),
            burn_s: None,
            relay_days: None,
        };
        self.call(send).map(drop)
    }

    fn received(&self, from: &str) -> Result<(), Trouble> {
        self.wait_for(|event| matches!(event, Event::MessageReceived { conversation, .. } if conversation == from))
    }

    fn wait_for(&self, wanted: impl Fn(&Event) -> bool) -> Result<(), Trouble> {
        loop {
            let event = self
                .events
                .next_within(WAIT)
                .ok_or("nothing happened for 30 seconds")?;
            match event {
                event if wanted(&event) => return Ok(()),
                Event::InviteFailed { why, .. } | Event::JoinFailed { why, .. } => {
                    return Err(format!("failed: {why}").into());
                }
                _ => {}
            }
        }
    }
}

fn said(failure: emptyroom_node::api::Failure) -> Trouble {
    failure.text.into()
}
