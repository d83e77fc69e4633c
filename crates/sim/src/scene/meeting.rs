//! How two people come to know each other, whatever happens meanwhile.

use emptyroom_core::api::{
    Command, ContactState, InviteInfo, InviteState, JoinFault, Name, Refused, Reply, Text,
};

use super::{SIDES, Scene, Talk};
use crate::world::{DAY, HOUR, MINUTE, PLAINTEXT, SECOND};

impl Scene {
    /// One invites the other, who joins, until they know each other. False: they do not.
    pub fn meet(&mut self, inviter: usize, taker: usize, host: usize) -> bool {
        for _ in 0..5 {
            let Some(talk) = self.invite(inviter, taker, host) else {
                continue;
            };
            // A link works once the relay has it.
            self.wait_open(talk);
            self.join(talk);
            if self.come_together(talk, 2 * DAY) {
                return true;
            }
            let states = SIDES.map(|side| self.contact(talk, side).map(|contact| contact.state));
            self.world
                .note(format_args!("the link of t{talk} fails: {states:?}"));
            self.talks[talk].over = true;
        }
        self.world
            .fault(format!("p{inviter} and p{taker} never meet"));
        false
    }

    /// Makes a link.
    pub fn invite(&mut self, inviter: usize, taker: usize, host: usize) -> Option<usize> {
        let address = self.world.hosts[host].address()?;
        self.insist(inviter, || Command::SetRelay {
            address: address.clone(),
        })?
        .ok()?;
        self.attempts += 1;
        let name = Name::parse(&format!("{PLAINTEXT} t{}", self.attempts)).ok()?;
        let mut link = None;
        for _ in 0..50 {
            match self.insist(inviter, || Command::Invite {
                name: name.clone(),
                expires_in_ms: None,
            })? {
                Ok(Reply::Invited { link: made, .. }) => link = Some(made),
                // It died before it could say so: the link is among its invites.
                Err(Refused::NameTaken) => link = self.find_link(inviter, &name),
                other => self.world.fault(format!("no invite: {other:?}")),
            }
            if link.is_some() {
                break;
            }
        }
        self.talks.push(Talk {
            members: [inviter, taker],
            host,
            name,
            link: Some(link?),
            gaps: [0; 2],
            restarts: [0; 2],
            troubles: [Vec::new(), Vec::new()],
            receipts_off: [false; 2],
            may_end: false,
            over: false,
        });
        Some(self.talks.len() - 1)
    }

    fn find_link(&mut self, party: usize, name: &Name) -> Option<Text> {
        match self.insist(party, || Command::Invites)? {
            Ok(Reply::Invites(invites)) => {
                invites
                    .into_iter()
                    .find(|invite| invite.name == *name)?
                    .link
            }
            _ => None,
        }
    }

    /// Waits until the relay has an invite, or never will.
    pub fn wait_open(&mut self, talk: usize) {
        let (inviter, name) = (self.talks[talk].members[0], self.talks[talk].name.clone());
        for _ in 0..48 {
            let invites = match self.insist(inviter, || Command::Invites) {
                Some(Ok(Reply::Invites(invites))) => invites,
                _ => return,
            };
            let waits =
                |invite: &InviteInfo| invite.name == name && invite.state == InviteState::Waiting;
            if !invites.iter().any(waits) {
                return;
            }
            self.pass(10 * MINUTE);
        }
    }

    /// Takes the link of a conversation.
    pub fn join(&mut self, talk: usize) {
        let (taker, name) = (self.talks[talk].members[1], self.talks[talk].name.clone());
        let Some(link) = self.talks[talk].link.clone() else {
            return;
        };
        let answer = self.insist(taker, || Command::Join {
            link: link.clone(),
            name: name.clone(),
        });
        // A clock that was put forward, or a year between, and the link is over.
        if !matches!(
            answer,
            Some(Ok(Reply::Joining) | Err(Refused::NameTaken | Refused::LinkExpired))
        ) {
            self.world.fault(format!("no join: {answer:?}"));
        }
    }

    /// Waits until both sides can talk, or it has failed.
    pub fn come_together(&mut self, talk: usize, ms_max: u64) -> bool {
        let until = self.world.now_ms() + ms_max;
        let mut wait = SECOND;
        loop {
            let states = SIDES.map(|side| self.contact(talk, side).map(|contact| contact.state));
            if states == [Some(ContactState::Active); 2] {
                return true;
            }
            // Who was not seen yet may come.
            let not_seen = ContactState::JoinFailed(JoinFault::InviterNotSeen);
            let failed = |state: &Option<ContactState>| match state {
                Some(state @ ContactState::JoinFailed(_)) => *state != not_seen,
                Some(ContactState::InviteFailed(_)) => true,
                _ => false,
            };
            if states.iter().any(failed) || self.world.now_ms() >= until {
                return false;
            }
            self.pass(wait);
            wait = (2 * wait).min(HOUR);
        }
    }
}
