//! The drill as a call: it runs beside the engine, which keeps its outcome.

use emptyroom_vault::{Change, Vault, WriteError};
use emptyroom_wire::time::Wall;

use super::own::{read_failure, write_failure};
use super::{Answerer, Engine, Message};
use crate::api::{Answer, DrillInfo, Exit, Failure};
use crate::clock;
use crate::drill::{self, InUse, Outcome};
use crate::factors::{self, Ways};

/// The record of the last drill: when (8 bytes, unix milliseconds), and 1 if it passed or 0.
const RECORD: &[u8] = b"nd";

impl Engine {
    /// Begins a drill. Messages are carried on meanwhile.
    pub(super) fn drill(&mut self, answerer: Answerer) {
        let kdf = match self.vault.status() {
            Ok(status) => status.kdf,
            Err(error) => return answerer(Err(read_failure(error))),
        };
        let (mode, relays) = factors::in_use(&self.vault);
        let ways = match Ways::of_machine() {
            Ok(ways) => ways,
            Err(failure) => return answerer(Err(failure)),
        };
        let (home, engine) = (self.home.clone(), self.itself.clone());
        // After the jobs before it: what it has elsewhere is noted as to be ended, and a refresh would end it at once. Where there is no
        // thread, whoever asked is told so as its answerer goes.
        self.jobs.begin(Box::new(move |real| {
            let in_use = InUse {
                mode,
                relays,
                ways,
                real,
            };
            let outcome = drill::run(&home, kdf, &in_use);
            if let Err(refused) = engine.blocking_send(Message::Drilled(outcome, answerer))
                && let Message::Drilled(_, answerer) = refused.0
            {
                answerer(Err(Failure::locked()));
            }
        }));
        self.drilling = self.jobs.are_under_way();
    }

    /// A drill has ended.
    pub(super) fn drilled(&mut self, outcome: Outcome, answerer: Answerer) {
        self.drilling = false;
        let (passed, answer) = match outcome {
            Outcome::Passed(steps) => (true, Ok(Answer::Drill { steps })),
            Outcome::Failed(failure) => (false, Err(failure)),
            Outcome::NotBegun(failure) => return answerer(Err(failure)),
        };
        let kept = keep(&mut self.vault, clock::now().wall, passed);
        // That it failed is the more important news.
        answerer(answer.and_then(|answer| kept.map(|()| answer).map_err(write_failure)));
    }
}

/// What would have to wait for it is refused.
pub(super) fn running() -> Failure {
    Failure::new(Exit::Refused, "drill_running", "a drill is running")
        .hint("wait until it has ended, then run the command again")
}

fn keep(vault: &mut Vault, ended: Wall, passed: bool) -> Result<(), WriteError> {
    let mut record = ended.0.to_be_bytes().to_vec();
    record.push(u8::from(passed));
    vault.apply(vec![Change {
        key: RECORD.to_vec(),
        value: Some(record),
    }])
}

/// The last drill, as `status` shows it.
pub(super) fn last(vault: &Vault) -> Result<Option<DrillInfo>, Failure> {
    let record = vault.get(RECORD).map_err(read_failure)?;
    let read = |record: &[u8]| {
        let (at, passed) = record.split_first_chunk()?;
        Some(DrillInfo {
            ended_at: u64::from_be_bytes(*at),
            passed: passed == [1],
        })
    };
    Ok(record.and_then(|record| read(&record)))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::api::{Call, ModeName, SecretText};
    use crate::engine::calls::waits_for_jobs;
    use crate::engine::switch::tests::over;
    use crate::home::{Kdf, create_vault};
    use crate::session::runtime;

    // [SPEC 11.92]
    #[test]
    fn one_that_failed_is_remembered_as_that() {
        let home =
            std::env::temp_dir().join(format!("emptyroom-node-{}-drilling", std::process::id()));
        let pin = SecretText::new("a pin of this test".to_owned());
        let mut vault = create_vault(&home, &pin, Kdf::Minimum).unwrap();
        assert!(last(&vault).unwrap().is_none());
        for (at, passed) in [(7, true), (1_700_000_000_000, false)] {
            keep(&mut vault, Wall(at), passed).unwrap();
            let drill = last(&vault).unwrap().unwrap();
            assert_eq!((drill.ended_at, drill.passed), (at, passed));
        }
        std::fs::remove_dir_all(&home).unwrap();
    }

    // [SPEC 12.60]
    #[test]
    fn what_would_wait_for_a_drill_is_refused() {
        let home =
            std::env::temp_dir().join(format!("emptyroom-node-{}-refused", std::process::id()));
        let pin = || SecretText::new("a pin of this test".to_owned());
        let vault = create_vault(&home, &pin(), Kdf::Minimum).unwrap();
        let runtime = runtime().unwrap();
        let (mut engine, ..) = over(vault, &home, &runtime);
        let (release, hangs) = channel::<()>();
        engine.jobs.begin(Box::new(move |_| {
            let _ = hangs.recv();
            panic!("as a drill may");
        }));
        engine.drilling = true;
        for call in [
            Call::Drill {},
            Call::VaultMode { relays: Vec::new() },
            Call::ChangeSecret {
                old: pin(),
                new: pin(),
                mode: None,
            },
            Call::SetMode {
                secret: pin(),
                mode: ModeName::Passphrase,
                relays: Vec::new(),
            },
            Call::ForgetLeft { secret: pin() },
            Call::SetPanic {
                secret: pin(),
                panic: pin(),
            },
            Call::UnsetPanic { secret: pin() },
            Call::SetRecovery {
                secret: pin(),
                words: None,
            },
        ] {
            let (answered, answer) = channel();
            let answerer = Box::new(move |outcome| answered.send(outcome).unwrap());
            engine.take(Message::Call(call, answerer));
            let refused = answer.try_recv().unwrap().err().unwrap();
            assert_eq!(
                (refused.exit, &*refused.error),
                (Exit::Refused, "drill_running")
            );
        }
        // It fell, and tells nobody.
        drop(release);
        let since = Instant::now();
        while engine.jobs.are_under_way() {
            assert!(since.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(1));
        }
        let (answered, answer) = channel();
        let answerer = Box::new(move |outcome| answered.send(outcome).unwrap());
        let secret = pin();
        engine.take(Message::Call(Call::UnsetPanic { secret }, answerer));
        assert_ne!(answer.recv().unwrap().err().unwrap().error, "drill_running");
        // Relays are asked for these.
        for asks_relays in [true, false] {
            let secret = pin();
            let set = Call::SetDeadman { secret, days: None };
            assert_eq!(waits_for_jobs(&set, asks_relays), asks_relays);
            let (secret, days) = (pin(), 1);
            let suspend = Call::SuspendDeadman { secret, days };
            assert_eq!(waits_for_jobs(&suspend, asks_relays), asks_relays);
        }
        std::fs::remove_dir_all(&home).unwrap();
    }
}
