//! What must hold at the end of every run, whatever happened in it.

use emptyroom_core::api::{
    Burn, Command, ContactState, FailedWhy, Line, LineBody, MessageState, Name, Reply,
};
use emptyroom_core::verification::Code;

use crate::lies::{LEAVE_GAPS, Lie};
use crate::scene::{SIDES, Scene};
use crate::world::{DAY, HOUR, MINUTE, SECOND};

/// After the last trouble, everything must be well within so many steps of growing length (27 days together).
const STEPS: &[u64] = &[
    10 * SECOND,
    MINUTE,
    10 * MINUTE,
    HOUR,
    6 * HOUR,
    DAY,
    DAY,
    DAY,
    3 * DAY,
    6 * DAY,
    14 * DAY,
];

impl Scene {
    /// Ends all trouble: everything runs, everybody reaches everybody, nobody is blocked.
    pub fn heal(&mut self) {
        self.world.note(format_args!("all trouble ends"));
        self.world.net.cut = false;
        self.world.net.latency_ms_max = 80;
        for host in 0..self.world.hosts.len() {
            self.world.hosts[host].lie = None;
            self.world.hosts[host].set_full(false);
            self.world.start_host(host);
        }
        for party in 0..self.world.parties.len() {
            self.world.parties[party].full_after = None;
            self.world.parties[party].dies_after = None;
            self.world.start_party(party);
        }
        for talk in self.alive() {
            for side in SIDES {
                self.tell(talk, side, |name| Command::Block { name, on: false });
            }
        }
    }

    /// Conversations that came about.
    #[must_use]
    pub fn alive(&self) -> Vec<usize> {
        (0..self.talks.len())
            .filter(|talk| !self.talks[*talk].over)
            .collect()
    }

    /// Waits until everything is quiet, has both sides of each conversation talk, and checks everything.
    pub fn conclude(&mut self) {
        self.heal();
        for talk in self.alive() {
            self.settle(talk);
        }
        for talk in self.alive() {
            self.talk_again(talk);
        }
        for talk in self.alive() {
            for side in SIDES {
                self.check_shown(talk, side);
            }
            self.check_position(talk);
        }
        self.check_burnt();
        for host in 0..self.world.hosts.len() {
            if self.world.hosts[host].leaks() {
                self.world.fault(format!("r{host} stores plaintext"));
            }
        }
    }

    /// Waits until a conversation is active on both sides and nothing waits.
    pub fn settle(&mut self, talk: usize) {
        for step in STEPS {
            self.allow_restart(talk);
            if self.is_settled(talk) || self.has_ended(talk) {
                return;
            }
            self.pass(*step);
        }
        if !self.is_settled(talk) {
            let contacts = SIDES.map(|side| {
                let contact = self.contact(talk, side)?;
                Some((contact.state, contact.waiting))
            });
            self.world
                .fault(format!("t{talk} does not come to rest: {contacts:?}"));
        }
    }

    /// The relay lost the recovery log. If both sides were told that all is over, nothing written looks as if it would arrive.
    fn has_ended(&mut self, talk: usize) -> bool {
        if !self.talks[talk].may_end {
            return false;
        }
        let states = SIDES.map(|side| self.contact(talk, side).map(|contact| contact.state));
        let over = states == [Some(ContactState::Over); 2];
        if over {
            self.talks[talk].over = true;
            for side in SIDES {
                let lines = self.history(talk, side).unwrap_or_default();
                if lines.iter().any(is_queued) {
                    self.world
                        .fault(format!("t{talk} is over and messages wait at side {side}"));
                }
            }
        }
        over
    }

    fn is_settled(&mut self, talk: usize) -> bool {
        SIDES.iter().all(|side| {
            let contact = self.contact(talk, *side);
            contact.is_some_and(|contact| {
                contact.state == ContactState::Active && contact.waiting == 0
            })
        })
    }

    fn allow_restart(&mut self, talk: usize) {
        for side in SIDES {
            let waits = self.contact(talk, side).map(|contact| contact.state);
            if waits == Some(ContactState::RestartWaits) {
                self.tell(talk, side, |name| Command::AllowRestart { name });
            }
        }
    }

    /// Both sides say something, and see it.
    pub fn talk_again(&mut self, talk: usize) {
        let sent: Vec<usize> = SIDES
            .iter()
            .filter_map(|side| self.send_plain(talk, *side))
            .collect();
        if sent.len() != 2 {
            self.world.fault(format!("t{talk} cannot send"));
        }
        for step in STEPS {
            self.pass(*step);
            self.allow_restart(talk);
            if sent.iter().all(|message| self.messages[*message].shown > 0) {
                break;
            }
            if self.has_ended(talk) {
                return;
            }
        }
        for message in sent {
            if self.messages[message].shown == 0 {
                let state = self.messages[message].state;
                self.world.fault(format!(
                    "message {message}, the last one, does not arrive: {state:?}"
                ));
            }
        }
        for side in SIDES {
            self.read_all(talk, side);
        }
        self.pass(3 * DAY);
        self.settle(talk);
    }

    pub(crate) fn send_plain(&mut self, talk: usize, side: usize) -> Option<usize> {
        self.send_with(talk, side, Some(Burn::Never), Default::default())
    }

