//! One run: people meet, talk and have trouble, all chosen by one seed, and in the end everything must be well.

use emptyroom_core::api::{Burn, Command, RelayLife};

use crate::dice::Dice;
use crate::scene::{SIDES, Scene};
use crate::trouble::{GRAVE, LEFT_OUT, MILD, Trouble};
use crate::world::{DAY, HOUR, MINUTE};

/// What became of a run.
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// What went wrong.
    pub faults: Vec<String>,
    /// Equal for equal runs.
    pub trace_hash: u64,
    /// Lines of the trace.
    pub trace_lines: u64,
    /// The last of them.
    pub recent: Vec<String>,
    /// Messages written.
    pub messages: usize,
    /// Restarts shown.
    pub restarts: u64,
    /// Virtual time.
    pub days: u64,
    /// The most steps of anybody in one virtual hour.
    pub most_steps: u64,
}

/// Runs one seed with the usual mix of trouble.
#[must_use]
pub fn run(seed: u64, print: bool) -> Outcome {
    run_with(seed, print, Grave::Usual)
}

/// Which grave trouble there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grave {
    /// In some runs one or two kinds, in the others none.
    Usual,
    /// In each run this kind.
    Only(Trouble),
    /// In each run every kind.
    All,
}

/// Runs one seed with this choice of grave trouble.
#[must_use]
pub fn run_with(seed: u64, print: bool, grave: Grave) -> Outcome {
    let mut dice = Dice::new(seed, 2);
    let mut scene = Scene::new(seed, print);
    let mix = mix(&mut dice, grave);
    scene.world.note(format_args!("seed {seed}: {mix:?}"));
    people(&mut scene, &mut dice, &mix);
    if scene.world.faults.is_empty() {
        let days = dice.percent(30);
        for _ in 0..dice.between(8, 25) {
            if dice.percent(25) {
                scene.copy_everything();
            }
            act(&mut scene, &mut dice, &mix);
            let pause = match dice.below(10) {
                0..=4 => dice.time_ms(2 * MINUTE),
                5..=7 => dice.time_ms(HOUR),
                8 => dice.time_ms(12 * HOUR),
                _ if days => dice.time_ms(6 * DAY),
                _ => dice.time_ms(DAY),
            };
            scene.pass(pause);
        }
        scene.conclude();
    }
    outcome(&scene, seed)
}

/// The kinds of trouble of a run, each as often as it is likely.
fn mix(dice: &mut Dice, grave: Grave) -> Vec<Trouble> {
    let known = GRAVE
        .iter()
        .copied()
        .filter(|kind| !LEFT_OUT.contains(kind));
    let known: Vec<Trouble> = known.collect();
    let kinds = match grave {
        Grave::Only(kind) => vec![kind; 2],
        Grave::All => known,
        Grave::Usual if dice.percent(60) => {
            (0..dice.between(1, 2)).map(|_| dice.pick(&known)).collect()
        }
        Grave::Usual => Vec::new(),
    };
    let mut mix = MILD.to_vec();
    for kind in kinds {
        // Years cost a second each.
        let often = match (grave, kind) {
            (Grave::All, _) | (_, Trouble::AwayYear) => 1,
            _ => 4,
        };
        mix.extend(vec![kind; often]);
    }
    mix
}

/// Two or three people and one or two relays; they meet, sometimes with trouble, and sometimes with all kinds of it.
fn people(scene: &mut Scene, dice: &mut Dice, mix: &[Trouble]) {
    for number in 0..dice.between(1, 2) {
        let code = dice.percent(30).then_some("letmein");
        scene.world.add_host(&format!("relay{number}"), code);
    }
    let people = if dice.percent(25) { 3 } else { 2 };
    for _ in 0..people {
        scene.world.add_party();
    }
    let early = dice.percent(30);
    let all_along = dice.percent(25);
    let hosts = scene.world.hosts.len();
    for taker in 1..people {
        if early {
            let kind = dice.pick(MILD);
            scene.make_trouble(kind, dice);
        }
        let host = dice.index(hosts);
        let met = all_along && scene.meet_in_trouble([taker - 1, taker], host, dice, mix);
        // No vault goes back to before its owner knew whom he talks to.
        scene.copies = None;
        if !met {
            scene.meet(taker - 1, taker, host);
        }
    }
}

fn act(scene: &mut Scene, dice: &mut Dice, mix: &[Trouble]) {
    let alive = scene.alive();
    if alive.is_empty() {
        return;
    }
    let (talk, side) = (dice.pick(&alive), dice.pick(&SIDES));
    match dice.below(10) {
        0..=4 => {
            for _ in 0..dice.between(1, 4) {
                let burn = match dice.below(10) {
                    0 => Burn::after_ms(dice.between(5_000, 2 * HOUR)).ok(),
                    1 => Some(Burn::OnRead),
                    _ => Some(Burn::Never),
                };
                let life = match dice.below(20) {
                    0 => RelayLife::Day1,
                    1 => RelayLife::Day7,
                    _ => RelayLife::Day30,
                };
                let side = if dice.percent(30) {
                    dice.pick(&SIDES)
                } else {
                    side
                };
                scene.send_with(talk, side, burn, life);
                if dice.percent(50) {
                    scene.pass(dice.time_ms(3_000));
                }
            }
        }
        5 if dice.percent(15) => scene.delete(talk, side, |lines| dice.index(lines)),
        5 => scene.read_all(talk, side),
        6 if dice.percent(50) => {
            let burn = Burn::after_ms(dice.between(5_000, DAY)).unwrap_or(Burn::Never);
            scene.tell(talk, side, |name| Command::SetTimer { name, burn });
        }
        6 => {
            let (delivered, read) = (dice.percent(50), dice.percent(50));
            scene.talks[talk].receipts_off[side] |= !delivered;
            scene.tell(talk, side, |name| Command::SetReceipts {
                name,
                delivered,
                read,
            });
        }
        _ => {
            let kind = dice.pick(mix);
            scene.make_trouble(kind, dice);
        }
    }
}

fn outcome(scene: &Scene, seed: u64) -> Outcome {
    let parties = scene.world.parties.iter().map(|party| party.most_steps());
    let hosts = scene.world.hosts.iter().map(|host| host.most_steps());
    Outcome {
        seed,
        faults: scene.world.faults.clone(),
        trace_hash: scene.world.trace.hash(),
        trace_lines: scene.world.trace.lines(),
        recent: scene.world.trace.recent().map(str::to_owned).collect(),
        messages: scene.messages.len(),
        restarts: scene.talks.iter().map(|talk| talk.restarts[0]).sum(),
        days: scene.world.now_ms() / DAY,
        most_steps: parties.chain(hosts).max().unwrap_or(0),
    }
}
