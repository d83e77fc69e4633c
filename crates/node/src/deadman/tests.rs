//! Histories of clocks: what the wall says and whether it is kept right, how long the machine runs, sleeps and is off.

mod stored;

use emptyroom_wire::time::{Mono, Now};

use super::*;

const DAYS: u32 = 14;

/// What the vault of these tests marks its deadlines with.
pub(crate) const KEY: [u8; 32] = [7; 32];

/// A machine whose clocks the test turns.
#[derive(Clone)]
pub(crate) struct Machine {
    wall_ms: u64,
    running_ms: u64,
    boot: u8,
    is_synchronised: bool,
}

impl Machine {
    /// It has been up for an hour, and its clock is kept right.
    pub(crate) fn new() -> Self {
        Self {
            wall_ms: 30_000 * DAY_MS,
            running_ms: HOUR_MS,
            boot: 1,
            is_synchronised: true,
        }
    }

    pub(crate) fn here(&self) -> Here {
        let wall = Wall(self.wall_ms);
        Here {
            now: Now {
                wall,
                mono: Mono(self.running_ms),
            },
            running_ms: self.running_ms,
            boot: (self.boot > 0).then_some([self.boot; 16]),
            synchronised: self.is_synchronised.then_some(wall),
        }
    }

    pub(crate) fn runs(&mut self, ms: u64) -> &mut Self {
        self.wall_ms += ms;
        self.running_ms += ms;
        self
    }

    fn sleeps(&mut self, ms: u64) -> &mut Self {
        self.wall_ms += ms;
        self
    }

    /// Is off for so long, and has just been started.
    pub(crate) fn is_off(&mut self, ms: u64) -> &mut Self {
        self.wall_ms += ms;
        self.running_ms = 1;
        self.boot += 1;
        self
    }

    /// The wall clock shows so many milliseconds since 1970, and nothing keeps it right.
    fn is_lost_at(&mut self, wall_ms: u64) -> &mut Self {
        (self.wall_ms, self.is_synchronised) = (wall_ms, false);
        self
    }

    /// From now on something keeps it right, as that has it.
    pub(crate) fn is_set(&mut self, wall_ms: u64) -> &mut Self {
        (self.wall_ms, self.is_synchronised) = (wall_ms, true);
        self
    }
}

/// A dead-man time that begins now.
pub(crate) fn begun(days: u32, machine: &Machine) -> Deadline {
    Deadline::begun(Fixed::new(days, 0, None), &machine.here(), &KEY.into())
}

/// A machine and a vault on its disk.
struct Story {
    machine: Machine,
    deadline: Deadline,
}

impl Story {
    /// The vault was opened, and is locked again.
    fn opened() -> Self {
        let machine = Machine::new();
        let deadline = begun(DAYS, &machine);
        Self { machine, deadline }
    }

    /// As it is stored and read again.
    fn look(&mut self) -> Look {
        self.deadline = Deadline::decode(&self.deadline.encode()).unwrap();
        self.deadline.look(&self.machine.here())
    }

    fn opens(&mut self) {
        self.look();
        let fixed = self.deadline.fixed().opened();
        self.deadline = Deadline::begun(fixed, &self.machine.here(), &KEY.into());
    }

    /// The program is there for so long.
    fn watches(&mut self, ms: u64) -> Look {
        let mut look = self.look();
        for _ in 0..ms / HOUR_MS {
            assert_ne!(look, Look::Over);
            self.machine.runs(HOUR_MS);
            look = self.look();
        }
        look
    }

    fn counted_days(&mut self) -> u64 {
        self.look();
        self.deadline.counted_ms / DAY_MS
    }

    /// It is due and destroyed after a day of running, not before; the PIN sets it back at any time of that day.
    #[track_caller]
    fn is_due_and_no_more(&mut self) {
        assert_eq!(self.look(), Look::Due(DAY_MS));
        assert_eq!(self.watches(23 * HOUR_MS), Look::Due(HOUR_MS));
        let mut opened = Story {
            machine: self.machine.clone(),
            deadline: self.deadline,
        };
        opened.opens();
        assert_eq!(opened.look(), Look::Left(14 * DAY_MS));
        assert_eq!(self.watches(HOUR_MS), Look::Over);
    }
}

