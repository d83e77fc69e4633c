//! Two people talk.

use emptyroom_core::api::MessageState;

use super::world::{SECOND, World};

#[test]
fn two_people_talk() {
    let mut world = World::talk(1);
    world.send(0, "hello bob");
    world.pass(SECOND);
    assert_eq!(world.received(1), ["hello bob"]);
    world.send(1, "hello alice");
    world.send(1, "how are you");
    world.pass(10 * SECOND);
    assert_eq!(world.received(0), ["hello alice", "how are you"]);
    assert_eq!(world.states(0), [MessageState::Delivered]);
    world.read_all(1);
    world.pass(10 * SECOND);
    assert_eq!(world.states(0), [MessageState::Read]);
    for party in 0..2 {
        println!("{:?}", world.events(party));
    }
}
