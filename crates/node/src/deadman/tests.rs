//! Histories of clocks: what the wall says, how long the machine runs, when it starts anew, which machine it is.

use emptyroom_wire::time::{HOUR_MS, Mono, Now, Wall};

use super::*;
use crate::clock;

const DAYS: u32 = 14;

/// What the vault of these tests marks its deadlines with.
pub(crate) const KEY: [u8; 32] = [7; 32];

/// When the machine of these tests was new, in days since 1970.
const FIRST_DAY: u64 = 30_000;

/// The clocks of a machine that keeps time, on a day of these tests.
pub(crate) fn here(day: u64, up_ms: u64) -> Here {
    Here {
        now: Now {
            wall: Wall((FIRST_DAY + day) * DAY_MS),
            mono: Mono(up_ms),
        },
        machine: Some([1; 16]),
        boot: Some([1; 16]),
        keeps_time: true,
    }
}

/// A machine whose clocks the test turns, and a vault on its disk.
struct Machine {
    here: Here,
    deadline: Deadline,
}

impl Machine {
    /// The vault was opened when the machine had been running for an hour.
    fn opened() -> Self {
        Self::opened_on(here(0, HOUR_MS))
    }

    fn opened_on(here: Here) -> Self {
        let deadline = Deadline::new(DAYS, 1, &here, &KEY.into()).unwrap();
        Self { here, deadline }
    }

    /// As it is stored and read again.
    fn look(&mut self) -> Look {
        self.deadline = Deadline::decode(&self.deadline.encode()).unwrap();
        self.deadline.look(&self.here)
    }

    fn opens(&mut self) -> &mut Self {
        self.look();
        self.deadline = self.deadline.again(&self.here, &KEY.into());
        self
    }

    fn runs(&mut self, ms: u64) -> &mut Self {
        self.here.now.wall.0 += ms;
        self.here.now.mono.0 += ms;
        self
    }

    /// Is off for so long, and has just been started.
    fn is_off(&mut self, ms: u64) -> &mut Self {
        self.here.now.wall.0 += ms + 1;
        self.here.now.mono.0 = 1;
        self.here.boot = self.here.boot.map(|boot| boot.map(|byte| byte + 1));
        self
    }

    /// The disk is in another machine now, which has been up for so long.
    fn moves(&mut self, up_ms: u64) -> &mut Self {
        self.is_off(0);
        self.here.machine = self.here.machine.map(|id| id.map(|byte| byte + 1));
        self.here.now.mono.0 = up_ms;
        self
    }

    fn sets_clock(&mut self, days: i64) -> &mut Self {
        let ms = days * i64::try_from(DAY_MS).unwrap();
        self.here.now.wall.0 = self.here.now.wall.0.checked_add_signed(ms).unwrap();
        self
    }

    /// The wall clock shows so many milliseconds since 1970.
    fn shows(&mut self, wall_ms: u64) -> &mut Self {
        self.here.now.wall.0 = wall_ms;
        self
    }

    fn left_days(&mut self) -> u64 {
        match self.look() {
            Look::Left(ms) => ms.div_ceil(DAY_MS),
            other => panic!("{other:?}"),
        }
    }
}

// [SPEC 11.80]
#[test]
fn the_time_ends_when_it_has_passed_and_not_before() {
    let mut machine = Machine::opened();
    assert_eq!(machine.look(), Look::Left(14 * DAY_MS));
    assert_eq!(machine.runs(14 * DAY_MS - 1).look(), Look::Left(1));
    assert_eq!(machine.runs(1).look(), Look::Over);
}

// [SPEC 11.81]
#[test]
fn a_clock_that_is_set_back_gives_no_time() {
    // Running, in one piece or in many, by any number of days.
    for back in [1, 10, 900] {
        let mut machine = Machine::opened();
        machine.runs(10 * DAY_MS).look();
        assert_eq!(machine.sets_clock(-back).left_days(), 4);
        assert_eq!(machine.runs(4 * DAY_MS).look(), Look::Over);

        let mut machine = Machine::opened();
        for _ in 0..14 {
            machine.sets_clock(-back.min(60)).runs(DAY_MS);
        }
        assert_eq!(machine.look(), Look::Over);
    }
    // After a start of the machine.
    let mut machine = Machine::opened();
    machine.runs(10 * DAY_MS).look();
    machine.is_off(HOUR_MS).sets_clock(-10);
    assert_eq!(machine.left_days(), 4);
    assert_eq!(machine.runs(4 * DAY_MS).look(), Look::Over);
}