/// The locked vault is watched, be it by a daemon or by starts.
// [SPEC 11.80]
#[test]
fn what_was_seen_unopened_for_the_whole_time_is_destroyed() {
    let mut story = Story::opened();
    for hours in 0..14 * 24 {
        assert_eq!(story.look(), Look::Left(14 * DAY_MS - hours * HOUR_MS));
        story.machine.runs(HOUR_MS);
    }
    assert_eq!(story.look(), Look::Over);
    // Opened in time, it is not.
    let mut story = Story::opened();
    for _ in 0..10 {
        story.watches(13 * DAY_MS);
        story.opens();
        assert_eq!(story.look(), Look::Left(14 * DAY_MS));
    }
}

/// Running for which the program was not there counts, and destroys nothing.
// [SPEC 11.80, 11.81]
#[test]
fn what_was_not_seen_makes_it_due_only() {
    for pause in [2 * HOUR_MS + 1, DAY_MS, 14 * DAY_MS, 900 * DAY_MS] {
        let mut story = Story::opened();
        while !matches!(story.look(), Look::Due(_)) {
            story.machine.runs(pause);
        }
        assert_eq!(story.deadline.watched_ms, 0);
        story.is_due_and_no_more();
    }
    // Two hours are seen.
    let mut story = Story::opened();
    for _ in 0..14 * 12 {
        assert_ne!(story.look(), Look::Over);
        story.machine.runs(2 * HOUR_MS);
    }
    assert_eq!(story.look(), Look::Over);
}

// [SPEC 11.80, 11.81]
#[test]
fn time_off_counts_where_the_clock_is_kept_right() {
    let mut story = Story::opened();
    for day in 1..14 {
        story.machine.is_off(16 * HOUR_MS);
        story.look();
        story.machine.runs(8 * HOUR_MS);
        assert_eq!(story.look(), Look::Left((14 - day) * DAY_MS));
    }
    story.machine.is_off(40 * DAY_MS);
    story.is_due_and_no_more();
    // Where nothing keeps it right, not.
    let mut story = Story::opened();
    story.machine.is_synchronised = false;
    for off in [DAY_MS, 400 * DAY_MS] {
        story.machine.is_off(off);
        assert_eq!(story.look(), Look::Left(14 * DAY_MS));
    }
}

/// A battery is dead: the clock begins in 1970 with every start, and is set right somewhat later, or never.
// [SPEC 11.81]
#[test]
fn who_opens_before_the_clock_was_set_right_has_opened() {
    let mut story = Story::opened();
    let mut day = 30_000;
    for _ in 0..20 {
        day += 12;
        story.machine.is_off(0).is_lost_at(5_000);
        assert!(matches!(story.look(), Look::Left(_)));
        story.opens();
        assert_eq!(story.look(), Look::Left(14 * DAY_MS));
        // The network sets it in the same start of the machine.
        story.machine.runs(HOUR_MS).is_set(day * DAY_MS);
        assert_eq!(story.look(), Look::Left(14 * DAY_MS - HOUR_MS));
    }
    // Or after the next start, or never.
    story.machine.is_off(0).is_lost_at(5_000);
    story.opens();
    story.machine.is_off(0).is_set((day + 200) * DAY_MS);
    assert_eq!(story.look(), Look::Left(14 * DAY_MS));
    story.machine.is_off(0).is_lost_at(5_000);
    assert_eq!(story.look(), Look::Left(14 * DAY_MS));
}

/// The clock is wrong at the first look after a start, and right at the next.
// [SPEC 11.81]
#[test]
fn time_off_is_not_forgotten_because_the_network_came_late() {
    let mut story = Story::opened();
    story.machine.is_off(0).is_lost_at(5_000);
    assert_eq!(story.look(), Look::Left(14 * DAY_MS));
    story.machine.runs(HOUR_MS).is_set(30_003 * DAY_MS);
    assert_eq!(story.look(), Look::Left(11 * DAY_MS));
    // Not twice either: what ran is part of it.
    story.machine.runs(DAY_MS);
    assert_eq!(story.look(), Look::Left(10 * DAY_MS));
}

/// A machine without a clock of its own begins where it ended, until the network says otherwise.
// [SPEC 11.81]
#[test]
fn a_clock_that_begins_where_it_ended_counts_nothing_wrong() {
    let mut story = Story::opened();
    let mut day = 30_000;
    for _ in 0..6 {
        // Off for three days; opened first, then the clock is set.
        day += 3;
        let ended = story.machine.wall_ms;
        story.machine.is_off(0).is_lost_at(ended + 1);
        story.opens();
        story.machine.runs(HOUR_MS).is_set(day * DAY_MS);
        assert_eq!(story.look(), Look::Left(14 * DAY_MS - HOUR_MS));
    }
    // Not opened, the three days count when it is set.
    let ended = story.machine.wall_ms;
    story.machine.is_off(0).is_lost_at(ended + 1);
    story.look();
    story.machine.is_set((day + 3) * DAY_MS);
    assert_eq!(story.counted_days(), 3);
}

