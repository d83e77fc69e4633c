//! The segment store: how fast it is back after a kill, what it keeps in memory, what churn does to its disk, and how long a
//! checkpoint makes others wait.

use emptyroom_load::Trouble;
use emptyroom_load::program::RelayProgram;
use emptyroom_load::report::{Section, percentile, time};
use emptyroom_load::scratch::Scratch;
use emptyroom_relay::store::{Changes, EntryChange, LastingChange, RowKey, Rows};
use emptyroom_relayd::segments::disk::OsDisk;
use emptyroom_relayd::segments::{OnDamage, SegmentRows, Settled, Sizes};
use emptyroom_wire::time::{DAY_MS, Day};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Entries at which recovery is measured.
const MILLIONS: [u32; 3] = [1, 2, 4];
const MILLION: u32 = 1_000_000;
const ROW_BYTES: usize = 300;
/// Rows of a commit, and entries for each lasting row.
const TOGETHER: u32 = 1_000;
const PER_LASTING: u32 = 16;
/// Entries that are in and out again, and how many are there at a time.
const CHURNED: u32 = 2 * MILLION;
const ALIVE: usize = 100_000;

type Store = SegmentRows<OsDisk>;

pub(crate) fn measure() -> Result<Section, Trouble> {
    let mut section = Section::new(
        "Segment store",
        format!(
            "Rows of {ROW_BYTES} bytes, {TOGETHER} in a commit, and one lasting row for every {PER_LASTING} entries. Recovery is from the start of the real \
             program to its address line, after it was killed, with files in the page cache. Churn: {CHURNED} entries in and out, {ALIVE} there \
             at a time; between two commits as many slices of a checkpoint as the relay does."
        ),
    );
    recovery(&mut section)?;
    churn(&mut section)?;
    Ok(section)
}

fn recovery(section: &mut Section) -> Result<(), Trouble> {
    let scratch = Scratch::new("store")?;
    let data = scratch.path.join("data");
    let directory = data.join("segments");
    let arguments = ["--store", "segments"];
    drop(RelayProgram::start(&data, &arguments)?);
    let mut filled = 0;
    for millions in MILLIONS {
        let mut store = open(&directory)?;
        while filled < millions * MILLION {
            let changes = changes(filled, None);
            store.commit(changes).map_err(|e| e.to_string())?;
            filled += TOGETHER;
            for _ in 0..store.slices_due() {
                store.settle().map_err(|e| e.to_string())?;
            }
        }
        let rows = store.rows();
        // As a kill would: nothing is tidied.
        drop(store);
        let begun = Instant::now();
        let relay = RelayProgram::start(&data, &arguments)?;
        let serves = begun.elapsed();
        let cost = relay.cost()?;
        drop(relay);
        let mut store = open(&directory)?;
        if store.rows() != rows {
            return Err(format!("{rows} rows were stored, {} are there", store.rows()).into());
        }
        check(&mut store, filled)?;
        let limit = Duration::from_millis(500 + 350 * u64::from(millions));
        section.aimed(
            format!("{millions} million entries ({rows} rows): serves after"),
            format!(
                "{}; CPU {}, memory {} MiB",
                time(serves),
                time(cost.cpu),
                cost.memory_bytes >> 20
            ),
            &time(limit),
        );
    }
    Ok(())
}

/// Every thousandth row is what it was.
fn check(store: &mut Store, filled: u32) -> Result<(), Trouble> {
    for number in (0..filled).step_by(1_000) {
        let (key, row) = row(number);
        let found = store.entry(last_day(number), &key);
        if found.map_err(|e| e.to_string())? != Some(row) {
            return Err("an entry is lost".into());
        }
    }
    Ok(())
}

