//! A batch for which there was no space: what needs some is refused, the rest is done without it.

use emptyroom_wire::op::{Refusal, RefusalCode};
use emptyroom_wire::time::Now;

use super::job::Purpose;
use super::queue::Job;
use super::{NO_BATCH, Relay, nodes, requests};
use crate::io::{Output, Ticket};
use crate::limits::FULL_RETRY_S;

/// What a batch asks for, the most demanding last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Needs {
    Nothing,
    /// Hardly any space: it makes some.
    Little,
    Space,
}

impl Needs {
    fn of(purpose: &Purpose) -> Needs {
        match purpose {
            Purpose::Open(..)
            | Purpose::DestroyLook(..)
            | Purpose::CatchUp(..)
            | Purpose::LookAgain(..)
            | Purpose::LookBack(..) => Needs::Nothing,
            Purpose::Share(_, asked) if !asked.writes() => Needs::Nothing,
            Purpose::Share(_, asked) if asked.adds() => Needs::Space,
            Purpose::Change(..) | Purpose::Share(..) => Needs::Little,
            Purpose::Create(_) | Purpose::Append(..) => Needs::Space,
        }
    }
}

impl Relay {
    /// Nothing of the batch was done: refuse what needs most, and do the rest before anything else. So what only reads is done
    /// after two more batches at the latest, whatever others write.
    pub(super) fn store_full(&mut self, now: Now, ticket: Ticket) {
        let Ok(purposes) = self.queue.failed(ticket) else {
            return self.stop(Err(NO_BATCH));
        };
        let Some(most) = purposes.iter().map(Needs::of).max() else {
            return;
        };
        // [SPEC 6.6]
        let refusal = Refusal::later(RefusalCode::StorageFull, FULL_RETRY_S);
        let mut again = Vec::new();
        for purpose in purposes {
            // [SPEC 6.150]
            if Needs::of(&purpose) == most {
                self.refuse_job(now, purpose, refusal);
            } else {
                again.extend(self.same_job(purpose));
            }
        }
        if !again.is_empty() {
            let ticket = self.take_ticket();
            let ops = self.queue.batch_again(ticket, again);
            self.out.push_back(Output::Store(ticket, ops));
        }
    }

    /// What was asked of the store for this purpose.
    fn same_job(&mut self, purpose: Purpose) -> Option<Job<Purpose>> {
        match purpose {
            Purpose::Open(asker, openings) => Some(requests::look_at(asker, openings)),
            Purpose::DestroyLook(asker, place, signature) => {
                Some(requests::look_to_destroy(asker, place, signature))
            }
            Purpose::Change(asker, place, change) => Some(change.job(asker, place)),
            Purpose::CatchUp(conn, handle) => {
                let job = self.same_read(conn, handle);
                if job.is_none() {
                    self.read_again(conn, handle);
                }
                job
            }
            Purpose::Share(asker, asked) => asked.job(asker),
            Purpose::LookAgain(places, sweep) => Some(nodes::look_again(places, sweep)),
            Purpose::LookBack(place, end) => Some(nodes::look_back(place, end)),
            // Refused before.
            Purpose::Create(_) | Purpose::Append(..) => None,
        }
    }
}