// [SPEC 11.80, 11.81]
#[test]
fn a_clock_from_2099_destroys_nothing() {
    let future = 47_000 * DAY_MS;
    // Set by hand: the kernel does not call it right.
    let mut story = Story::opened();
    story.machine.runs(HOUR_MS).is_lost_at(future);
    assert_eq!(story.watches(5 * DAY_MS), Look::Left(9 * DAY_MS - HOUR_MS));
    // By a false source of time: due, told, and set back by the PIN, whether or not it is corrected.
    for is_corrected in [false, true] {
        let mut story = Story::opened();
        story.machine.runs(HOUR_MS).is_set(future);
        assert_eq!(story.look(), Look::Due(DAY_MS));
        if is_corrected {
            story.machine.is_set(30_001 * DAY_MS);
        }
        assert_eq!(story.watches(20 * HOUR_MS), Look::Due(4 * HOUR_MS));
        story.opens();
        assert_eq!(story.watches(13 * DAY_MS), Look::Left(DAY_MS));
        // Nor is it remembered: time off counts again by what is right.
        story.machine.is_set(30_050 * DAY_MS);
        story.opens();
        story.machine.is_off(3 * DAY_MS);
        assert_eq!(story.look(), Look::Left(11 * DAY_MS));
    }
}

// [SPEC 11.81]
#[test]
fn a_clock_that_is_set_back_gives_no_time() {
    for back in [1, 10, 900] {
        for is_kept_right in [false, true] {
            let mut story = Story::opened();
            story.watches(10 * DAY_MS);
            let wall_ms = story.machine.wall_ms - back * DAY_MS;
            story.machine.is_set(wall_ms).is_synchronised = is_kept_right;
            assert_eq!(story.counted_days(), 10);
            story.machine.is_off(HOUR_MS);
            assert_eq!(story.counted_days(), 10);
            assert!(!story.watches(3 * DAY_MS + 23 * HOUR_MS).is_over());
            assert_eq!(story.watches(HOUR_MS), Look::Over);
        }
    }
}

impl Look {
    fn is_over(self) -> bool {
        self == Look::Over
    }
}

// [SPEC 11.80, 11.81]
#[test]
fn a_sleep_of_twenty_days_makes_it_due_only() {
    let mut story = Story::opened();
    story.watches(DAY_MS);
    story.machine.sleeps(20 * DAY_MS);
    story.is_due_and_no_more();
    // Where nothing keeps the clock right, sleep does not count.
    let mut story = Story::opened();
    story.machine.is_synchronised = false;
    story.machine.sleeps(20 * DAY_MS);
    assert_eq!(story.look(), Look::Left(14 * DAY_MS));
}

/// What lay outside yesterday, or a month ago, is put back.
// [SPEC 11.80, 11.81]
#[test]
fn what_is_put_back_within_one_start_of_the_machine_destroys_nothing() {
    for days in [1, 13, 40] {
        let mut story = Story::opened();
        let before = story.deadline;
        story.watches(12 * DAY_MS);
        story.opens();
        story.machine.runs(days * DAY_MS);
        story.deadline = before;
        assert!(!story.look().is_over(), "{days}");
        assert_eq!(story.deadline.watched_ms, 0, "{days}");
    }
}

/// A backup of the whole home, taken back on this machine or on another.
// [SPEC 11.80, 11.81]
#[test]
fn a_restored_copy_is_due_at_most() {
    let mut story = Story::opened();
    let copy = story.deadline;
    for _ in 0..4 {
        story.watches(10 * DAY_MS);
        story.opens();
    }
    for is_anew in [false, true] {
        let mut machine = story.machine.clone();
        if is_anew {
            machine.is_off(HOUR_MS);
        }
        let deadline = copy;
        Story { machine, deadline }.is_due_and_no_more();
    }
}

/// A disk that is put into another machine, or an image that is started on several: however long they have been up, and
/// whatever they are called.
// [SPEC 11.80, 11.81]
#[test]
fn what_another_machine_has_run_does_not_count() {
    let mut story = Story::opened();
    story.watches(DAY_MS);
    for boot in 50..60 {
        story.machine.is_synchronised = false;
        story.machine.boot = boot;
        story.machine.running_ms = u64::from(boot) * 10 * DAY_MS;
        assert_eq!(story.counted_days(), 1);
        assert_eq!(story.deadline.watched_ms, DAY_MS);
    }
    assert_eq!(story.watches(2 * DAY_MS), Look::Left(11 * DAY_MS));
}

