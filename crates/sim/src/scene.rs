//! People who talk through a [`World`], and what is known about what they said.

mod meeting;

use std::collections::BTreeMap;

use emptyroom_core::api::{
    Burn, Command, CommandId, Contact, Event, Line, LineBody, LineId, MessageState, Name, Notice,
    Refused, RelayLife, RelayTrouble, Reply, Text,
};

use crate::trouble::deeds::Copies;
use crate::world::{DAY, HOUR, PLAINTEXT, SECOND, World};

/// The two ends of a conversation.
pub const SIDES: [usize; 2] = [0, 1];

/// Two people who know each other.
pub struct Talk {
    /// Inviter and taker.
    pub members: [usize; 2],
    /// The relay.
    pub host: usize,
    /// What each calls the other.
    pub name: Name,
    /// The link.
    pub link: Option<Text>,
    /// Notices of gaps that each side was shown.
    pub gaps: [u64; 2],
    /// Restarts that each side was shown.
    pub restarts: [u64; 2],
    /// What each side was told of its relay.
    pub troubles: [Vec<RelayTrouble>; 2],
    /// This side sent no receipts of delivery for a while.
    pub receipts_off: [bool; 2],
    /// The relay lost what it could have been recovered from: it may end.
    pub may_end: bool,
    /// It ended, or never began.
    pub over: bool,
}

/// What somebody wrote.
pub struct Message {
    /// In which conversation.
    pub talk: usize,
    /// From which side.
    pub side: usize,
    /// Its text, like no other.
    pub text: String,
    /// Its timer.
    pub burn: Burn,
    /// How long the relay may keep it.
    pub life_ms: u64,
    /// When it was written.
    pub at_ms: u64,
    /// When the sender's client said that it is durable.
    pub confirmed_at_ms: Option<u64>,
    /// Its line at the sender.
    pub line: Option<LineId>,
    /// How far it came as far as the sender was told.
    pub state: MessageState,
    /// How often it was announced at the other side.
    pub shown: u64,
    /// Whoever it is for saw it in the history. Announcements are hints: a device may die before it makes one.
    pub seen: bool,
    /// The sender's vault went back to before it.
    pub forgotten: bool,
    /// These sides deleted their line.
    pub deleted: [bool; 2],
}

impl Message {
    /// The other side saw it, or the sender was told that it came.
    #[must_use]
    pub fn arrived(&self) -> bool {
        let told = matches!(self.state, MessageState::Delivered | MessageState::Read);
        told || self.seen || self.shown > 0
    }
}

/// Everything people do and see.
pub struct Scene {
    /// The world.
    pub world: World,
    /// Conversations.
    pub talks: Vec<Talk>,
    /// Messages.
    pub messages: Vec<Message>,
    sends: BTreeMap<(usize, CommandId), usize>,
    answers: BTreeMap<(usize, CommandId), Result<Reply, Refused>>,
    /// Vaults of each party that were put back.
    pub restores: BTreeMap<usize, u64>,
    /// How far each party's clock was put forward, altogether.
    pub clock_forward_ms: BTreeMap<usize, u64>,
    /// Events by party, for scenarios.
    pub events: Vec<(usize, Event)>,
    /// What a restore goes back to.
    pub(crate) copies: Option<Copies>,
    attempts: usize,
}

impl Scene {
    /// People without devices yet.
    #[must_use]
    pub fn new(seed: u64, print: bool) -> Scene {
        Scene {
            world: World::new(seed, print),
            talks: Vec::new(),
            messages: Vec::new(),
            sends: BTreeMap::new(),
            answers: BTreeMap::new(),
            restores: BTreeMap::new(),
            clock_forward_ms: BTreeMap::new(),
            events: Vec::new(),
            copies: None,
            attempts: 0,
        }
    }

    /// Two people at one relay who talk.
    #[must_use]
    pub fn pair(seed: u64, print: bool) -> Scene {
        let mut scene = Scene::new(seed, print);
        let host = scene.world.add_host("relay", None);
        let (a, b) = (scene.world.add_party(), scene.world.add_party());
        scene.meet(a, b, host);
        scene
    }

    /// Lets time pass.
    pub fn pass(&mut self, ms: u64) {
        let mut left = ms;
        while left > 0 {
            let slice = left.min(6 * HOUR);
            self.world.pass(slice);
            self.digest();
            left -= slice;
        }
    }

