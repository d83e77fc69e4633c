//! `emptyroom-relay export`: all rows of a store, to be brought into another one.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use emptyroom_wire::relay_key::{IdentityHash, RelayIdentity};

use super::store::choice;
use super::{Exit, Failure};
use crate::clock;
use crate::console;
use crate::data::chain::Chain;
use crate::data::{DataDir, DataError, identity};
use crate::log::{Event, log};
use crate::medium::{Choice, Keeper, Wanted};
use crate::moving::{self, MoveError, Moved};
use crate::postgres::Address;
use crate::postgres::chain::SharedChain;
use crate::server::StartError;

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
    /// The file, which is not there yet.
    #[arg(long, value_name = "FILE", required_unless_present = "undo")]
    to: Option<PathBuf>,
    /// Let the store be served again: its rows were brought nowhere, or what they were brought to was never served.
    #[arg(long, conflicts_with = "to")]
    undo: bool,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let choice = choice(arguments.store)?;
    let first = match &choice {
        Some(Choice::Databases(addresses)) => addresses.first().cloned(),
        Some(Choice::Here(_)) | None => None,
    };
    let data = open(&arguments.data)?;
    let Some(to) = arguments.to else {
        let (_, mut keeper) = keeper(&data, choice)?;
        return Ok(keeper.stay(&data)?);
    };
    let (identity, mut keeper) = keeper(&data, choice)?;
    let file = moving::create(&to)?;
    let moved = (|| {
        keeper.leave(&data)?;
        if let Some(first) = first {
            keep_chain(&data, &first)?;
        }
        moving::export(&mut keeper, &identity, (file, &to), telling())
    })();
    // A half one is of no use.
    let Moved { rows, lost } = moved.inspect_err(|_| moving::discard(&to))?;
    console::result(&format!("{}: {rows} rows", to.display()))?;
    if lost > 0 {
        log(&Event::RowsStay(lost));
    }
    Ok(())
}

/// The chain of key records, too, which lies in the first database: for a backup of this data directory, and whoever goes on from there.
// [SPEC 6.213]
fn keep_chain(data: &DataDir, first: &Address) -> Result<(), MoveError> {
    let identity = RelayIdentity::from_seed(&identity::load_or_make(data)?);
    let mut own = Chain::load(data, &identity.verify_key())?;
    let (_, records) = SharedChain::open(first, identity.verify_key(), own.records())?;
    let known = own.records().last().map_or(0, |record| record.number);
    for record in records.into_iter().filter(|record| record.number > known) {
        own.append(clock::wall(), record)?;
    }
    Ok(())
}

/// The data directory of a relay that does not run.
pub(super) fn open(data: &Path) -> Result<DataDir, Failure> {
    if !data.join(identity::FILE).exists() {
        return Err(DataError::NeverServed.into());
    }
    Ok(DataDir::open(data)?)
}

/// Whose it is.
pub(super) fn identity_of(data: &DataDir) -> Result<IdentityHash, Failure> {
    Ok(RelayIdentity::from_seed(&identity::load_or_make(data)?).hash())
}

/// Its store, not to be served.
pub(super) fn keeper(
    data: &DataDir,
    choice: Option<Choice>,
) -> Result<(IdentityHash, Keeper), Failure> {
    let seed = identity::load_or_make(data)?;
    let wanted = Wanted {
        choice,
        is_moving: true,
        ..Wanted::default()
    };
    let keeper = Keeper::open(data, &seed, &wanted, clock::wall().day());
    let keeper = keeper.map_err(StartError::Store)?;
    Ok((identity_of(data)?, keeper))
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
                .hint("give a new data directory, or new databases; nothing was changed"),
            MoveError::OtherImport => Self::new(Exit::Data, text)
                .hint("go on with that file, or give a new data directory, and new databases"),
            MoveError::HalfImported => {
                Self::new(Exit::Data, text).hint("finish the import first: run it again")
            }
            MoveError::Busy => Self::new(Exit::InUse, text).hint("stop all its nodes first"),
            MoveError::Store(_) => {
                Self::new(Exit::Storage, text).hint("run the same command again: it goes on")
            }
        }
    }
}