/// While the machine that it was opened on runs, the running clock knows all.
// [SPEC 11.81]
#[test]
fn a_clock_that_jumps_while_the_machine_runs_destroys_nothing() {
    for days in [400, 40, -400] {
        let mut machine = Machine::opened();
        machine.runs(HOUR_MS).look();
        assert_eq!(machine.sets_clock(days).left_days(), 14);
        assert_eq!(machine.runs(2 * DAY_MS).left_days(), 12);
        // Nor afterwards, whether it was set right or wrong.
        machine.is_off(HOUR_MS);
        assert_eq!(machine.left_days(), 12);
        assert_eq!(machine.runs(2 * DAY_MS).left_days(), 10);
        assert_eq!(machine.runs(10 * DAY_MS).look(), Look::Over);
    }
}

/// A battery is dead: the clock begins in 1970 with every start, and is set right somewhat later, or never.
// [SPEC 11.80, 11.81]
#[test]
fn who_opens_before_the_clock_was_set_right_has_opened() {
    let right = |machine: &mut Machine, days: u64| {
        machine.shows((FIRST_DAY + days) * DAY_MS);
    };
    let mut machine = Machine::opened();
    machine.runs(DAY_MS).look();
    // Away for 12 days, opened at once.
    machine.is_off(0).shows(5_000).opens();
    assert_eq!(machine.left_days(), 14);
    right(machine.runs(HOUR_MS), 13);
    assert_eq!(machine.left_days(), 14);
    // The same, and set right only after another start.
    machine.is_off(0).shows(5_000).opens();
    machine.runs(HOUR_MS).look();
    right(machine.is_off(0), 25);
    assert_eq!(machine.left_days(), 14);
    assert_eq!(machine.runs(DAY_MS).left_days(), 13);
    // Running counts, whatever the wall says.
    assert_eq!(machine.runs(13 * DAY_MS).look(), Look::Over);
}

/// A machine without a clock of its own begins where it ended.
// [SPEC 11.80]
#[test]
fn on_a_machine_that_keeps_no_time_only_running_counts() {
    let mut machine = Machine::opened_on(Here {
        keeps_time: false,
        ..here(0, HOUR_MS)
    });
    machine.runs(DAY_MS).look();
    machine.is_off(0).opens();
    // The network tells it that 40 days have passed.
    assert_eq!(machine.sets_clock(40).left_days(), 14);
    machine.is_off(HOUR_MS).runs(DAY_MS);
    assert_eq!(machine.left_days(), 13);
    assert_eq!(machine.runs(13 * DAY_MS).look(), Look::Over);
}

/// Nor is a clock from the future remembered for ever.
// [SPEC 11.80, 11.81]
#[test]
fn who_opened_in_2099_has_his_time_when_the_clock_is_right() {
    let mut machine = Machine::opened();
    machine.is_off(HOUR_MS).sets_clock(26_000);
    // By that clock the time is over: the vault is not opened.
    assert_eq!(machine.look(), Look::Doubt(DAY_MS));
    machine.sets_clock(-26_000);
    assert_eq!(machine.left_days(), 14);

    machine.sets_clock(26_000);
    machine.deadline = Machine::opened_on(machine.here).deadline;
    machine.sets_clock(-26_000).runs(DAY_MS).look();
    machine.is_off(HOUR_MS);
    assert_eq!(machine.left_days(), 13);
    // Two openings later all is as it should be: time off counts.
    machine.opens().runs(HOUR_MS).look();
    machine.is_off(HOUR_MS).opens().is_off(20 * HOUR_MS);
    assert_eq!(machine.look(), Look::Left(14 * DAY_MS - 20 * HOUR_MS - 1));
}

// [SPEC 11.81]
#[test]
fn after_a_start_a_clock_that_jumped_ahead_destroys_nothing_for_a_day() {
    let mut machine = Machine::opened();
    machine.runs(HOUR_MS).look();
    machine.is_off(HOUR_MS).look();
    assert_eq!(machine.sets_clock(400).look(), Look::Doubt(DAY_MS));
    assert_eq!(machine.runs(DAY_MS - 1).look(), Look::Doubt(1));
    // Set right in time, nothing has happened.
    let mut right = Machine {
        deadline: machine.deadline,
        ..machine
    };
    assert_eq!(right.sets_clock(-400).left_days(), 13);
    let anew = right.sets_clock(400).look();
    assert_eq!(anew, Look::Doubt(DAY_MS), "begins anew");
    // Nor is one believed that jumps once more.
    let mut further = Machine {
        deadline: machine.deadline,
        ..machine
    };
    assert_eq!(
        further.sets_clock(26_000).runs(1).look(),
        Look::Doubt(DAY_MS)
    );
    // Not set right, it is believed.
    assert_eq!(machine.runs(1).look(), Look::Over);
}

