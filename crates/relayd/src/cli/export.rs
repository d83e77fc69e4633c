//! `emptyroom-relay export`: all rows of a store, to be brought into another one.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use emptyroom_relay::store::StoreFailure;
use emptyroom_wire::relay_key::{IdentityHash, RelayIdentity};

use super::store::choice;
use super::{Exit, Failure};
use crate::clock;
use crate::console;
use crate::data::chain::Chain;
use crate::data::owner::give_to_owner;
use crate::data::{DataDir, DataError, identity};
use crate::log::{Event, log};
use crate::medium::{Choice, Keeper, Wanted};
use crate::moving::{self, MoveError, Moved};
use crate::postgres::Address;
use crate::postgres::chain::SharedChain;
use crate::postgres::cluster::Purpose;
use crate::server::{StartError, check_clock};

/// Between two lines that say how far it came.
const TELL: Duration = Duration::from_secs(5);

/// Write all rows of a stopped relay's store to a file, for `import`.
///
/// This is how a relay moves from its own disk to databases, from there to others, and back. Rows stay sealed under their logs' secrets.
/// From then on the store is not served: two relays that go on from the same rows would be two with one name.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  emptyroom-relay export --data /var/lib/emptyroom-relay --to ./rows
  emptyroom-relay export --data ./node --store file:/etc/emptyroom/databases --to ./rows

THE FILE IS NOT SEALED UNDER DAY KEYS: whoever has it can open, with an address found on somebody's
device, what has run out on the relay since. Destroy it when the move is done. docs/scaling.md says
the rest.")]
pub(super) struct Arguments {
    /// The data directory of the relay, or of one of its nodes.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The databases, as for `serve`, if the rows are in such.
    #[arg(long, value_name = "STORE")]
    store: Vec<String>,
    #[command(flatten)]
    care: Care,
    /// The file, which is not there yet.
    #[arg(long, value_name = "FILE", required_unless_present = "undo")]
    to: Option<PathBuf>,
    /// Let the store be served again: its rows were brought nowhere, or what they were brought to was never served.
    #[arg(long, conflicts_with = "to")]
    undo: bool,
    /// With --undo: although a database is empty by now, because it was lost. What it held is gone.
    #[arg(long, requires = "undo")]
    database_was_lost: bool,
}

/// What both ways ask for.
#[derive(clap::Args)]
pub(super) struct Care {
    /// Memory for the places of rows, in MiB, as for `serve`. [default: 1024]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..))]
    store_memory: Option<u32>,
    /// Go on although the clock says that this relay last ran more than 40 days ago. What has run out since is left behind.
    #[arg(long)]
    clock_is_right: bool,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let choice = choice(arguments.store.clone())?;
    for_owner(&arguments.data, |data| export(data, choice, &arguments))
}

/// Does something with the data directory of a relay that does not run; what it made there is then the owner's: root may do it for a service.
pub(super) fn for_owner(
    data: &Path,
    work: impl FnOnce(&DataDir) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if !data.join(identity::FILE).exists() {
        return Err(DataError::NeverServed.into());
    }
    let data = DataDir::open(data)?;
    let done = work(&data);
    // No relay begins before that is done.
    let given = give_to_owner(&data);
    done.and(given.map_err(Failure::from))
}

fn export(data: &DataDir, choice: Option<Choice>, arguments: &Arguments) -> Result<(), Failure> {
    let first = first_of(choice.as_ref()).cloned();
    let moving = match arguments.database_was_lost {
        true => (choice, Purpose::StayingAfterLoss),
        false => (choice, Purpose::Leaving),
    };
    let (identity, mut keeper) = keeper(data, moving, &arguments.care)?;
    let Some(to) = &arguments.to else {
        return Ok(keeper.stay(data)?);
    };
    // What cannot be written is found out while the store is served still.
    let file = moving::create(to)?;
    let leaves = keeper.leave(data);
    let leaves = leaves.and_then(|()| first.map_or(Ok(()), |first| keep_chain(data, &first)));
    let moved = leaves.and_then(|()| moving::export(&mut keeper, &identity, (file, to), telling()));
    // A half one is of no use.
    let Moved { rows, over, lost } = moved.inspect_err(|_| moving::discard(to))?;
    console::result(&format!("{}: {rows} rows{}", to.display(), left(over)))?;
    if lost > 0 {
        let what = format!("{lost} rows did not open, and are not in the file");
        return Err(Failure::new(Exit::Data, what).hint(
            "they are lost to who goes on from it; `export --undo` lets the store be served as it is",
        ));
    }
    Ok(())
}

