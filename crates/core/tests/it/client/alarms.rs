//! Alarms: whom they name, when they are told, and when they go.

use emptyroom_core::api::{Alarm, AlarmKind, Command, RelayTrouble, Reply, Text};
use emptyroom_wire::time::Wall;

use super::raw::inspect;
use super::world::{DAY, MINUTE, World, name};

fn alarms(world: &mut World) -> Vec<Alarm> {
    match world.command(0, Command::Status) {
        Ok(Reply::Status(status)) => status.alarms,
        other => panic!("no status: {other:?}"),
    }
}

/// Alice's relay does not have the log of her conversation with Bob any more.
fn lose(world: &mut World) {
    let access = inspect(world, 0).main.unwrap();
    world.lose_log(&access);
    world.stop_relay();
    world.start_relay();
    world.pass(MINUTE);
}

// [SPEC 10.44]
#[test]
fn a_relay_is_called_by_the_first_host_of_its_address() {
    for seed in 0..8 {
        let mut world = World::new(9_700 + seed);
        let own = world.address();
        let others = own.replace("/", ",a.example:443,b.example:443,c.example:443/");
        let address = Text::new(others);
        world.command(0, Command::SetRelay { address }).unwrap();
        for _ in 0..2 {
            let Ok(Reply::Status(status)) = world.command(0, Command::Status) else {
                panic!()
            };
            assert_eq!(status.relay.as_deref(), Some("relay.example:443"));
            world.kill(0);
        }
    }
}

// [SPEC 10.44]
#[test]
fn alarms_go_with_the_contact() {
    let mut world = World::talk(9_710);
    lose(&mut world);
    let found = alarms(&mut world);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].kind, AlarmKind::Relay(RelayTrouble::LogLost));
    assert_eq!(found[0].conversation, Some(name("bob")));
    let forget = Command::Forget { name: name("bob") };
    assert_eq!(world.command(0, forget), Ok(Reply::Done));
    world.pass(MINUTE);
    assert_eq!(alarms(&mut world), []);
    let record = &world.parties[0].records.0[&b"w"[..]];
    assert_eq!(record.as_slice(), [0, 1, 0], "nothing of it is kept");
}

/// Something comes between the showing and the word that it was shown.
// [SPEC 10.44]
#[test]
fn what_was_not_shown_is_not_told() {
    let mut world = World::talk(9_720);
    lose(&mut world);
    let shown = alarms(&mut world);
    let until = shown.iter().map(|alarm| alarm.at).max().unwrap();
    world.become_another_relay();
    world.stop_relay();
    world.start_relay();
    world.pass(DAY);
    let told = Command::AlarmsTold { until };
    assert_eq!(world.command(0, told), Ok(Reply::Done));
    let kinds = |alarms: &[Alarm], told: bool| -> Vec<AlarmKind> {
        let alarms = alarms.iter().filter(|alarm| alarm.told == told);
        alarms.map(|alarm| alarm.kind).collect()
    };
    let found = alarms(&mut world);
    let lost = AlarmKind::Relay(RelayTrouble::LogLost);
    let other = AlarmKind::Relay(RelayTrouble::WrongIdentity);
    assert_eq!(kinds(&found, true), [lost], "{found:?}");
    assert_eq!(kinds(&found, false), [other], "{found:?}");
    let until = Wall(u64::MAX);
    world.command(0, Command::AlarmsTold { until }).unwrap();
    assert_eq!(kinds(&alarms(&mut world), false), []);
}