/// Off for less than a day at a time, as machines are by night.
// [SPEC 11.81]
#[test]
fn time_that_a_machine_was_off_counts() {
    let mut machine = Machine::opened();
    for day in 1..14 {
        machine.is_off(16 * HOUR_MS).look();
        assert_eq!(machine.runs(8 * HOUR_MS - 1).left_days(), 14 - day);
    }
    machine.is_off(16 * HOUR_MS).runs(8 * HOUR_MS - 2);
    assert!(matches!(machine.look(), Look::Left(_)));
    assert_eq!(machine.runs(1).look(), Look::Over);
}

/// Started again and again, the machine has run for the sum of it.
// [SPEC 11.81]
#[test]
fn doubt_lasts_over_restarts() {
    let mut machine = Machine::opened();
    assert_eq!(machine.is_off(20 * DAY_MS).look(), Look::Doubt(DAY_MS));
    for _ in 0..3 {
        for look in [
            machine.runs(7 * HOUR_MS).look(),
            machine.is_off(HOUR_MS).look(),
        ] {
            assert!(matches!(look, Look::Doubt(_)), "{look:?}");
        }
    }
    assert_eq!(machine.runs(3 * HOUR_MS).look(), Look::Over);
}

/// However short a jump is, what ends the time has to last for a day.
// [SPEC 11.81]
#[test]
fn a_jump_of_hours_does_not_end_the_time_at_once() {
    let mut machine = Machine::opened();
    machine.runs(13 * DAY_MS).look();
    machine.is_off(13 * HOUR_MS).look();
    machine.here.now.wall.0 += 12 * HOUR_MS;
    assert_eq!(machine.look(), Look::Doubt(DAY_MS));
    machine.here.now.wall.0 -= 12 * HOUR_MS;
    assert_eq!(machine.left_days(), 1);
}

/// Time in suspend is running time: the clock counts it.
// [SPEC 11.81]
#[test]
fn a_machine_that_was_suspended_has_run() {
    let mut machine = Machine::opened();
    assert_eq!(machine.runs(9 * DAY_MS).left_days(), 5);
    assert_eq!(machine.runs(5 * DAY_MS).look(), Look::Over);
}

/// A disk that is put into another machine.
// [SPEC 11.81]
#[test]
fn what_another_machine_has_run_does_not_count() {
    // Also where both have the same name, as copies of one installation do.
    for is_copy in [false, true] {
        let mut machine = Machine::opened();
        let own = machine.here.machine;
        machine.runs(DAY_MS).look();
        machine.moves(300 * DAY_MS);
        if is_copy {
            machine.here.machine = own;
        }
        assert_eq!(machine.left_days(), 13);
        assert_eq!(machine.runs(DAY_MS).left_days(), 12);
        // Back again.
        machine.moves(400 * DAY_MS);
        assert_eq!(machine.left_days(), 12);
    }
    // Its clock alone destroys nothing, whatever it shows.
    for ahead in [14, 40, 26_000] {
        let mut machine = Machine::opened();
        machine.runs(DAY_MS).look();
        machine.moves(300 * DAY_MS).sets_clock(ahead);
        assert_eq!(machine.look(), Look::Doubt(DAY_MS));
        assert_eq!(machine.runs(HOUR_MS).look(), Look::Doubt(23 * HOUR_MS));
        machine.sets_clock(-ahead);
        assert_eq!(machine.left_days(), 13);
    }
    // One that has less than a day to go.
    let mut machine = Machine::opened();
    machine.runs(14 * DAY_MS - HOUR_MS).look();
    machine.moves(300 * DAY_MS);
    machine.here.now.wall.0 += 2 * HOUR_MS;
    assert_eq!(machine.look(), Look::Doubt(DAY_MS));
    // There, too, the time ends.
    assert_eq!(machine.runs(HOUR_MS).look(), Look::Over);
}

/// A system that tells nothing of itself.
// [SPEC 11.80, 11.81]
#[test]
fn a_machine_without_a_name_counts_nothing_and_sets_nothing() {
    let mut machine = Machine::opened();
    machine.runs(DAY_MS).look();
    machine.here.machine = None;
    machine.here.boot = None;
    assert_eq!(machine.runs(30 * DAY_MS).look(), Look::Doubt(DAY_MS));
    assert_eq!(machine.runs(30 * DAY_MS).look(), Look::Doubt(DAY_MS));
    assert!(Deadline::new(DAYS, 1, &machine.here, &KEY.into()).is_none());
}