    /// One command, and its answer if it came within a minute.
    pub fn ask(&mut self, party: usize, command: Command) -> Option<Result<Reply, Refused>> {
        let id = self.world.command(party, command)?;
        for wait in 0..600 {
            self.digest();
            if let Some(answer) = self.answers.remove(&(party, id)) {
                return Some(answer);
            }
            if !self.world.parties[party].is_on() {
                return None;
            }
            self.world.pass(if wait < 20 { 1 } else { 100 });
        }
        self.world.fault(format!("p{party} answers no command"));
        None
    }

    /// One command, asked until the client is there to answer it.
    pub fn insist(
        &mut self,
        party: usize,
        command: impl Fn() -> Command,
    ) -> Option<Result<Reply, Refused>> {
        for _ in 0..200 {
            if let Some(answer) = self.ask(party, command()) {
                return Some(answer);
            }
            self.pass(10 * SECOND);
        }
        None
    }

    /// How a side sees the other.
    pub fn contact(&mut self, talk: usize, side: usize) -> Option<Contact> {
        let (party, name) = (
            self.talks[talk].members[side],
            self.talks[talk].name.clone(),
        );
        match self.ask(party, Command::Contacts)? {
            Ok(Reply::Contacts(contacts)) => {
                contacts.into_iter().find(|contact| contact.name == name)
            }
            _ => None,
        }
    }

    /// All lines that a side has.
    pub fn history(&mut self, talk: usize, side: usize) -> Option<Vec<Line>> {
        let (party, name) = (
            self.talks[talk].members[side],
            self.talks[talk].name.clone(),
        );
        match self.ask(
            party,
            Command::History {
                name,
                before: None,
                limit: Command::LINES_MAX,
            },
        )? {
            Ok(Reply::History(lines)) => Some(lines),
            _ => None,
        }
    }

    /// The texts of the other side that a side has, in order.
    pub fn received(&mut self, talk: usize, side: usize) -> Vec<String> {
        let lines = self.history(talk, side).unwrap_or_default();
        let texts = lines.into_iter().filter_map(|line| match line.body {
            LineBody::Received { text, .. } => Some(text.expose().to_owned()),
            _ => None,
        });
        texts.collect()
    }

    /// Writes a message. Nothing if the device is off.
    pub fn send(&mut self, talk: usize, side: usize) -> Option<usize> {
        self.send_with(talk, side, None, RelayLife::Day30)
    }

    /// Writes a message with a timer and a life at the relay.
    pub fn send_with(
        &mut self,
        talk: usize,
        side: usize,
        burn: Option<Burn>,
        life: RelayLife,
    ) -> Option<usize> {
        let number = self.messages.len();
        let party = self.talks[talk].members[side];
        let text = format!("{PLAINTEXT}: message {number} of p{party}.");
        let send = Command::Send {
            to: self.talks[talk].name.clone(),
            text: text.as_str().into(),
            burn,
            life,
        };
        self.messages.push(Message {
            talk,
            side,
            text,
            burn: burn.unwrap_or(Burn::Never),
            life_ms: match life {
                RelayLife::Day1 => DAY,
                RelayLife::Day7 => 7 * DAY,
                RelayLife::Day30 => 30 * DAY,
            },
            at_ms: self.world.now_ms(),
            confirmed_at_ms: None,
            line: None,
            state: MessageState::Queued,
            shown: 0,
            seen: false,
            forgotten: false,
            deleted: [false; 2],
        });
        self.world
            .note(format_args!("p{party} writes message {number} in t{talk}"));
        let id = self.world.command(party, send);
        let Some(id) = id else {
            self.messages.pop();
            return None;
        };
        self.sends.insert((party, id), number);
        self.digest();
        Some(number)
    }

    /// A side reads everything it has.
    pub fn read_all(&mut self, talk: usize, side: usize) {
        let lines = self.history(talk, side).unwrap_or_default();
        for line in &lines {
            if let LineBody::Received { text, .. } = &line.body
                && let Some(message) = self.written(text.expose())
            {
                message.seen = true;
            }
        }
        let Some(last) = lines.last().map(|line| line.id) else {
            return;
        };
        let (party, name) = (
            self.talks[talk].members[side],
            self.talks[talk].name.clone(),
        );
        self.ask(party, Command::Read { name, up_to: last });
    }

