//! Invites: one link, one use.

use super::world::World;

#[test]
fn a_link_is_taken() {
    World::talk(2);
}
