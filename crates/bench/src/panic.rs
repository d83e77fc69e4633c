//! The panic PIN: how soon the vault is destroyed, and whether the slots take longer for one PIN than for another.

use emptyroom_load::Trouble;
use emptyroom_load::report::{Section, time};
use emptyroom_load::scratch::Scratch;
use emptyroom_vault::os::OsDirectory;
use emptyroom_vault::{
    Answers, Besides, Change, Directory, Drill, Factors, File, Found, Ground, KdfParams, Locked,
    Passphrase, Vault, Way,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Vaults that are destroyed, and the messages in each.
const VAULTS: u32 = 15;
const MESSAGES: u32 = 20_000;
/// Trials of the slots with each PIN.
const TRIALS: usize = 100_000;
/// Of a thousand trials, so many of the slowest are left out: something else ran in between.
const LEFT_OUT: usize = 50;
const PIN: &[u8] = b"the pin of the bench";
const PANIC: &[u8] = b"its panic pin";
const WRONG: &[u8] = b"neither of both";

pub(crate) fn measure() -> Result<Section, Trouble> {
    let mut section = Section::new(
        "Panic PIN",
        format!(
            "{VAULTS} vaults of {MESSAGES} records on a real disk, each destroyed by its panic PIN; wall time from the end of the key derivation on, \
             median. Then {TRIALS} trials of the four slots with each of three PINs in random order, without the slowest {} %.",
            LEFT_OUT / 10
        ),
    );
    let mut times: [Vec<Duration>; 3] = Default::default();
    for number in 0..VAULTS {
        let directory = Scratch::new("panic")?;
        make(&directory.path, MESSAGES, u64::from(number))?;
        // The first opening is for the caches, and is what the second step is compared with.
        let (opened, _) = opening(&directory.path, PIN, u64::from(number) + 1_000)?;
        let (whole, headers) = opening(&directory.path, PANIC, u64::from(number) + 2_000)?;
        let durable = headers
            .get(1)
            .copied()
            .ok_or("the header was not written")?;
        for (times, time) in times.iter_mut().zip([durable, whole, opened]) {
            times.push(time);
        }
    }
    let [durable, whole, opened] = times.map(median);
    section.aimed(
        "PIN to both copies of the header synced",
        time(durable),
        "under 150 ms",
    );
    section.aimed(
        "PIN to all overwritten and the empty vault open",
        time(whole),
        "under 2 s",
    );
    section.row("for comparison: PIN to the vault open", time(opened));
    slots(&mut section)?;
    section.aimed(
        "left of two vaults after drills, of 400 messages",
        drills()?,
        "0",
    );
    Ok(section)
}

/// What the drill finds after each way of destroying.
fn drills() -> Result<String, Trouble> {
    let mut all = Found::default();
    for (seed, way) in [(7, Way::PanicPin), (8, Way::WithoutSecret)] {
        let directory = Scratch::new("drill")?;
        let seeds = std::cell::RefCell::new(rng(seed));
        let ground = Ground {
            directory: &|| Box::new(OsDirectory::at(&directory.path)),
            random: &|| rng(seeds.borrow_mut().next_u64()),
        };
        let kdf = KdfParams::minimum();
        let mut drill = Drill::prepare(&ground, kdf, way).map_err(|e| e.to_string())?;
        drill.destroy().map_err(|e| e.to_string())?;
        let found = drill.look().map_err(|e| e.to_string())?;
        all.headers += found.headers;
        all.keys += found.keys;
        all.values += found.values;
        all.texts += found.texts;
    }
    let Found {
        texts,
        headers,
        keys,
        values,
    } = all;
    Ok(format!(
        "{headers} headers, {keys} keys, {values} messages, {texts} in clear"
    ))
}

/// A vault with a panic PIN.
fn make(path: &Path, messages: u32, seed: u64) -> Result<(), Trouble> {
    let secret = Passphrase::new(PIN.to_vec());
    let place = Box::new(OsDirectory::create(path)?);
    let mut vault = Vault::create(place, &secret, KdfParams::minimum(), rng(seed))?;
    let change = vault.with_panic(&secret, &Passphrase::new(PANIC.to_vec()))?;
    vault.rewrap(change, &Factors::default())?;
    let records = (0..messages).map(|number| Change {
        key: [b"m/".as_slice(), &number.to_be_bytes()].concat(),
        value: Some(vec![7; 180]),
    });
    vault.apply(records.collect())?;
    Ok(vault.lock()?)
}

/// From the derived PIN to the open vault, and to each sync of the header on the way.
fn opening(path: &Path, pin: &[u8], seed: u64) -> Result<(Duration, Vec<Duration>), Trouble> {
    let syncs = Syncs::default();
    let place = Box::new(Watched(OsDirectory::at(path), syncs.clone()));
    let locked = Locked::read(place, rng(seed))?;
    let stretched = locked.stretch(&Passphrase::new(pin.to_vec()))?;
    syncs.take();
    let since = Instant::now();
    let tried = locked.try_all(&stretched, &Answers::default());
    let besides = Besides {
        errands: &mut |_| Vec::new(),
        destroy: &mut || {},
    };
    let vault = locked.proceed(stretched, tried, besides)?;
    let whole = since.elapsed();
    vault.lock()?;
    let after = |at: Instant| at.saturating_duration_since(since);
    Ok((whole, syncs.take().into_iter().map(after).collect()))
}

/// Whether the time of the slots tells the PINs apart.
fn slots(section: &mut Section) -> Result<(), Trouble> {
    let directory = Scratch::new("slots")?;
    make(&directory.path, 1, 1)?;
    let locked = Locked::read(Box::new(OsDirectory::at(&directory.path)), rng(2))?;
    let pins = [PIN, PANIC, WRONG].map(|pin| locked.stretch(&Passphrase::new(pin.to_vec())));
    let [pin, panic, wrong] = pins;
    let pins = [pin?, panic?, wrong?];
    let mut random = ChaCha20Rng::seed_from_u64(3);
    let mut times: [Vec<f64>; 3] = Default::default();
    let answers = Answers::default();
    while times.iter().any(|times| times.len() < TRIALS) {
        let chosen = usize::try_from(random.next_u32() % 3)?;
        let (Some(pin), Some(times)) = (pins.get(chosen), times.get_mut(chosen)) else {
            continue;
        };
        let since = Instant::now();
        let tried = locked.try_all(pin, &answers);
        let took = since.elapsed();
        drop(tried);
        times.push(took.as_secs_f64() * 1e9);
    }
    let [pin, panic, wrong] = times.map(Sample::of);
    section.row(
        "the slots, with the PIN",
        format!("{:.1} µs", pin.mean / 1e3),
    );
    for (what, other, aim) in [
        ("panic PIN against PIN", &panic, "under 1 µs, t below 4.5"),
        ("wrong PIN against PIN", &wrong, ""),
    ] {
        let value = format!("{:+.0} ns, t = {:.1}", other.mean - pin.mean, other.t(&pin));
        section.aimed(what, value, aim);
    }
    Ok(())
}

/// What is known of some times, in nanoseconds.
struct Sample {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Sample {
    fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        times.truncate(times.len() / 1_000 * (1_000 - LEFT_OUT));
        let count = times.len() as f64;
        let mean = times.iter().sum::<f64>() / count;
        let squares: f64 = times.iter().map(|time| (time - mean).powi(2)).sum();
        Sample {
            count,
            mean,
            variance: squares / (count - 1.0),
        }
    }

    /// Welch's t.
    fn t(&self, other: &Sample) -> f64 {
        let error = self.variance / self.count + other.variance / other.count;
        (self.mean - other.mean) / error.sqrt()
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn rng(seed: u64) -> Box<ChaCha20Rng> {
    Box::new(ChaCha20Rng::seed_from_u64(seed))
}

/// When the header was synced.
#[derive(Clone, Default)]
struct Syncs(Arc<Mutex<Vec<Instant>>>);

impl Syncs {
    fn take(&self) -> Vec<Instant> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Instant::now());
    }
}

/// The real directory, of whose header every sync is noted.
struct Watched(OsDirectory, Syncs);

impl Directory for Watched {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.0.lock()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.0.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let file = self.0.open(name)?;
        Ok(if name == "header" {
            Box::new(WatchedFile(file, self.1.clone()))
        } else {
            file
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
}

struct WatchedFile(Box<dyn File>, Syncs);

impl File for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        self.0.reserve(len)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()?;
        self.1.note();
        Ok(())
    }
}