// [SPEC 11.80]
#[test]
fn nothing_is_set_by_a_clock_that_is_older_than_the_program() {
    let mut machine = Machine::opened();
    for wall_ms in [0, WALL_MS_MIN - 1] {
        machine.shows(wall_ms);
        assert!(Deadline::new(DAYS, 1, &machine.here, &KEY.into()).is_none());
    }
    machine.shows(WALL_MS_MIN);
    assert!(Deadline::new(DAYS, 1, &machine.here, &KEY.into()).is_some());
}

// [SPEC 11.82]
#[test]
fn a_journey_makes_it_longer_and_never_shorter() {
    let mut machine = Machine::opened();
    machine.runs(4 * DAY_MS);
    machine.deadline.suspend(3, &machine.here, &KEY.into());
    assert!(!machine.deadline.is_suspended());
    assert_eq!(machine.left_days(), 10);
    machine.deadline.suspend(30, &machine.here, &KEY.into());
    assert!(machine.deadline.is_suspended());
    assert_eq!(machine.left_days(), 30);
    assert_eq!(machine.runs(30 * DAY_MS - 1).look(), Look::Left(1));
    assert_eq!(machine.runs(1).look(), Look::Over);
}

// [SPEC 11.83]
#[test]
fn warnings_are_due_at_half_at_four_fifths_and_near_the_end() {
    let mut machine = Machine::opened();
    machine.deadline = Deadline::new(100, 1, &machine.here, &KEY.into()).unwrap();
    let mut due = Vec::new();
    for _ in 0..100 {
        let look = machine.look();
        due.push(machine.deadline.warnings(look));
        machine.runs(DAY_MS);
    }
    let first = |count| due.iter().position(|due| *due == count);
    assert_eq!(
        (first(1), first(2), first(3)),
        (Some(50), Some(80), Some(95))
    );
    assert!(due.is_sorted());
}

// [SPEC 11.61]
#[test]
fn only_what_the_vault_made_is_its_own() {
    let machine = Machine::opened();
    let known = machine.deadline;
    let key = KEY.into();
    assert!(known.is_own(&known, &key));
    let later = known.again(&machine.here, &key);
    assert!(later.is_own(&known, &key));
    assert!(!known.is_own(&later, &key), "an older one is put back");
    assert!(!later.is_own(&known, &[8; 32].into()));
    for at in 0..Fixed::LEN + 32 {
        let mut bytes = later.encode();
        bytes[at] ^= 1;
        let own = Deadline::decode(&bytes).is_some_and(|other| other.is_own(&known, &key));
        assert!(!own, "{at}");
    }
}

// [SPEC 11.60, 11.61]
#[test]
fn a_deadline_lies_as_the_vectors_say() {
    let vectors = include_str!("../../../../spec/vectors/outside.json");
    let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let text = vectors["machine"]["name"].as_str().unwrap();
    let id = clock::id(&format!("{text}\n")).unwrap();
    assert_eq!(hex(&id), vectors["machine"]["id"].as_str().unwrap());
    for none in ["", "\n", "uninitialized\n"] {
        assert_eq!(clock::id(none), None);
    }
    let fixed = Fixed {
        days: 1,
        count: 2,
        opened_ms: 3,
        limit_ms: 4,
    };
    let deadline = Deadline {
        fixed,
        tag: fixed.tag(&KEY.into()),
        seen_ms: 5,
        run_ms: 6,
        ahead_ms: 7,
        doubt_ms: 8,
        next_ms: 9,
        mono_ms: 10,
        whole: true,
        machine: Some(id),
        boot: None,
    };
    let bytes = deadline.encode();
    assert_eq!(hex(&bytes), vectors["deadline"]["bytes"].as_str().unwrap());
    assert_eq!(bytes.len(), LEN);
    assert_eq!(Deadline::decode(&bytes), Some(deadline));
    assert_eq!(Deadline::decode(&bytes[..LEN - 1]), None);
    assert_eq!(Deadline::decode(&[&*bytes, &[0]].concat()), None);
    for (at, byte) in [(3, 0), (0, 1), (108, 2)] {
        let mut wrong = bytes.clone();
        wrong[at] = byte;
        assert_eq!(Deadline::decode(&wrong), None, "{at}");
    }
}
