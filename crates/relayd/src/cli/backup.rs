//! `emptyroom-relay backup`: a copy of what a relay must not lose.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Method, Response, StatusCode};
use tokio::runtime::Runtime;
use tokio::select;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use super::ask::{self, NoAnswer, Place};
use super::{Exit, Failure};
use crate::clock;
use crate::console;
use crate::data::backup::{Draft, is_half_restored};
use crate::data::{DataDir, DataError, identity};
use crate::postgres::ratchet;
use crate::status::HOLD;

const DAY_S: u64 = 24 * 60 * 60;
/// After the copy it is looked for so long whether the store was held all the time.
const LOOK: Duration = Duration::from_millis(100);

/// Copy what a relay must not lose into a new directory; it may be running.
///
/// That is its identity, its access code and the chain of its key records: with them another machine becomes the same
/// relay. Entries are left out, since a copy of them would keep keys that the relay destroys. A relay that is restored
/// without them has no conversation any more: each needs a new link (docs/self-hosting.md).
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  emptyroom-relay backup --data /var/lib/emptyroom-relay --to ./relay-backup
  emptyroom-relay backup --data /var/lib/emptyroom-relay --to ./relay-move --with-entries
  (stop the relay before this one: what it takes after the copy is not in it)

Keep it as secret as the relay's disk: whoever has identity.key can pose as this relay.

--with-entries is for moving to another machine. While the files are copied, appends and the
reading of older entries wait. THE COPY KEEPS THE DAY KEYS: whoever has it can open, with an
address found on somebody's device, what has run out on the relay since. Destroy it when the move
is done.")]
pub(super) struct Arguments {
    /// The data directory of the relay.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where the copy goes: a directory that is not there yet.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Copy the store with all entries and day keys, too.
    #[arg(long)]
    with_entries: bool,
    /// After so many days the entries of this copy are not restored any more.
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=30), requires = "with_entries")]
    days: u64,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (data, to) = (&arguments.data, &arguments.to);
    let until_s = arguments
        .with_entries
        .then(|| clock::wall().0 / 1_000 + arguments.days * DAY_S);
    if to.exists() {
        let source = std::io::ErrorKind::AlreadyExists.into();
        return Err(DataError::io("make", to, source).into());
    }
    if is_half_restored(data) {
        return Err(DataError::HalfRestored.into());
    }
    // [SPEC 6.132]
    if arguments.with_entries && data.join(ratchet::FILE).exists() {
        let text = "this is a node's data directory: its entries are in the database, and not in a backup of it";
        return Err(Failure::new(Exit::WrongUse, text)
            .hint("leave out --with-entries; a new node gets its day-keys from a node that runs"));
    }
    // Without entries nobody waits: each of these files is replaced as a whole or not at all.
    let mut still = if arguments.with_entries {
        Some(Still::take(data)?)
    } else if data.join(identity::FILE).exists() {
        None
    } else {
        return Err(DataError::NeverServed.into());
    };
    let stop = stop_on_signals()?;
    let mut draft = Draft::begin(to, until_s, stop)?;
    let copied = draft
        .copy(data)
        .map_err(failed)
        .and_then(|()| still.as_mut().map_or(Ok(()), Still::lasted));
    // Nobody waits for what is still to be done.
    drop(still);
    if let Err(failure) = copied.and_then(|()| draft.finish().map_err(failed)) {
        let left = if draft.discard() {
            format!("; nothing is left in {}", to.display())
        } else {
            format!(
                "; {} holds keys and could not be removed: destroy it",
                to.display()
            )
        };
        return Err(failure.and(&left));
    }
    let what = if arguments.with_entries {
        format!(
            "everything, with entries and day keys; to be restored within {} day{}, and then destroyed",
            arguments.days,
            if arguments.days == 1 { "" } else { "s" }
        )
    } else {
        "identity, access code and key records, no entries".to_owned()
    };
    console::result(&format!("{}: {what}", to.display()))?;
    Ok(())
}

fn failed(error: DataError) -> Failure {
    match error {
        DataError::Io { .. } => Failure::new(Exit::Data, error.to_string())
            .hint("make space, or mend what the system says, and try again"),
        error => error.into(),
    }
}

/// Becomes true when somebody asks the program to stop: what was begun has to be taken away.
// [SPEC 6.135]
fn stop_on_signals() -> Result<Arc<AtomicBool>, Failure> {
    let refused = |e: std::io::Error| Failure::new(Exit::Data, format!("cannot take signals: {e}"));
    let runtime = ask::runtime()?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::interrupt()).map_err(refused)?,
            signal(SignalKind::terminate()).map_err(refused)?,
            signal(SignalKind::hangup()).map_err(refused)?,
        )
    };
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    std::thread::spawn(move || {
        runtime.block_on(async {
            select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        told.store(true, Ordering::Relaxed);
    });
    Ok(stop)
}

/// Nobody writes: the relay holds its store, or none runs.
enum Still {
    Alone { _lock: Option<DataDir> },
    Held(Held),
}

impl Still {
    fn take(data: &Path) -> Result<Self, Failure> {
        if !data.join(identity::FILE).exists() {
            return Err(DataError::NeverServed.into());
        }
        match DataDir::look(data) {
            Ok(lock) => Ok(Self::Alone { _lock: lock }),
            Err(DataError::InUse) => Ok(Self::Held(Held::take(&Place::of_data(data))?)),
            Err(error) => Err(error.into()),
        }
    }

    /// It was so until now.
    fn lasted(&mut self) -> Result<(), Failure> {
        let held = match self {
            Self::Held(held) => held.is_held(),
            Self::Alone { .. } => true,
        };
        if held {
            return Ok(());
        }
        let what = "the relay stopped or went on before the copy was done";
        Err(Failure::new(Exit::NoAnswer, what)
            .hint("try again; a store that takes longer than ten minutes to copy must be copied while the relay is stopped"))
    }
}

/// A relay's store that stands still as long as this lives.
struct Held {
    runtime: Runtime,
    answer: Response<Incoming>,
    /// Before it was asked for.
    since: Instant,
}

impl Held {
    fn take(place: &Place) -> Result<Self, Failure> {
        let runtime = ask::runtime()?;
        let since = Instant::now();
        let asked = runtime.block_on(async {
            let mut answer = ask::send(place, Method::POST, "/hold").await?;
            // The first bytes come when it stands.
            let begun = answer.status() == StatusCode::OK && answer.frame().await.is_some();
            Ok::<_, NoAnswer>(begun.then_some(answer))
        });
        let failed = |why: String| {
            Failure::new(
                Exit::NoAnswer,
                format!("a relay runs there and does not hold its store: {why}"),
            )
            .hint("run this as the relay's user or as root; or stop the relay first")
        };
        match asked {
            Ok(Some(answer)) => Ok(Self {
                runtime,
                answer,
                since,
            }),
            Ok(None) => Err(failed("it refuses".to_owned())),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// The relay has not ended the answer, and with it the hold. Nothing was read while files were copied: who stands still in a look finds
    /// its time over before what there is to read. So there are two looks; and what took longer than a relay holds is void.
    fn is_held(&mut self) -> bool {
        let Self {
            runtime,
            answer,
            since,
        } = self;
        let goes_on = runtime.block_on(async {
            timeout(LOOK, answer.frame()).await.is_err()
                && timeout(LOOK, answer.frame()).await.is_err()
        });
        goes_on && since.elapsed() < HOLD
    }
}