/// The chain of key records, too, which lies in the first database: for a backup of this data directory, and whoever goes on from there.
// [SPEC 6.213]
fn keep_chain(data: &DataDir, first: &Address) -> Result<(), MoveError> {
    let identity = RelayIdentity::from_seed(&identity::load_or_make(data)?);
    let mut own = Chain::load(data, &identity.verify_key())?;
    let records = SharedChain::look(first, identity.verify_key())?;
    if records.is_empty() {
        return Ok(());
    }
    // As a whole: it need not go on from what lies here.
    Ok(own.replace(clock::wall(), &records)?)
}

/// The first database, if it is kept in some.
fn first_of(choice: Option<&Choice>) -> Option<&Address> {
    match choice {
        Some(Choice::Databases(addresses)) => addresses.first(),
        Some(Choice::Here(_)) | None => None,
    }
}

/// Whose it is.
pub(super) fn identity_of(data: &DataDir) -> Result<IdentityHash, Failure> {
    Ok(RelayIdentity::from_seed(&identity::load_or_make(data)?).hash())
}

/// Its store, not to be served.
pub(super) fn keeper(
    data: &DataDir,
    (choice, purpose): (Option<Choice>, Purpose),
    care: &Care,
) -> Result<(IdentityHash, Keeper), Failure> {
    let seed = identity::load_or_make(data)?;
    let key = RelayIdentity::from_seed(&seed).verify_key();
    let own = Chain::load(data, &key)?;
    let first = first_of(choice.as_ref()).cloned();
    // [SPEC 6.216]
    if first.is_none() && !care.clock_is_right {
        check_clock(own.records(), clock::wall())?;
    }
    let wanted = Wanted {
        choice,
        purpose,
        memory_mib: care.store_memory.unwrap_or(Wanted::default().memory_mib),
        ..Wanted::default()
    };
    let keeper = Keeper::open(data, &seed, &wanted, clock::wall().day());
    let keeper = keeper.map_err(StartError::Store)?;
    // What lies in a node's directory is older than the databases'.
    if let Some(first) = first.filter(|_| !care.clock_is_right) {
        let there = SharedChain::look(&first, key).map_err(MoveError::Store)?;
        let known = if there.is_empty() {
            own.records()
        } else {
            &there
        };
        check_clock(known, clock::wall())?;
    }
    Ok((identity_of(data)?, keeper))
}

/// What did not go with the others.
pub(super) fn left(over: u64) -> String {
    match over {
        0 => String::new(),
        over => format!("; {over} that have run out stay behind"),
    }
}

pub(super) fn telling() -> impl FnMut(u64) {
    let mut told = Instant::now();
    move |number| {
        if told.elapsed() > TELL {
            told = Instant::now();
            log(&Event::RowsMoved(number));
        }
    }
}

