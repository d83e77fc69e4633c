//! The segment store: how fast it is back after a kill, what it keeps in memory, what churn does to its disk, and how long a
//! checkpoint makes others wait.

use emptyroom_load::Trouble;
use emptyroom_load::cost::Cost;
use emptyroom_load::program::RelayProgram;
use emptyroom_load::relay::{header, opening};
use emptyroom_load::report::{Section, percentile, time};
use emptyroom_load::scratch::Scratch;
use emptyroom_load::wire_client::WireClient;
use emptyroom_relay::store::{Changes, EntryChange, LastingChange, RowKey, Rows};
use emptyroom_relayd::segments::disk::OsDisk;
use emptyroom_relayd::segments::{OnDamage, SegmentRows, Settled, Sizes};
use emptyroom_wire::address::RelayAddress;
use emptyroom_wire::op::{Answer, OpenOutcome, RefusalCode};
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
/// What sealing and an index add to a row.
const ROW_EXTRA: usize = 40 + 41;
/// Rows of a commit, and entries for each lasting row.
const TOGETHER: u32 = 1_000;
const PER_LASTING: u32 = 16;
/// Entries that are in and out again, and how many are there at a time.
const CHURNED: u32 = 2 * MILLION;
const ALIVE: u32 = MILLION;
/// Commits between two looks at the disk.
const LOOK_AFTER: u32 = 20;

type Store = SegmentRows<OsDisk>;

pub(crate) fn measure() -> Result<Vec<Section>, Trouble> {
    Ok(vec![recovery()?, churn()?])
}

fn recovery() -> Result<Section, Trouble> {
    let mut section = Section::new(
        "Start after a kill",
        format!(
            "Entries of {ROW_BYTES} bytes, {TOGETHER} in a commit, and one lasting row for every {PER_LASTING}. From the start of the real program until it \
             says its address, and until a client that connects then has its first answer out of the store; CPU and memory are the program's, at that \
             moment. What was written last stands in the journal, files are in the page cache."
        ),
    );
    let scratch = Scratch::new("store")?;
    let data = scratch.path.join("data");
    let directory = data.join("segments");
    drop(start(&data)?);
    let mut filled = 0;
    let mut starts = Vec::new();
    for millions in MILLIONS {
        let mut store = open(&directory)?;
        while filled < millions * MILLION {
            put(&mut store, changes(filled, None))?;
            filled += TOGETHER;
            if filled.is_multiple_of(MILLION / 2) {
                eprintln!("  {filled} entries are stored");
            }
        }
        let rows = store.rows();
        // As a kill would: nothing is tidied.
        drop(store);
        let started = Started::after(&data)?;
        let mut store = open(&directory)?;
        if store.rows() != rows {
            return Err(format!("{rows} rows were stored, {} are there", store.rows()).into());
        }
        check(&mut store, filled)?;
        section.aimed(
            format!("{millions} million entries ({rows} rows)"),
            format!(
                "address after {}, answer after {}; CPU {}, memory {} MiB",
                time(started.serves),
                time(started.answers),
                time(started.cost.cpu),
                started.cost.memory_bytes >> 20
            ),
            &format!("at most {}", time(limit(millions))),
        );
        starts.push((rows, started));
    }
    slope(&mut section, &starts);
    Ok(section)
}

fn limit(millions: u32) -> Duration {
    Duration::from_millis(500 + 350 * u64::from(millions))
}

/// What each million more costs, from the smallest to the largest.
fn slope(section: &mut Section, starts: &[(usize, Started)]) {
    let (Some((few, first)), Some((many, last))) = (starts.first(), starts.last()) else {
        return;
    };
    let more = (many - few) as f64 / f64::from(MILLION);
    let each = |from: Duration, to: Duration| time(to.saturating_sub(from).div_f64(more));
    section.aimed(
        "each million rows more, until the answer",
        format!(
            "{}; CPU {}",
            each(first.answers, last.answers),
            each(first.cost.cpu, last.cost.cpu)
        ),
        "at most 350 ms",
    );
    let memory = last
        .cost
        .memory_bytes
        .saturating_sub(first.cost.memory_bytes);
    section.aimed(
        "memory of each million rows more",
        format!(
            "{:.0} MiB: {:.0} bytes a row",
            memory as f64 / more / f64::from(1 << 20),
            memory as f64 / (many - few) as f64
        ),
        "at most 160 bytes a row",
    );
}

/// A start of the program.
struct Started {
    serves: Duration,
    answers: Duration,
    cost: Cost,
}

impl Started {
    fn after(data: &Path) -> Result<Started, Trouble> {
        let begun = Instant::now();
        let relay = start(data)?;
        let serves = begun.elapsed();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(ask(&relay))?;
        Ok(Started {
            serves,
            answers: begun.elapsed(),
            cost: relay.cost()?,
        })
    }
}

fn start(data: &Path) -> Result<RelayProgram, Trouble> {
    RelayProgram::start(data, &["--store", "segments"])
}