fn churn(section: &mut Section) -> Result<(), Trouble> {
    let scratch = Scratch::new("churn")?;
    let mut store = open(&scratch.path)?;
    let mut there = VecDeque::new();
    let (mut commits, mut slices) = (Vec::new(), Vec::new());
    let (mut largest, mut live_bytes) = (0, 0);
    for first in (0..CHURNED).step_by(TOGETHER as usize) {
        let old = (there.len() * TOGETHER as usize >= ALIVE).then(|| there.pop_front());
        commits.push(timed(|| store.commit(changes(first, old.flatten())))?);
        there.push_back(first);
        for _ in 0..store.slices_due() {
            slices.push(timed(|| store.settle())?);
        }
        if first % (100 * TOGETHER) == 0 && there.len() * TOGETHER as usize >= ALIVE {
            while store.settle().map_err(|e| e.to_string())? == Settled::More {}
            largest = largest.max(blocks(&scratch.path)?);
            live_bytes = store.rows() * (ROW_BYTES + 40);
        }
    }
    let factor = largest as f64 / live_bytes as f64;
    section.aimed(
        "disk under churn",
        format!(
            "{} MiB at most for {} MiB of rows: {factor:.2} times",
            largest >> 20,
            live_bytes >> 20
        ),
        "at most 1.3 times, and a segment",
    );
    section.row(
        "a commit, half of them, 99 %, the longest",
        spread(&mut commits),
    );
    section.row("a slice of a checkpoint, likewise", spread(&mut slices));
    while let Some(first) = there.pop_front() {
        let changes = removals(first);
        store.commit(changes).map_err(|e| e.to_string())?;
    }
    let begun = Instant::now();
    store.checkpoint().map_err(|e| e.to_string())?;
    section.row("a whole checkpoint, at the end", time(begun.elapsed()));
    section.aimed(
        "bytes of removed entries in the files of rows then",
        written(&scratch.path)?.to_string(),
        "0",
    );
    // A day that is over.
    for first in (0..200_000).step_by(TOGETHER as usize) {
        store
            .commit(changes(first, None))
            .map_err(|e| e.to_string())?;
    }
    store.checkpoint().map_err(|e| e.to_string())?;
    let before = blocks(&scratch.path)?;
    let begun = Instant::now();
    let over = Day(today() + 100);
    store.expire(over).map_err(|e| e.to_string())?;
    section.row(
        "200000 entries run out",
        format!(
            "{}: {} MiB before, {} KiB after",
            time(begun.elapsed()),
            before >> 20,
            blocks(&scratch.path)? >> 10
        ),
    );
    Ok(())
}

fn open(directory: &Path) -> Result<Store, Trouble> {
    let disk = OsDisk::new(directory).map_err(|e| e.to_string())?;
    let opened = SegmentRows::open(disk, Sizes::default(), OnDamage::Refuse);
    opened.map_err(|e| format!("{}: {}", e.file, e.failure).into())
}

/// A commit's worth of new rows, and the removal of as many.
fn changes(first: u32, old: Option<u32>) -> Changes {
    let mut changes = old.map(removals).unwrap_or_default();
    for number in first..first + TOGETHER {
        let (key, bytes) = row(number);
        if number.is_multiple_of(PER_LASTING) {
            changes.lasting.push(LastingChange::Put {
                key,
                day: Day(today() + 90),
                row: bytes.clone(),
            });
        }
        changes.entries.push(EntryChange {
            day: last_day(number),
            key,
            row: Some(bytes),
        });
    }
    changes
}

fn removals(first: u32) -> Changes {
    let mut changes = Changes::default();
    for number in first..first + TOGETHER {
        let (key, _) = row(number);
        if number.is_multiple_of(PER_LASTING) {
            changes.lasting.push(LastingChange::Remove { key });
        }
        changes.entries.push(EntryChange {
            day: last_day(number),
            key,
            row: None,
        });
    }
    changes
}

fn row(number: u32) -> (RowKey, Vec<u8>) {
    let mut rng = ChaCha20Rng::seed_from_u64(u64::from(number));
    let mut key = [0; 32];
    rng.fill_bytes(&mut key);
    let mut row = vec![0; ROW_BYTES];
    rng.fill_bytes(&mut row);
    (RowKey(key), row)
}

/// Three days, as the three lives of entries make.
fn last_day(number: u32) -> Day {
    Day(today() + [2, 8, 31].get(number as usize % 3).copied().unwrap_or(2))
}

fn today() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let days = since.map_or(0, |since| since.as_millis() / u128::from(DAY_MS));
    u32::try_from(days).unwrap_or(0)
}

fn timed<T, E: std::fmt::Display>(
    work: impl FnOnce() -> Result<T, E>,
) -> Result<Duration, Trouble> {
    let begun = Instant::now();
    work().map_err(|e| e.to_string())?;
    Ok(begun.elapsed())
}

fn spread(samples: &mut [Duration]) -> String {
    let [half, most, all] = [50, 99, 100].map(|percent| time(percentile(samples, percent)));
    format!("{half}, {most}, {all}")
}

/// What the file system holds for a directory.
fn blocks(directory: &Path) -> Result<u64, Trouble> {
    let mut bytes = 0;
    for file in fs::read_dir(directory)? {
        bytes += file?.metadata()?.blocks() * 512;
    }
    Ok(bytes)
}

/// Bytes in the files of rows that are not zero.
fn written(directory: &Path) -> Result<usize, Trouble> {
    let mut count = 0;
    for file in fs::read_dir(directory)? {
        let path = file?.path();
        if path.extension().is_some_and(|ending| ending == "data") {
            count += fs::read(path)?.iter().filter(|byte| **byte != 0).count();
        }
    }
    Ok(count)
}
