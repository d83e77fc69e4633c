//! The TPM's share of a vault's key: how long each operation takes, and what our side of it costs.
//!
//! The TPM is one in software, or the one whose path `EMPTYROOM_TPM` holds: `/dev/tpmrm0` for this machine's own, in
//! which nothing is left, but which is written to some five times in a round.

use emptyroom_load::report::{Section, percentile, share, time};
use emptyroom_load::{Trouble, cpu};
use emptyroom_tpm::swtpm::Swtpm;
use emptyroom_tpm::{Stretched, TRIES, Tpm};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const ROUNDS: u32 = 50;
/// A chip wears.
const ROUNDS_OF_A_CHIP: u32 = 10;
const SEED: [u8; 32] = [7; 32];

/// Wall time of each call, and CPU time of this process in all of them.
#[derive(Default)]
struct Costs {
    wall: Vec<Duration>,
    cpu: Duration,
}

impl Costs {
    fn of<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let (cpu, result) = cpu::of(work);
        self.wall.push(start.elapsed());
        self.cpu += cpu;
        result
    }

    fn shown(&mut self) -> String {
        let count = u32::try_from(self.wall.len()).unwrap_or(u32::MAX);
        let ours = time(share(self.cpu, count));
        let (half, most) = (
            percentile(&mut self.wall, 50),
            percentile(&mut self.wall, 99),
        );
        format!(
            "{} (p99 {}), of which our CPU {ours}",
            time(half),
            time(most)
        )
    }
}

pub(crate) fn measure() -> Result<Section, Trouble> {
    let own = std::env::var_os("EMPTYROOM_TPM").map(PathBuf::from);
    let (rounds, which) = match &own {
        Some(_) => (ROUNDS_OF_A_CHIP, "the TPM of `EMPTYROOM_TPM`"),
        None => (ROUNDS, "swtpm on this machine; a chip takes longer"),
    };
    let mut section = Section::new(
        "TPM",
        format!(
            "{rounds} rounds against {which}: wall time of each operation over a connection of its own, and the CPU time of it that is ours."
        ),
    );
    let software = if own.is_none() { Swtpm::start()? } else { None };
    let Some(path) = own.or(software.as_ref().map(Swtpm::socket)) else {
        section.row("all", "not measured: swtpm is not installed");
        return Ok(section);
    };
    // Nothing that is made here outlives its round, so nothing has to be unknown.
    let rng = Box::new(ChaCha20Rng::from_seed(SEED));
    let mut tpm = Tpm::open(&path, rng)?.ok_or("there is no such TPM")?;
    let s = Stretched::new(&[1; 32]);
    let [mut enrol, mut ask, mut reset, mut tries, mut destroy] =
        [(); 5].map(|()| Costs::default());
    for _ in 0..rounds {
        let place = tpm.free_place()?;
        let (enrolment, secret) = enrol.of(|| tpm.enrol(place))?;
        ask.of(|| tpm.share(&enrolment, &s))?;
        tries.of(|| tpm.tries(&enrolment))?;
        reset.of(|| tpm.reset(&enrolment, &secret))?;
        destroy.of(|| tpm.destroy(place))?;
    }
    let rate = 1.0 / percentile(&mut ask.wall, 50).as_secs_f64();
    section.row("enrol", enrol.shown());
    section.row("share (one try)", ask.shown());
    section.row("reset", reset.shown());
    section.row("tries", tries.shown());
    section.aimed("destroy", destroy.shown(), "under 500 ms with a chip");
    section.row(
        "guesses per second",
        format!("{rate:.0}, for {TRIES} of them; then none"),
    );
    Ok(section)
}
