//! Addresses and links.

use emptyroom_wire::address::{Host, RelayAddress, identity_text};
use emptyroom_wire::hash;
use emptyroom_wire::link::{InviteBinding, InviteLink, LinkFault};
use emptyroom_wire::relay_key::IdentityHash;
use serde_json::json;

use super::compare;
use crate::support::hex;

// [SPEC 7.1] [SPEC 7.2] [SPEC 7.3] [SPEC 7.10]
#[test]
fn addresses() {
    let identity = IdentityHash(std::array::from_fn(|place| place as u8));
    let text = format!("relay.example:443/{}?code=Ab-3_z", identity_text(&identity));
    let address = RelayAddress::parse(&text).unwrap();
    let fault = |text: &str| RelayAddress::parse(text).unwrap_err().to_string();
    let plain = address.without_code();
    let several = plain.replace("443/", "443,[2001:db8::7]:443,b.example:8443/");
    let hosts = RelayAddress::parse(&several).unwrap();
    let refused = [
        plain.replace("443/", "443,relay.example:443/"),
        plain.replace("443/", "443,b:1,c:1,d:1,e:1/"),
        plain.replace(":443", ""),
        plain.replace("443", "0"),
        plain.replace("relay", "re lay"),
        plain[..plain.len() - 1].to_owned(),
        plain.replace("443/a", "443/b"),
        plain.replace('/', ""),
        format!("{plain}?code="),
        format!("{plain}?token=x"),
    ];
    compare(
        "address.json",
        &json!({
            "host": address.host.name(),
            "port": address.host.port(),
            "identity_hash": hex(&address.identity.0),
            "code": "Ab-3_z",
            "with_code": address.with_code(),
            "without_code": plain,
            "several": several,
            "hosts": hosts.hosts().map(Host::to_string).collect::<Vec<_>>(),
            "refused": refused.iter().map(|text| json!({ "text": text, "why": fault(text) })).collect::<Vec<_>>(),
        }),
    );
}

// [SPEC 7.5] [SPEC 7.7] [SPEC 7.8]
#[test]
fn links() {
    let link = crate::link::link();
    let text = link.to_text().unwrap();
    let content = unbase32(text.strip_prefix("emptyroom:").unwrap());
    assert_eq!(link_text(content[0], &content[1..content.len() - 4]), text);
    let damaged = text.replacen(":ae", ":af", 1);
    assert_eq!(InviteLink::parse(&damaged).err(), Some(LinkFault::Damaged));
    let newer = link_text(2, b"anything");
    assert_eq!(
        InviteLink::parse(&newer).err(),
        Some(LinkFault::Newer { version: 2 })
    );
    compare(
        "link.json",
        &json!({
            "hosts": link.hosts.iter().map(Host::to_string).collect::<Vec<_>>(),
            "relay": hex(&link.relay.0),
            "capability": hex(link.capability.expose()),
            "secret": hex(link.secret.expose()),
            "identity_key": hex(&[4; 32]),
            "group_id": hex(&[5; 16]),
            "binding": hex(&InviteBinding::of(&[4; 32], &[5; 16]).0),
            "expires_ms": link.expires.0,
            "bytes": hex(&content),
            "text": text,
            "damaged": damaged,
            "newer": newer,
        }),
    );
}

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A whole link of any version and content, with a checksum that fits.
pub fn link_text(version: u8, content: &[u8]) -> String {
    let mut bytes = vec![version];
    bytes.extend_from_slice(content);
    let sum = hash::labelled("emptyroom v1 link check", &[&bytes]);
    bytes.extend_from_slice(&sum[..4]);
    let mut bits: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    bits.resize(bits.len().next_multiple_of(5), 0);
    let letter = |bits: &[u8]| {
        ALPHABET[bits
            .iter()
            .fold(0, |value, bit| value << 1 | usize::from(*bit))]
    };
    let text: Vec<u8> = bits.chunks(5).map(letter).collect();
    format!("emptyroom:{}", String::from_utf8(text).unwrap())
}

fn unbase32(text: &str) -> Vec<u8> {
    let place = |letter: u8| ALPHABET.iter().position(|other| *other == letter).unwrap();
    let bits: String = text
        .bytes()
        .map(|letter| format!("{:05b}", place(letter)))
        .collect();
    let bytes = bits.as_bytes().chunks_exact(8);
    bytes
        .map(|bits| u8::from_str_radix(std::str::from_utf8(bits).unwrap(), 2).unwrap())
        .collect()
}
