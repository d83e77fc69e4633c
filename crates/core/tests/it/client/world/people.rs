//! People: what they tell their devices to do, and what they see.

use emptyroom_core::api::{
    Burn, Command, CommandId, Contact, ContactState, Event, Input, Line, LineBody, LineId,
    MessageState, Name, Refused, RelayLife, Reply, Text,
};

use super::{SECOND, World};

impl World {
    /// One command; nothing if the client died before it answered.
    pub(crate) fn command_or_died(
        &mut self,
        party: usize,
        command: Command,
    ) -> Option<Result<Reply, Refused>> {
        let id = self.start(party, command);
        self.run();
        self.reply(party, id)
    }

    /// One command, run until nothing moves; its reply.
    pub(crate) fn command(&mut self, party: usize, command: Command) -> Result<Reply, Refused> {
        let id = self.start(party, command);
        self.run();
        self.reply(party, id).expect("the command was answered")
    }

    pub(crate) fn start(&mut self, party: usize, command: Command) -> CommandId {
        self.parties[party].commands += 1;
        let id = CommandId(self.parties[party].commands);
        self.input(party, Input::Command(id, command));
        id
    }

    pub(crate) fn reply(&mut self, party: usize, id: CommandId) -> Option<Result<Reply, Refused>> {
        self.parties[party].replies.remove(&id)
    }

    pub(crate) fn set_relay(&mut self, party: usize) {
        let address = Text::new(self.address());
        assert_eq!(
            self.command(party, Command::SetRelay { address }),
            Ok(Reply::Done)
        );
    }

    pub(crate) fn invite(&mut self, party: usize, name: &str) -> Text {
        let invite = Command::Invite {
            name: self::name(name),
            expires_in_ms: None,
        };
        match self.command(party, invite) {
            Ok(Reply::Invited { link, .. }) => link,
            other => panic!("no invite: {other:?}"),
        }
    }

    pub(crate) fn join(&mut self, party: usize, link: &Text, name: &str) {
        let join = Command::Join {
            link: link.clone(),
            name: self::name(name),
        };
        assert_eq!(self.command(party, join), Ok(Reply::Joining));
    }

    /// Alice (0) invites Bob (1), who joins.
    pub(crate) fn talk(seed: u64) -> Self {
        let mut world = Self::new(seed);
        world.set_relay(0);
        let link = world.invite(0, "bob");
        world.join(1, &link, "alice");
        world.pass(10 * SECOND);
        assert_eq!(world.contact(0).state, ContactState::Active);
        assert_eq!(world.contact(1).state, ContactState::Active);
        world
    }

    pub(crate) fn peer_name(party: usize) -> Name {
        name(if party == 0 { "bob" } else { "alice" })
    }

    pub(crate) fn send(&mut self, party: usize, text: &str) -> LineId {
        self.send_with(party, text, None)
    }

    pub(crate) fn send_with(&mut self, party: usize, text: &str, burn: Option<Burn>) -> LineId {
        let id = self.start_send(party, text, burn);
        self.run();
        match self.reply(party, id) {
            Some(Ok(Reply::Queued { id })) => id,
            other => panic!("not queued: {other:?}"),
        }
    }

    pub(crate) fn start_send(&mut self, party: usize, text: &str, burn: Option<Burn>) -> CommandId {
        let send = Command::Send {
            to: Self::peer_name(party),
            text: text.into(),
            burn,
            life: RelayLife::default(),
        };
        self.start(party, send)
    }

    pub(crate) fn contact(&mut self, party: usize) -> Contact {
        let wanted = Self::peer_name(party);
        match self.command(party, Command::Contacts) {
            Ok(Reply::Contacts(contacts)) => contacts
                .into_iter()
                .find(|contact| contact.name == wanted)
                .unwrap(),
            other => panic!("no contacts: {other:?}"),
        }
    }

    pub(crate) fn history(&mut self, party: usize) -> Vec<Line> {
        let mut all: Vec<Line> = Vec::new();
        loop {
            let history = Command::History {
                name: Self::peer_name(party),
                before: all.first().map(|line| line.id),
                limit: 1_000,
            };
            match self.command(party, history) {
                Ok(Reply::History(lines)) if lines.is_empty() => return all,
                Ok(Reply::History(mut lines)) => {
                    lines.append(&mut all);
                    all = lines;
                }
                other => panic!("no history: {other:?}"),
            }
        }
    }

    /// The texts that a party received, in order.
    pub(crate) fn received(&mut self, party: usize) -> Vec<String> {
        let text = |line: Line| match line.body {
            LineBody::Received { text, .. } => Some(text.expose().to_owned()),
            _ => None,
        };
        self.history(party).into_iter().filter_map(text).collect()
    }

    /// The states of the texts that a party sent, in order.
    pub(crate) fn states(&mut self, party: usize) -> Vec<MessageState> {
        let state = |line: Line| match line.body {
            LineBody::Sent { state, .. } => Some(state),
            _ => None,
        };
        self.history(party).into_iter().filter_map(state).collect()
    }

    /// Marks everything as read.
    pub(crate) fn read_all(&mut self, party: usize) {
        let read = Command::Read {
            name: Self::peer_name(party),
            up_to: LineId(u64::MAX),
        };
        assert_eq!(self.command(party, read), Ok(Reply::Done));
    }

    pub(crate) fn events(&mut self, party: usize) -> Vec<Event> {
        std::mem::take(&mut self.parties[party].events)
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}