/// Asks for a log that is not there, which only the store knows.
async fn ask(relay: &RelayProgram) -> Result<(), Trouble> {
    let address = RelayAddress::parse(&relay.address)?;
    let mut client = WireClient::connect(&address, 1).await?;
    let nowhere = header(0, [0, 0]);
    client.send(opening([(&nowhere, 0)].into_iter())).await?;
    match client.answer().await? {
        Answer::Opened(opened)
            if opened.logs.iter().all(|log| {
                matches!(log, OpenOutcome::Refused(refusal) if refusal.code == RefusalCode::Unknown)
            }) =>
        {
            Ok(())
        }
        _ => Err("a log that nobody made is not unknown".into()),
    }
}

/// A commit with the slices of a checkpoint that the relay does with it.
fn put(store: &mut Store, changes: Changes) -> Result<(), Trouble> {
    store.commit(changes).map_err(|e| e.to_string())?;
    for _ in 0..store.slices_due() {
        store.settle().map_err(|e| e.to_string())?;
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

fn churn() -> Result<Section, Trouble> {
    let mut section = Section::new(
        "Churn",
        format!(
            "{CHURNED} such entries in and out again, the oldest first, {ALIVE} there at a time; between two commits as many slices of a checkpoint as \
             the relay does. The disk is what the file system holds for all files, journals among them, looked at every {LOOK_AFTER} commits; live \
             data are the rows that are there with what sealing and an index add to them."
        ),
    );
    let scratch = Scratch::new("churn")?;
    let mut store = open(&scratch.path)?;
    let mut there = VecDeque::new();
    for first in (0..ALIVE).step_by(TOGETHER as usize) {
        put(&mut store, changes(first, None))?;
        there.push_back(first);
    }
    eprintln!("  {ALIVE} entries are stored");
    let (mut commits, mut slices) = (Vec::new(), Vec::new());
    let (mut largest, mut live_bytes) = (0, 0);
    for first in (ALIVE..ALIVE + CHURNED).step_by(TOGETHER as usize) {
        let changes = changes(first, there.pop_front());
        commits.push(timed(|| store.commit(changes))?);
        there.push_back(first);
        for _ in 0..store.slices_due() {
            slices.push(timed(|| store.settle())?);
        }
        if first.is_multiple_of(LOOK_AFTER * TOGETHER) {
            largest = largest.max(blocks(&scratch.path)?);
            live_bytes = store.rows() * (ROW_BYTES + ROW_EXTRA);
        }
        if (first - ALIVE).is_multiple_of(CHURNED / 4) {
            eprintln!("  {} entries are in and out", first - ALIVE);
        }
    }
    let factor = largest as f64 / live_bytes as f64;
    section.aimed(
        "the disk at its fullest",
        format!(
            "{} MiB for {} MiB of live data: {factor:.2} times",
            largest >> 20,
            live_bytes >> 20
        ),
        "at most 1.3 times",
    );
    section.row(
        format!("a commit of {TOGETHER} in and {TOGETHER} out: half of them, 99 %, the longest"),
        spread(&mut commits),
    );
    section.row("a slice of a checkpoint, likewise", spread(&mut slices));
    ends(&mut section, &mut store, &scratch.path, there)?;
    Ok(section)
}

/// What is left when everything was removed, and how a day ends.
fn ends(
    section: &mut Section,
    store: &mut Store,
    directory: &Path,
    there: VecDeque<u32>,
) -> Result<(), Trouble> {
    for first in there {
        put(store, removals(first))?;
    }
    while store.settle().map_err(|e| e.to_string())? == Settled::More {}
    let took = timed(|| store.checkpoint())?;
    section.aimed(
        "bytes of removed entries left in files of rows and journals, when all were removed",
        left(directory)?.to_string(),
        "0",
    );
    section.row("the last checkpoint of that", time(took));
    for first in (0..ALIVE / 4).step_by(TOGETHER as usize) {
        put(store, changes(first, None))?;
    }
    store.checkpoint().map_err(|e| e.to_string())?;
    let before = blocks(directory)?;
    let took = timed(|| store.expire(Day(today() + 100)))?;
    section.row(
        format!("{} entries run out", ALIVE / 4),
        format!(
            "{}: {} MiB before, {} KiB after",
            time(took),
            before >> 20,
            blocks(directory)? >> 10
        ),
    );
    Ok(())
}

fn open(directory: &Path) -> Result<Store, Trouble> {
    let disk = OsDisk::new(directory).map_err(|e| e.to_string())?;
    let opened = SegmentRows::open(disk, Sizes::default(), OnDamage::Refuse, Day(today()));
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

/// Bytes in the files of rows that are not zero, and all of journals behind their heads.
fn left(directory: &Path) -> Result<usize, Trouble> {
    const JOURNAL_HEAD: usize = 16;
    let mut count = 0;
    for file in fs::read_dir(directory)? {
        let path = file?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        count += match ending {
            Some("data") => fs::read(path)?.iter().filter(|byte| **byte != 0).count(),
            Some("log") => fs::read(path)?.len().saturating_sub(JOURNAL_HEAD),
            _ => 0,
        };
    }
    Ok(count)
}