/// A system that does not say when it was started.
// [SPEC 11.80, 11.81]
#[test]
fn where_no_start_is_known_nothing_is_destroyed() {
    let mut story = Story::opened();
    story.machine.boot = 0;
    story.watches(DAY_MS);
    story.machine.is_synchronised = false;
    assert_eq!(story.watches(30 * DAY_MS), Look::Left(13 * DAY_MS));
    let now = story.machine.wall_ms;
    story.machine.is_set(now);
    story.watches(30 * DAY_MS);
    assert_eq!(story.look(), Look::Due(DAY_MS));
    // It begins to be known.
    story.machine.boot = 1;
    story.is_due_and_no_more();
}

/// Used for two hours every second day.
// [SPEC 11.80]
#[test]
fn who_uses_it_seldom_keeps_it_and_who_stays_away_loses_it_in_a_day_of_running() {
    let mut story = Story::opened();
    for _ in 0..100 {
        story.machine.is_off(46 * HOUR_MS);
        story.look();
        story.opens();
        story.watches(2 * HOUR_MS);
    }
    // On and seen as before, and never opened.
    let mut sessions = 0;
    let mut due_at = None;
    loop {
        story.machine.is_off(46 * HOUR_MS);
        if matches!(story.look(), Look::Due(_)) && due_at.is_none() {
            due_at = Some(sessions);
        }
        story.machine.runs(2 * HOUR_MS);
        sessions += 1;
        if story.look().is_over() {
            break;
        }
    }
    // Two days seven times, of which the opening was in the first; then two hours twelve times.
    assert_eq!((due_at, sessions), (Some(6), 6 + 12));
}

// [SPEC 11.82]
#[test]
fn a_journey_makes_it_longer_until_the_next_opening() {
    let mut story = Story::opened();
    story.watches(4 * DAY_MS);
    for (days, left, is_longer) in [(3, 14, false), (30, 30, true)] {
        let fixed = Fixed::new(DAYS, days, Some(story.deadline.fixed()));
        story.deadline = Deadline::begun(fixed, &story.machine.here(), &KEY.into());
        assert_eq!(story.look(), Look::Left(left * DAY_MS));
        let info = story.deadline.info(&story.machine.here());
        assert_eq!(info.suspended, is_longer);
    }
    assert_eq!(story.watches(29 * DAY_MS), Look::Left(DAY_MS));
    let mut returned = Story {
        machine: story.machine.clone(),
        deadline: story.deadline,
    };
    returned.opens();
    assert_eq!(returned.look(), Look::Left(14 * DAY_MS));
    assert!(!returned.deadline.info(&story.machine.here()).suspended);
    // Off on the journey, it is counted the same way.
    let mut off = Story {
        machine: story.machine.clone(),
        deadline: story.deadline,
    };
    off.machine.is_off(5 * DAY_MS);
    off.is_due_and_no_more();
    assert_eq!(story.watches(DAY_MS), Look::Over);
}

// [SPEC 11.83]
#[test]
fn warnings_are_given_at_half_at_four_fifths_near_the_end_and_while_it_is_due() {
    let mut story = Story::opened();
    story.deadline = begun(100, &story.machine);
    let mut given = Vec::new();
    for _ in 0..100 {
        story.look();
        given.push(story.deadline.warnings());
        story.machine.runs(DAY_MS);
    }
    let first = |count| given.iter().position(|given| *given == count);
    assert_eq!(
        (first(0), first(1), first(2), first(3)),
        (Some(0), Some(50), Some(80), Some(95))
    );
    for quarter in 0..4 {
        story.look();
        assert_eq!(story.deadline.warnings(), 4 + quarter);
        story.watches(6 * HOUR_MS);
    }
}

/// What is told is what happens.
// [SPEC 11.83]
#[test]
fn how_long_it_has_to_be_seen_is_told_as_it_is() {
    for off in [0, 3, 13, 20] {
        let mut story = Story::opened();
        story.watches(5 * DAY_MS);
        story.machine.is_off(off * DAY_MS);
        story.look();
        let info = story.deadline.info(&story.machine.here());
        assert_eq!(info.counted_s, (5 + off) * 86_400);
        let told_ms = info.destroyed_after_s * 1_000;
        assert!(!story.watches(told_ms - HOUR_MS).is_over(), "{off}");
        assert!(story.watches(HOUR_MS).is_over(), "{off}");
    }
}
