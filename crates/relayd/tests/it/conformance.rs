//! The suite that every store must pass, on SQLite.

use std::fs;
use std::path::Path;

use emptyroom_relay::conformance::{CHECKS, Subject};
use emptyroom_relay::store::{Ledger, Store};
use emptyroom_relayd::sqlite::SqliteRows;
use emptyroom_wire::time::Day;

use crate::client::generator;
use crate::scratch::Scratch;

struct Sqlite {
    dir: Scratch,
    lives: u32,
    store: Ledger<SqliteRows>,
}

fn open(path: &Path) -> Ledger<SqliteRows> {
    Ledger::new(
        SqliteRows::open(path, Day(0)).unwrap(),
        Box::new(generator()),
    )
}

impl Sqlite {
    fn new() -> Self {
        let dir = Scratch::in_memory("conformance");
        let store = open(&dir.path().join("0"));
        Self {
            dir,
            lives: 0,
            store,
        }
    }
}

impl Subject for Sqlite {
    fn store(&mut self) -> &mut dyn Store {
        &mut self.store
    }

    /// What the files hold at this moment is what a killed process leaves: a copy of them is opened, and the
    /// old store never gets to tidy up in it.
    fn crash(&mut self) {
        let before = self.dir.path().join(self.lives.to_string());
        self.lives += 1;
        let after = self.dir.path().join(self.lives.to_string());
        fs::create_dir(&after).unwrap();
        for file in fs::read_dir(&before).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), after.join(file.file_name())).unwrap();
        }
        self.store = open(&after);
        fs::remove_dir_all(before).unwrap();
    }
}

// [SPEC 6.62] [SPEC 6.63]
#[test]
fn sqlite_passes_every_check() {
    for check in CHECKS {
        eprintln!("check: {}", check.name);
        (check.run)(&mut Sqlite::new());
    }
}