impl From<MoveError> for Failure {
    fn from(error: MoveError) -> Self {
        let text = error.to_string();
        match error {
            MoveError::File(error) => error.into(),
            MoveError::Damaged(..) => {
                Self::new(Exit::Data, text).hint("export again; nothing was changed")
            }
            MoveError::OtherIdentity => Self::new(Exit::Data, text).hint(
                "`backup` and `restore` make a data directory of the same identity; nothing was changed",
            ),
            MoveError::NotEmpty => Self::new(Exit::Data, text)
                .hint("nothing was changed; if this file was imported there before, that had ended: keep it until you have seen its logs served; for another one give a new data directory, or new databases"),
            MoveError::OtherImport => Self::new(Exit::Data, text)
                .hint("go on with that file, or give a new data directory, and new databases"),
            MoveError::HalfImported => {
                Self::new(Exit::Data, text).hint("finish the import first: run it again")
            }
            MoveError::Store(StoreFailure::Full) => Self::new(Exit::Storage, text).hint(
                "make space, or give more --store-memory, and run the same command again: it goes on",
            ),
            MoveError::Busy => Self::new(Exit::InUse, text).hint(
                "stop all its nodes first; where none runs, the server still keeps the connection of one that was cut off, and pg_terminate_backend ends it",
            ),
            MoveError::NoneOpens => Self::new(Exit::Data, text).hint(
                "are its day keys those of the store? `export --undo` lets it be served again",
            ),
            MoveError::HalfTaken => Self::new(Exit::Storage, text).hint(
                "when it is back, `export --undo` lets it be served; an import is run again, when no node runs",
            ),
            MoveError::Store(_) => {
                Self::new(Exit::Storage, text).hint("run the same command again: it goes on")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, chown};

    use emptyroom_relay::store::Rows;
    use emptyroom_wire::time::{DAY_MS, Wall};

    use super::*;
    use crate::entropy;
    use crate::segments::ROW_MEMORY;
    use crate::testing::scratch;

    // [SPEC 6.112]
    #[test]
    fn rows_that_move_have_the_memory_that_was_asked_for() {
        let dir = scratch("export-memory");
        let data = DataDir::open(dir.path()).unwrap();
        for (store_memory, mib) in [(None, 1_024), (Some(2), 2)] {
            let care = Care {
                store_memory,
                clock_is_right: false,
            };
            let opened = keeper(&data, (None, Purpose::Coming), &care);
            let Ok((_, Keeper::Here(mut ledger))) = opened else {
                panic!("not here");
            };
            assert_eq!(ledger.rows().room(), (mib << 20) / ROW_MEMORY);
        }
    }

    // [SPEC 6.219]
    #[test]
    fn what_root_made_for_a_service_is_the_services() {
        const SERVICE: u32 = 61_234;
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = scratch("export-root");
        let data = DataDir::open(dir.path()).unwrap();
        identity::load_or_make(&data).unwrap();
        let file = data.join("rows");
        let for_service = |done: bool| {
            for_owner(dir.path(), |_| {
                fs::write(&file, b"").unwrap();
                done.then_some(()).ok_or(MoveError::Busy.into())
            })
        };
        chown(dir.path(), Some(SERVICE), Some(SERVICE)).unwrap();
        // Not beside a relay that runs.
        assert!(for_service(true).is_err() && !file.exists());
        drop(data);
        for done in [true, false] {
            assert_eq!(for_service(done).is_ok(), done);
            assert_eq!(fs::metadata(&file).unwrap().uid(), SERVICE);
            fs::remove_file(&file).unwrap();
        }
    }

    // [SPEC 6.216]
    #[test]
    fn a_clock_that_is_far_ahead_leaves_nothing_behind_unasked() {
        let dir = scratch("export-clock");
        let data = DataDir::open(dir.path()).unwrap();
        let identity = RelayIdentity::from_seed(&identity::load_or_make(&data).unwrap());
        let then = Wall(clock::wall().0 - 41 * DAY_MS);
        let key = identity.next_stream_key(None, then, &mut entropy::generator());
        let mut chain = Chain::load(&data, &identity.verify_key()).unwrap();
        chain.append(then, key.signed().record.clone()).unwrap();
        let open = |clock_is_right| {
            let care = Care {
                store_memory: None,
                clock_is_right,
            };
            keeper(&data, (None, Purpose::Leaving), &care).map(drop)
        };
        let refused = open(false).err().unwrap();
        assert!(refused.what.contains("41 days"), "{}", refused.what);
        assert!(open(true).is_ok());
    }
}
