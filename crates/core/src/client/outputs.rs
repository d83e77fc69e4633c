//! Outputs in their order, each held until the transactions before it are durable.

use std::collections::VecDeque;

use crate::api::{Change, CommandId, Event, LinkId, Output, Refused, Ticket};

/// The queue between a client and its shell.
#[derive(Default)]
pub(super) struct Outputs {
    persists: VecDeque<(Ticket, Vec<Change>)>,
    waiting: VecDeque<(Ticket, Output)>,
    durable: Ticket0,
}

/// The last ticket that is durable; none yet is 0.
#[derive(Default)]
struct Ticket0(u64);

impl Outputs {
    /// A transaction to be stored. It waits for nothing.
    pub(super) fn persist(&mut self, ticket: Ticket, changes: Vec<Change>) {
        self.persists.push_back((ticket, changes));
    }

    /// An output that waits for a transaction and for all outputs before it.
    // [SPEC 8.49]
    pub(super) fn push(&mut self, needed: Ticket, output: Output) {
        self.waiting.push_back((needed, output));
    }

    /// Everything up to `ticket` is durable.
    pub(super) fn durable(&mut self, ticket: Ticket) {
        self.durable.0 = self.durable.0.max(ticket.0);
    }

    pub(super) fn poll(&mut self) -> Option<Output> {
        if let Some((ticket, changes)) = self.persists.pop_front() {
            return Some(Output::Persist(ticket, changes));
        }
        let (needed, _) = self.waiting.front()?;
        if needed.0 > self.durable.0 {
            return None;
        }
        self.waiting.pop_front().map(|(_, output)| output)
    }

    /// Nothing that waits leaves any more: commands are refused, carriers closed.
    // [SPEC 8.49]
    pub(super) fn stop(&mut self, carriers: Vec<LinkId>) {
        self.persists.clear();
        let waiting = std::mem::take(&mut self.waiting);
        let now = Ticket(0);
        self.waiting
            .push_back((now, Output::Event(Event::StorageFailed)));
        for (_, output) in waiting {
            if let Output::Reply(id, _) = output {
                self.refuse(id);
            }
        }
        for id in carriers {
            self.waiting.push_back((now, Output::Hangup(id)));
        }
    }

    /// The client has stopped.
    pub(super) fn refuse(&mut self, id: CommandId) {
        self.waiting
            .push_back((Ticket(0), Output::Reply(id, Err(Refused::StorageFailed))));
    }
}
