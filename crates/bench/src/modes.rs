//! What a vault's mode costs when it is opened, and what it leaves to whoever copied the disk.
//!
//! The TPM is the one that `EMPTYROOM_TPM` names, as for the program itself; relays are the real program, on loopback.

use emptyroom_load::program::RelayProgram;
use emptyroom_load::report::{Section, percentile, share, time};
use emptyroom_load::scratch::Scratch;
use emptyroom_load::{Trouble, cpu};
use emptyroom_node::api::{Call, ModeName, SecretText};
use emptyroom_node::shares::{RELAYS_MAX, USES, needed};
use emptyroom_node::{Kdf, Session};
use emptyroom_tpm::TRIES;
use emptyroom_vault::os::OsDirectory;
use emptyroom_vault::{KdfParams, Locked, Passphrase, Vault};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::path::Path;
use std::time::{Duration, Instant};

const OPENINGS: usize = 20;
const STRETCHINGS: u32 = 3;
const PIN: &str = "135790";
/// PINs of six figures.
const PINS: f64 = 1e6;
const DAY_S: f64 = 86_400.0;

pub(crate) fn measure() -> Result<Section, Trouble> {
    let mut section = Section::new(
        "Modes",
        format!(
            "What one guess costs a processor core (Argon2id as `init` takes it), and {OPENINGS} openings in each mode with the least cost instead, so that the \
             mode shows: wall time to the open vault, and until it is closed, which waits for new shares, median. Guesses are those of whoever has a copy of the disk; \
             with a TPM he needs the machine, too."
        ),
    );
    let scratch = Scratch::new("modes")?;
    let guess = stretching(&scratch.path.join("guess"))?;
    section.row("one guess", format!("{} of CPU", time(guess)));
    opened(
        &mut section,
        &scratch.path.join("passphrase"),
        "passphrase",
        None,
    )?;
    let has_tpm = std::env::var_os("EMPTYROOM_TPM").is_some();
    if has_tpm {
        let tpm = Some((ModeName::Tpm, Vec::new()));
        opened(&mut section, &scratch.path.join("tpm"), "tpm", tpm)?;
    } else {
        section.row(
            "tpm: to the open vault",
            "not measured: EMPTYROOM_TPM names none",
        );
    }
    for count in [1, 3, RELAYS_MAX] {
        let relays = (0..count).map(|number| {
            let data = scratch.path.join(format!("relay-{count}-{number}"));
            RelayProgram::start(&data, &[])
        });
        let relays: Vec<RelayProgram> = relays.collect::<Result<_, _>>()?;
        let mode = |mode: ModeName| {
            let addresses = relays.iter().map(|relay| relay.address.clone());
            Some((mode, addresses.map(SecretText::new).collect()))
        };
        let (name, both) = (
            format!("relays, {count}"),
            format!("tpm and relays, {count}"),
        );
        let home = |name: &str| scratch.path.join(name.replace(", ", "-"));
        opened(&mut section, &home(&name), &name, mode(ModeName::Relays))?;
        if has_tpm {
            opened(
                &mut section,
                &home(&both),
                &both,
                mode(ModeName::TpmAndRelays),
            )?;
        }
    }
    let a_day = DAY_S / guess.as_secs_f64();
    section.row(
        "guesses, passphrase",
        format!(
            "{a_day:.0} a day and core; every PIN of six figures in {:.1} days",
            PINS / a_day
        ),
    );
    section.row("guesses, tpm", format!("{TRIES} in all, with the machine"));
    for count in 1..=RELAYS_MAX {
        let all = count * usize::from(USES) / needed(count);
        section.row(format!("guesses, relays, {count}"), format!("{all} in all"));
    }
    Ok(section)
}

/// CPU time of deriving a key from a PIN at the recommended cost.
fn stretching(path: &Path) -> Result<Duration, Trouble> {
    let pin = Passphrase::new(PIN.as_bytes().to_vec());
    let rng = || Box::new(ChaCha20Rng::seed_from_u64(1));
    let place = Box::new(OsDirectory::create(path)?);
    Vault::create(place, &pin, KdfParams::recommended(), rng())?.lock()?;
    let locked = Locked::read(Box::new(OsDirectory::at(path)), rng())?;
    let (cost, outcome) =
        cpu::of(|| (0..STRETCHINGS).try_for_each(|_| locked.stretch(&pin).map(drop)));
    outcome?;
    Ok(share(cost, STRETCHINGS))
}

/// Opens a vault in this mode, again and again.
fn opened(
    section: &mut Section,
    home: &Path,
    name: &str,
    mode: Option<(ModeName, Vec<SecretText>)>,
) -> Result<(), Trouble> {
    let pin = || SecretText::new(PIN.to_owned());
    let session = Session::create(home, &pin(), Kdf::Minimum, None).map_err(said)?;
    if let Some((mode, relays)) = mode {
        let secret = pin();
        let set = session.call(Call::SetMode {
            secret,
            mode,
            relays,
        });
        set.map_err(said)?;
    }
    session.close().map_err(said)?;
    let (mut open, mut closed) = (Vec::new(), Vec::new());
    for _ in 0..OPENINGS {
        let since = Instant::now();
        let session = Session::open(home, &pin()).map_err(said)?;
        open.push(since.elapsed());
        session.close().map_err(said)?;
        closed.push(since.elapsed());
    }
    let (open, closed) = (percentile(&mut open, 50), percentile(&mut closed, 50));
    section.row(format!("{name}: to the open vault"), time(open));
    section.row(format!("{name}: until it is closed"), time(closed));
    Ok(())
}

fn said(failure: emptyroom_node::api::Failure) -> Trouble {
    failure.text.into()
}
