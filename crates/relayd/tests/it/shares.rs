//! Shares on a disk: what is left of one, and what a kill brings back of it.

use std::collections::BTreeMap;
use std::fs;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use emptyroom_relay::store::{Ledger, ShareOp, SharePlace, ShareReply, Store, StoreOp, StoreReply};
use emptyroom_relayd::segments::SegmentRows;
use emptyroom_relayd::sqlite::SqliteRows;
use emptyroom_wire::address::RelayAddress;
use emptyroom_wire::derive::expand;
use emptyroom_wire::op::{Answer, DeleteShare, EvaluateShare, PutShare, RefusalCode, Request};
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::share::{Element, Share, ShareId, ShareKey, sign_delete};
use emptyroom_wire::sign::SignKey;
use emptyroom_wire::time::{DAY_MS, Day, Wall};
use emptyroom_wire::wipe::OrderHash;
use rand_core::Rng;

use crate::client::{Client, generator};
use crate::process::{Process, repeats};
use crate::scratch::{Scratch, files_below};
use crate::segments::ledger;
use crate::shadow::ShadowDisk;

const START: Wall = Wall(20_000 * DAY_MS + DAY_MS / 2);
/// From the start to a day that is a multiple of eight.
const DAYS: u16 = 16;

pub fn share(number: u8, uses: u8, days: u16) -> Share {
    let mut key = [0; 32];
    key[0] = number;
    Share {
        owner: owner().verify_key(),
        key: ShareKey::new(key).unwrap(),
        uses,
        days,
        policy: None,
    }
}

fn owner() -> SignKey {
    SignKey::from_seed(&Secret32::new([0x71; 32]))
}

pub fn op(number: u8, op: ShareOp) -> StoreOp {
    StoreOp::Share(SharePlace::of(&ShareId::new([number; 32])), op)
}

/// A store with its files.
trait Disk {
    fn store(&mut self) -> &mut dyn Store;
    /// Does what the program does soon after the last write.
    fn settle(&mut self);
    fn files(&self) -> BTreeMap<String, Vec<u8>>;

    fn one(&mut self, op: StoreOp) -> StoreReply {
        self.store().apply(START, vec![op]).unwrap().remove(0)
    }
}

struct Sqlite(Scratch, Ledger<SqliteRows>);

struct Segments(ShadowDisk, Ledger<SegmentRows<ShadowDisk>>);

impl Disk for Sqlite {
    fn store(&mut self) -> &mut dyn Store {
        &mut self.1
    }

    fn settle(&mut self) {
        self.1.rows().tidy().unwrap();
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let read = |path: std::path::PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        };
        files_below(self.0.path()).into_iter().map(read).collect()
    }
}

impl Disk for Segments {
    fn store(&mut self) -> &mut dyn Store {
        &mut self.1
    }

    fn settle(&mut self) {
        while !self.1.rows().checkpoint().unwrap() {}
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let synced = self.0.durable().into_iter();
        let synced = synced.map(|(name, bytes)| (format!("synced {name}"), bytes));
        self.0.contents().into_iter().chain(synced).collect()
    }
}

const PIECE: usize = 32;
/// A piece of SQLite's index of days has no more different bytes: the random numbers of two rows, 8 each, which stay when a row is
/// replaced, and 9 others.
const INDEX_VALUES_MAX: usize = 25;

