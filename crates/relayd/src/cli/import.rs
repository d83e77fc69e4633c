//! `emptyroom-relay import`: the rows of another store.

use std::path::PathBuf;

use super::Failure;
use super::export::{Care, for_owner, identity_of, keeper, left, telling};
use super::store::choice;
use crate::console;
use crate::data::DataDir;
use crate::medium::Choice;
use crate::moving::{self, Moved};
use crate::postgres::cluster::Purpose;

/// Bring the rows of an export into an empty store.
///
/// The data directory must have the identity of the relay they come from: make it with `backup` and `restore`. What was cut off goes on
/// when it is run again; until all rows are there the store is not served.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  emptyroom-relay import --data ./node --store file:/etc/emptyroom/databases --from ./rows
  emptyroom-relay import --data ./relay --store segments --from ./rows")]
pub(super) struct Arguments {
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where the rows go, as for `serve`.
    #[arg(long, value_name = "STORE")]
    store: Vec<String>,
    #[command(flatten)]
    care: Care,
    /// The file that `export` wrote.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let choice = choice(arguments.store.clone())?;
    for_owner(&arguments.data, |data| import(data, choice, &arguments))
}

fn import(data: &DataDir, choice: Option<Choice>, arguments: &Arguments) -> Result<(), Failure> {
    // It is read twice: whether it is whole is known at its end, and until then nothing is changed.
    let hash = moving::look(&arguments.from, &identity_of(data)?)?;
    let moving = (choice, Purpose::Coming);
    let (identity, mut keeper) = keeper(data, moving, &arguments.care)?;
    let text = if let Some(come) = keeper.welcome(data, &hash)? {
        let from = (&*arguments.from, &hash);
        let Moved { rows, over, .. } =
            moving::import((&mut keeper, &come), &identity, from, telling())?;
        format!("{rows} rows{}", left(over))
    } else {
        "all rows were there already".to_owned()
    };
    keeper.all_came(data)?;
    console::result(&text)?;
    Ok(())
}
