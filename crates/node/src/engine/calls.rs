//! Calls: what becomes an input of the client, what the engine does itself, and what waits for an answer.

use emptyroom_core::api::{CommandId, Input, Refused, Reply};
use emptyroom_wire::time::Mono;

use super::end::End;
use super::{Answerer, Engine, drilling, own, secrets};
use crate::api::{Answer, Call, Failure};
use crate::factors::Ways;
use crate::{clock, convert, factors, policy};

/// A call that has no answer yet.
pub(super) struct Waiting {
    pub(super) answerer: Answerer,
    /// `flush` comes back at this time in any case.
    pub(super) until: Option<Mono>,
    pub(super) timed_out: bool,
}

impl Engine {
    pub(super) fn call(&mut self, call: Call, answerer: Answerer) {
        match call {
            Call::Lock {} => return self.ending = Some((End::Lock, answerer)),
            Call::Panic {} => match policy::allows_panic() {
                Ok(()) => return self.ending = Some((End::Panic, answerer)),
                Err(failure) => return answerer(Err(failure)),
            },
            _ => {}
        }
        if let Some(failure) = &self.broken {
            return answerer(Err(failure.clone()));
        }
        // [SPEC 12.60] It would be made when nobody waits for it any more.
        self.drilling &= self.jobs.are_under_way();
        if self.drilling && waits_for_jobs(&call, self.vault.mode().asks_relays()) {
            return answerer(Err(drilling::running()));
        }
        if self.client.is_none()
            && let Err(failure) = self.load()
        {
            return answerer(Err(failure));
        }
        let until = match &call {
            Call::Flush { wait_ms } => Some(clock::now().mono.plus_ms(*wait_ms)),
            _ => None,
        };
        match call {
            Call::Drill {} => self.drill(answerer),
            Call::SetDeadman { secret, days } => {
                let set = self.set_deadman(&secret, days);
                self.answer_renewed(set, answerer);
            }
            Call::SuspendDeadman { secret, days } => {
                let set = self.suspend_deadman(&secret, days);
                self.answer_renewed(set, answerer);
            }
            Call::VaultMode { relays } => self.jobs.begin(Box::new(move |access| {
                let relays = secrets::addresses(&relays);
                answerer(relays.and_then(|relays| factors::vault_mode(access, &relays)));
            })),
            Call::ChangeSecret { .. }
            | Call::SetMode { .. }
            | Call::SetPanic { .. }
            | Call::UnsetPanic { .. }
            | Call::ForgetLeft { .. }
            | Call::SetRecovery { .. } => self.jobs.begin(Box::new(move |access| {
                answerer(secrets::change(access, call));
                // After the answer: a change that was made is not taken back by what could not be destroyed, and words are
                // shown before anything is waited for. What is not destroyed stays noted.
                let _ = Ways::of_machine().and_then(|ways| factors::tidy::tidy(access, &ways));
            })),
            Call::SetSwitch {
                secret,
                switch,
                owner,
            } => answerer(self.set_switch(&secret, &switch, &owner)),
            Call::UnsetSwitch { secret } => self.unset_switch(&secret, answerer),
            call => match convert::command(call) {
                Ok(Some(command)) => {
                    let id = self.next_command();
                    self.waiting.insert(
                        id,
                        Waiting {
                            answerer,
                            until,
                            timed_out: false,
                        },
                    );
                    self.inputs.push_back(Input::Command(id, command));
                }
                Ok(None) => answerer(Err(Failure::fault("this call belongs to the connection"))),
                Err(failure) => answerer(Err(failure)),
            },
        }
    }

    pub(super) fn next_command(&mut self) -> CommandId {
        self.command_last += 1;
        CommandId(self.command_last)
    }

    pub(super) fn reply(&mut self, id: CommandId, reply: Result<Reply, Refused>) {
        let Some(waiting) = self.waiting.remove(&id) else {
            return;
        };
        let answer = match reply {
            // A flush that ran out of time asked for the status instead.
            Ok(Reply::Status(status)) if waiting.timed_out => Ok(Answer::Flushed {
                waiting: status.waiting,
                unreachable: status
                    .relays
                    .into_iter()
                    .filter(|r| !r.up)
                    .map(|r| r.relay)
                    .collect(),
                timed_out: true,
            }),
            Ok(reply) => convert::answer(reply, || {
                own::vault_info(&self.vault, &self.home, self.outside_info())
            }),
            Err(refused) => Err(convert::refused(refused)),
        };
        (waiting.answerer)(answer);
    }

    /// Has relays keep their shares for a time that was set, and then answers: whoever sets it and leaves must know of those that do
    /// not.
    // [SPEC 11.54]
    pub(super) fn answer_renewed(&mut self, set: Result<Answer, Failure>, answerer: Answerer) {
        if set.is_err() || !self.vault.mode().asks_relays() {
            return answerer(set);
        }
        // Where that cannot be noted they are renewed all the same: the time is set already.
        let _ = factors::change::note_due(&mut self.vault);
        self.jobs.begin(Box::new(|access| {
            let renewed = Ways::of_machine().and_then(|ways| factors::change::renew(access, &ways));
            if let Err(failure) = renewed
                && factors::change::note_failed(access, &failure).is_err()
            {
                // Nothing else tells it.
                return answerer(Err(failure));
            }
            answerer(set);
        }));
    }

    /// Has relays keep their shares for longer. What fails is tried again the next day, and has a year for that.
    // [SPEC 11.54]
    pub(super) fn renew_leases(&mut self) {
        self.renewed_at = clock::now().mono;
        if self.vault.mode().asks_relays() {
            self.jobs.begin(Box::new(|access| {
                let _ = Ways::of_machine().and_then(|ways| factors::change::renew(access, &ways));
            }));
        }
    }
}

/// Whether it is done after what is under way.
pub(super) fn waits_for_jobs(call: &Call, asks_relays: bool) -> bool {
    match call {
        Call::Drill {}
        | Call::VaultMode { .. }
        | Call::ChangeSecret { .. }
        | Call::SetMode { .. }
        | Call::SetPanic { .. }
        | Call::UnsetPanic { .. }
        | Call::ForgetLeft { .. }
        | Call::SetRecovery { .. } => true,
        Call::SetDeadman { .. } | Call::SuspendDeadman { .. } => asks_relays,
        _ => false,
    }
}