/// Every piece of these files that looks like a sealed row's, and was not there before.
fn sealed(now: &BTreeMap<String, Vec<u8>>, before: &BTreeMap<String, Vec<u8>>) -> Vec<Vec<u8>> {
    let rows = now
        .iter()
        .filter(|(name, _)| name.ends_with(".data") || name.ends_with(".db"));
    let mut found = Vec::new();
    // A row that is replaced keeps its key.
    let id = ShareId::new([1; 32]);
    let key = expand::<32>(id.expose(), "emptyroom v1 share row key", &[]);
    for (_, bytes) in rows {
        let mut bytes = bytes.clone();
        while let Some(at) = bytes.windows(32).position(|part| part == key.expose()) {
            bytes[at..at + 32].fill(0);
        }
        for piece in bytes.chunks(PIECE).filter(|piece| piece.len() == PIECE) {
            let mut values = piece.to_vec();
            values.sort_unstable();
            values.dedup();
            if values.len() > INDEX_VALUES_MAX && !is_there(piece, before) {
                found.push(piece.to_vec());
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

fn is_there(piece: &[u8], files: &BTreeMap<String, Vec<u8>>) -> bool {
    let mut files = files.values();
    files.any(|bytes| bytes.windows(PIECE).any(|part| part == piece))
}

/// How a share ends.
const ENDS: [fn(&mut dyn Disk); 4] = [
    |disk| {
        assert!(matches!(
            disk.one(op(1, ShareOp::Use)),
            StoreReply::Share(_)
        ))
    },
    |disk| {
        assert!(matches!(
            disk.one(op(1, ShareOp::Delete(None))),
            StoreReply::Done
        ))
    },
    |disk| {
        let order = Some(OrderHash([7; 32]));
        assert!(matches!(
            disk.one(op(1, ShareOp::Delete(order))),
            StoreReply::Done
        ));
    },
    |disk| {
        let over = START.plus_ms((u64::from(DAYS) + 1) * DAY_MS);
        disk.store().expire(over).unwrap();
    },
];

fn nothing_is_left(mut fresh: impl FnMut() -> Box<dyn Disk>) {
    for (number, end) in ENDS.iter().enumerate() {
        let mut disk = fresh();
        // Another one, which stays.
        disk.one(op(9, ShareOp::Put(share(9, 2, 400))));
        disk.settle();
        let before = disk.files();
        disk.one(op(1, ShareOp::Put(share(1, 1, DAYS))));
        disk.settle();
        let pieces = sealed(&disk.files(), &before);
        assert!(
            pieces.len() > 500 / PIECE - 3,
            "end {number}: {}",
            pieces.len()
        );
        end(&mut *disk);
        disk.settle();
        let after = disk.files();
        let left = pieces
            .iter()
            .filter(|piece| is_there(piece, &after))
            .count();
        assert_eq!(left, 0, "end {number}: of {} pieces", pieces.len());
        let other = disk.one(op(9, ShareOp::Use));
        assert!(matches!(other, StoreReply::Share(ShareReply::Used(_, 1))));
    }
}

// [SPEC 6.174] [SPEC 6.67]
#[test]
fn nothing_is_left_of_a_share_in_sqlite() {
    nothing_is_left(|| {
        let dir = Scratch::in_memory("shares");
        let rows = SqliteRows::open(dir.path(), Day(0)).unwrap();
        Box::new(Sqlite(dir, Ledger::new(rows, Box::new(generator()))))
    });
}

// [SPEC 6.174] [SPEC 6.93]
#[test]
fn nothing_is_left_of_a_share_in_segments() {
    nothing_is_left(|| {
        let disk = ShadowDisk::default();
        let store = ledger(&disk);
        Box::new(Segments(disk, store))
    });
}

// [SPEC 4.72] [SPEC 4.74]
#[test]
fn a_kill_brings_no_use_back() {
    kills("sqlite");
}

// [SPEC 4.72] [SPEC 4.74]
#[test]
fn a_kill_brings_no_use_back_in_segments() {
    kills("segments");
}

/// What the relay answered before it was killed.
#[derive(Default)]
struct Told {
    put: bool,
    uses_left: Option<u8>,
    deleted: bool,
}

fn kills(store: &str) {
    let dir = Scratch::new("share-kills");
    let data = dir.path().join("data");
    for round in 0..repeats("EMPTYROOM_SHARE_KILLS", 16) {
        let id = id_of(round);
        let relay = Process::start_with(&data, &["--store", store]);
        let address = relay.address.clone();
        let life = Duration::from_micros(u64::from(generator().next_u32() % 40_000));
        let told = thread::scope(|scope| {
            let (working, begun) = mpsc::channel();
            let (address, id) = (&address, &id);
            // Half of the kills are sure to come after an answer that counts.
            let begins = if round % 2 == 0 {
                Begins::WithAUse
            } else {
                Begins::Connected
            };
            let user = scope.spawn(move || use_until_killed(address, id, (begins, working)));
            begun.recv_timeout(Duration::from_secs(30)).unwrap();
            thread::sleep(life);
            relay.kill();
            user.join().unwrap()
        });
        let relay = Process::start_with(&data, &["--store", store]);
        let mut client = Client::connect(&relay.address);
        match client.call(evaluate(&id)) {
            Answer::Evaluated(evaluated) => {
                assert!(!told.deleted);
                assert!(told.uses_left.is_none_or(|told| evaluated.uses_left < told));
            }
            Answer::Refused(refusal) => match refusal.code {
                RefusalCode::Unknown => assert!(!told.put),
                RefusalCode::Destroyed => assert!(told.put),
                RefusalCode::UsedUp => assert!(told.put && !told.deleted),
                code => panic!("{}", code.name()),
            },
            _ => panic!("no answer to this"),
        }
        assert!(round % 2 == 1 || told.uses_left.is_some());
        relay.kill();
    }
}

/// Another one in each round.
fn id_of(round: u64) -> ShareId {
    let mut id = [1; 32];
    id[..8].copy_from_slice(&round.to_be_bytes());
    ShareId::new(id)
}

/// When the time until the kill begins.
#[derive(Clone, Copy, PartialEq)]
enum Begins {
    Connected,
    WithAUse,
}

pub fn evaluate(id: &ShareId) -> Request {
    // The first vector of RFC 9497, A.1.1.
    let blinded = [
        0x60, 0x9a, 0x0a, 0xe6, 0x8c, 0x15, 0xa3, 0xcf, 0x69, 0x03, 0x76, 0x64, 0x61, 0x30, 0x7e,
        0x5c, 0x8b, 0xb2, 0xf9, 0x5e, 0x7e, 0x65, 0x50, 0xe1, 0xff, 0xa2, 0xdc, 0x99, 0xe4, 0x12,
        0x80, 0x3c,
    ];
    Request::ShareEvaluate(EvaluateShare {
        id: id.clone(),
        element: Element::new(blinded).unwrap(),
    })
}

fn use_until_killed(
    address: &RelayAddress,
    id: &ShareId,
    (begins, working): (Begins, Sender<()>),
) -> Told {
    let mut told = Told::default();
    let mut client = Client::connect(address);
    let begin = |at| {
        if begins == at {
            working.send(()).unwrap();
        }
    };
    begin(Begins::Connected);
    let put = Request::SharePut(PutShare {
        id: id.clone(),
        share: share(1, 8, 100),
        code: None,
    });
    if !matches!(client.try_call(put), Ok(Answer::Done)) {
        return told;
    }
    told.put = true;
    for _ in 0..7 {
        let Ok(Answer::Evaluated(evaluated)) = client.try_call(evaluate(id)) else {
            return told;
        };
        if told.uses_left.is_none() {
            begin(Begins::WithAUse);
        }
        told.uses_left = Some(evaluated.uses_left);
    }
    let delete = Request::ShareDelete(DeleteShare {
        id: id.clone(),
        signature: sign_delete(&owner(), &address.identity, id.name()),
    });
    told.deleted = matches!(client.try_call(delete), Ok(Answer::Done));
    told
}