    /// A side deletes one of the lines it has.
    pub fn delete(&mut self, talk: usize, side: usize, choose: impl FnOnce(usize) -> usize) {
        let mut lines = self.history(talk, side).unwrap_or_default();
        if lines.is_empty() {
            return;
        }
        let line = lines.swap_remove(choose(lines.len()));
        let id = line.id;
        self.tell(talk, side, |name| Command::Delete { name, id });
        if let LineBody::Received { text, .. } | LineBody::Sent { text, .. } = line.body
            && let Some(message) = self.written(text.expose())
        {
            message.deleted[side] = true;
        }
    }

    /// A command about a conversation, if its device is on.
    pub fn tell(
        &mut self,
        talk: usize,
        side: usize,
        command: impl FnOnce(Name) -> Command,
    ) -> Option<Result<Reply, Refused>> {
        let (party, name) = (
            self.talks[talk].members[side],
            self.talks[talk].name.clone(),
        );
        self.ask(party, command(name))
    }

    /// Looks at what clients told.
    pub fn digest(&mut self) {
        for (party, id, reply) in std::mem::take(&mut self.world.replies) {
            match self.sends.remove(&(party, id)) {
                Some(message) => self.sent(message, &reply),
                None => {
                    self.answers.insert((party, id), reply);
                }
            }
        }
        for (party, event) in std::mem::take(&mut self.world.events) {
            self.told(party, &event);
            self.events.push((party, event));
        }
    }

    fn sent(&mut self, number: usize, reply: &Result<Reply, Refused>) {
        match reply {
            Ok(Reply::Queued { id }) => {
                self.messages[number].confirmed_at_ms = Some(self.world.now_ms());
                self.messages[number].line = Some(*id);
            }
            Err(Refused::Blocked | Refused::StorageFailed | Refused::ConversationOver) => {}
            // They are still meeting. Where they know each other, the last messages of a run would not arrive.
            Err(Refused::NotJoined | Refused::UnknownName) => {}
            other => self
                .world
                .fault(format!("message {number} is refused: {other:?}")),
        }
    }

    fn place(&self, party: usize, name: &Name) -> Option<(usize, usize)> {
        let talk = self.talks.iter().position(|talk| talk.name == *name)?;
        let side = self.talks[talk]
            .members
            .iter()
            .position(|member| *member == party)?;
        Some((talk, side))
    }

    fn told(&mut self, party: usize, event: &Event) {
        let conversation = match event {
            Event::MessageReceived { conversation, .. }
            | Event::MessageState { conversation, .. }
            | Event::Noticed { conversation, .. }
            | Event::RelayTrouble {
                conversation: Some(conversation),
                ..
            } => conversation,
            _ => return,
        };
        let Some((talk, side)) = self.place(party, conversation) else {
            return;
        };
        match event {
            Event::MessageReceived { line, .. } => self.shown(talk, side, line),
            Event::MessageState { id, state, .. } => {
                let mut sent = self.messages.iter_mut().rev();
                let found = sent.find(|message| {
                    message.talk == talk && message.side == side && message.line == Some(*id)
                });
                if let Some(message) = found {
                    message.state = *state;
                }
            }
            Event::Noticed { line, .. } => match &line.body {
                LineBody::Notice(Notice::Gap { .. }) => self.talks[talk].gaps[side] += 1,
                LineBody::Notice(Notice::Restarted { .. }) => self.talks[talk].restarts[side] += 1,
                _ => {}
            },
            Event::RelayTrouble { kind, .. } => self.talks[talk].troubles[side].push(*kind),
            _ => {}
        }
    }

    fn written(&mut self, text: &str) -> Option<&mut Message> {
        self.messages
            .iter_mut()
            .find(|message| message.text == text)
    }

    fn shown(&mut self, talk: usize, side: usize, line: &Line) {
        let LineBody::Received { text, .. } = &line.body else {
            return self.world.fault("a received message is none".to_owned());
        };
        match self.written(text.expose()) {
            Some(message) if message.talk == talk && message.side != side => message.shown += 1,
            _ => self
                .world
                .fault(format!("t{talk} shows what nobody wrote there")),
        }
    }
}
