//! Vectors of kill codes.

use emptyroom_wire::address::Host;
use emptyroom_wire::codec::encode;
use emptyroom_wire::kill::{KillCode, KillLink, Left};
use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::sign::SignKey;
use emptyroom_wire::wipe::OrderHash;
use serde_json::json;

use super::compare;
use crate::support::hex;

// [SPEC 11.62] [SPEC 11.63] [SPEC 11.64] [SPEC 11.67] [SPEC 11.116]
#[test]
fn kill_codes() {
    let code = KillCode::new([1; 16]);
    let switch = code.switch();
    let link = KillLink {
        hosts: vec![Host::parse("relay.example:443").unwrap()],
        relay: IdentityHash([3; 32]),
        code: KillCode::new([1; 16]),
    };
    let receipt = switch.receipt(OrderHash([4; 32]), 5);
    let remains = switch.remains(OrderHash([4; 32]), Left::TPM.and(Left::RELAYS));
    compare(
        "kill.json",
        &json!({
            "z": hex(code.expose()),
            "kill_key": hex(&code.kill_key().verify_key().0),
            "device_secret": hex(code.device_secret().expose()),
            "append_key": hex(&switch.append.verify_key().0),
            "read_key": hex(&switch.read.verify_key().0),
            "owner_key": hex(&SignKey::from_seed(&code.owner_seed()).verify_key().0),
            "header": hex(&encode(&switch.header).unwrap()),
            "capability": hex(switch.capability.expose()),
            "switch_id": hex(&switch.id.0),
            "relay": hex(&[3; 32]),
            "host": "relay.example:443",
            "text": link.to_text().unwrap(),
            "order_hash": hex(&[4; 32]),
            "at_ms": 5,
            "watched": hex(&code.watched(link.hosts.clone(), link.relay).encode().unwrap()),
            "receipt": hex(&encode(&receipt).unwrap()),
            "left": 3,
            "remains": hex(&encode(&remains).unwrap()),
        }),
    );
}