    /// Everything that the other side wrote is there once, in order, or failed visibly.
    fn check_shown(&mut self, talk: usize, side: usize) {
        let Some(lines) = self.history(talk, side) else {
            return self.world.fault(format!("t{talk} has no history"));
        };
        let texts: Vec<&str> = lines.iter().filter_map(text_of).collect();
        let restores = self.restores_of(talk, side);
        let mut faults = Vec::new();
        let mut last = None;
        for (number, message) in self.messages.iter().enumerate() {
            if message.talk != talk || message.side == side {
                continue;
            }
            let places: Vec<usize> = (0..texts.len())
                .filter(|at| texts[*at] == message.text)
                .collect();
            if places.len() > 1 {
                faults.push(format!("message {number} stands twice"));
            }
            if message.shown > 1 + restores {
                faults.push(format!(
                    "message {number} was announced {} times",
                    message.shown
                ));
            }
            // Whose vault went back gets again what the relay has no more, after what it still had.
            let ordered = !message.forgotten && restores == 0;
            if let Some(place) = places.first().filter(|_| ordered) {
                if last.is_some_and(|last| last > *place) {
                    faults.push(format!("message {number} is out of order"));
                }
                last = Some(*place);
            }
            let gone = message.burn != Burn::Never && message.arrived();
            if places.is_empty() && !gone && !self.may_be_missing(number) {
                faults.push(format!(
                    "message {number} is lost: {:?}, {:?}",
                    message.state, message.burn
                ));
            }
        }
        for fault in faults {
            self.world.fault(fault);
        }
    }

    fn restores_of(&self, talk: usize, side: usize) -> u64 {
        let party = self.talks[talk].members[side];
        self.restores.get(&party).copied().unwrap_or(0)
    }

    /// A message that is not shown is no fault if it was never durable, if its time was over, or if what it needs went with an
    /// older vault.
    fn may_be_missing(&self, number: usize) -> bool {
        let message = &self.messages[number];
        let talk = &self.talks[message.talk];
        let unconfirmed = message.confirmed_at_ms.is_none();
        if unconfirmed || message.forgotten || message.deleted[1 - message.side] {
            return true;
        }
        let sender = talk.members[message.side];
        let forward = self.clock_forward_ms.get(&sender).copied().unwrap_or(0);
        let age = self.world.now_ms() - message.at_ms + forward;
        let restarted = talk.restarts.iter().sum::<u64>() > 0;
        // Nobody can send again what its sender deleted while it was under way.
        let trouble = restarted || self.restores_of(message.talk, 1 - message.side) > 0;
        if message.deleted[message.side] && (trouble || !message.arrived()) {
            return true;
        }
        // A timer that ended at the sender took the text with it.
        let timed = matches!(message.burn, Burn::After(_)) && restarted;
        if timed || message.burn != Burn::Never && age > message.life_ms {
            return true;
        }
        let failed = matches!(message.state, MessageState::Failed(_));
        let gap = talk.gaps[1 - message.side] > 0;
        // What a relay withheld is not delivered any more; the reader sees it, and the sender if he gets receipts.
        let told = failed || talk.receipts_off[1 - message.side];
        let ended =
            talk.may_end && message.state == MessageState::Failed(FailedWhy::ConversationOver);
        let lies = &self.world.hosts[talk.host].lies_told;
        let withheld = gap && told && LEAVE_GAPS.iter().any(|lie| lies.contains(lie));
        let refused = message.state == MessageState::Failed(FailedWhy::RelayRefused)
            && lies.contains(&Lie::FalseRefusal);
        withheld || refused || ended || age > message.life_ms && (failed || gap || restarted)
    }

    /// Both sides are at the same place of the same log, and saw the same.
    pub fn check_position(&mut self, talk: usize) {
        for _ in 0..20 {
            let codes = SIDES.map(|side| self.code(talk, side));
            let [Some(one), Some(other)] = codes else {
                return self.world.fault(format!("t{talk} has no fingerprint"));
            };
            if one == other {
                return;
            }
            if one.position.position == other.position.position {
                return self
                    .world
                    .fault(format!("t{talk} differs at the same place"));
            }
            self.pass(MINUTE);
        }
        let positions = SIDES.map(|side| self.code(talk, side).map(|code| code.position));
        self.world
            .fault(format!("t{talk} is at two places: {positions:?}"));
    }

    /// What a side shows for comparison: keys, and where it is in which log.
    pub fn code(&mut self, talk: usize, side: usize) -> Option<Code> {
        match self.tell(talk, side, |name: Name| Command::Fingerprint { name })? {
            Ok(Reply::Fingerprint(print)) => Code::parse(&print.qr).ok(),
            _ => None,
        }
    }

    /// Nothing whose timer ended is readable in any record.
    fn check_burnt(&mut self) {
        let mut faults = Vec::new();
        for (number, message) in self.messages.iter().enumerate() {
            let talk = &self.talks[message.talk];
            let sent = matches!(
                message.state,
                MessageState::Sent | MessageState::Delivered | MessageState::Read
            );
            for side in SIDES {
                let over = match message.burn {
                    Burn::Never => false,
                    Burn::OnRead => side != message.side && (message.shown > 0 || message.seen),
                    Burn::After(_) if side == message.side => sent,
                    Burn::After(_) => message.shown > 0,
                };
                let vault = &self.world.parties[talk.members[side]].disk.vault;
                if over && !talk.over && vault.holds(message.text.as_bytes()) {
                    let burn = message.burn;
                    faults.push(format!(
                        "message {number} ({burn:?}) is still readable at side {side}"
                    ));
                }
            }
        }
        for fault in faults {
            self.world.fault(fault);
        }
    }
}

fn is_queued(line: &Line) -> bool {
    matches!(
        line.body,
        LineBody::Sent {
            state: MessageState::Queued,
            ..
        }
    )
}

fn text_of(line: &Line) -> Option<&str> {
    match &line.body {
        LineBody::Received { text, .. } => Some(text.expose()),
        _ => None,
    }
}
