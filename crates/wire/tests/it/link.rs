//! Invite links: what copying does to them, and damaged against wrong.

use emptyroom_wire::address::Host;
use emptyroom_wire::link::{InviteBinding, InviteLink, LinkFault};
use emptyroom_wire::log::Capability;
use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::time::Wall;

use crate::support::secret;

pub fn link() -> InviteLink {
    InviteLink {
        hosts: vec![Host::parse("relay.example:443").unwrap()],
        relay: IdentityHash([1; 32]),
        capability: Capability::new([2; 32]),
        secret: secret(3),
        binding: InviteBinding::of(&[4; 32], &[5; 16]),
        expires: Wall(1_800_000_123_456),
    }
}

fn same(one: &InviteLink, other: &InviteLink) -> bool {
    one.to_text() == other.to_text()
}

fn fault(text: &str) -> Option<LinkFault> {
    InviteLink::parse(text).err()
}

#[test]
fn a_link_is_read_as_it_was_written() {
    let mut link = link();
    let read = InviteLink::parse(&link.to_text().unwrap()).unwrap();
    assert!(same(&read, &link));
    assert_eq!(
        (read.hosts.clone(), read.relay, read.expires),
        (link.hosts.clone(), link.relay, link.expires)
    );
    assert!(read.secret.same(&link.secret) && read.capability == link.capability);
    assert_eq!(read.binding, link.binding);
    assert!(
        link.to_text().unwrap().len() < 300,
        "fits a QR code and a line or four"
    );
    link.hosts = ["a:1", "b.c:2", "[::1]:3", "10.0.0.1:4"]
        .map(|text| Host::parse(text).unwrap())
        .to_vec();
    assert!(same(
        &InviteLink::parse(&link.to_text().unwrap()).unwrap(),
        &link
    ));
    link.hosts.push(Host::parse("e:5").unwrap());
    assert!(link.to_text().is_err());
}

// [SPEC 7.6]
#[test]
fn a_link_survives_what_programs_do_to_it() {
    let link = link();
    let text = link.to_text().unwrap();
    let wrapped: Vec<String> = text
        .as_bytes()
        .chunks(60)
        .map(|line| String::from_utf8(line.to_vec()).unwrap())
        .collect();
    for changed in [
        format!("  {text}\n"),
        format!("<{text}>"),
        format!("\u{201c}{text}\u{201d}."),
        format!("`{text}`"),
        format!("*{text}*"),
        text.to_uppercase(),
        text.replace("emptyroom:", "Emptyroom: "),
        wrapped.join("\r\n"),
        wrapped.join("\u{200b}"),
        wrapped.join("\n    "),
    ] {
        assert!(
            InviteLink::parse(&changed).is_ok_and(|read| same(&read, &link)),
            "{changed}"
        );
    }
}

// [SPEC 7.7]
#[test]
fn damaged_is_told_from_wrong() {
    let text = link().to_text().unwrap();
    for place in "emptyroom:".len()..text.len() {
        let mut bent = text.clone().into_bytes();
        bent[place] = if bent[place] == b'q' { b'r' } else { b'q' };
        let bent = String::from_utf8(bent).unwrap();
        assert_eq!(fault(&bent), Some(LinkFault::Damaged), "character {place}");
        assert_eq!(
            fault(&text[..place]),
            Some(LinkFault::Damaged),
            "cut at {place}"
        );
    }
    assert_eq!(fault(&format!("{text}a")), Some(LinkFault::Damaged));
    assert_eq!(
        fault(&text.replacen("emptyroom:", "emptyroom:é", 1)),
        Some(LinkFault::Damaged)
    );
    for other in [
        "",
        "emptyroom",
        "https://example.org",
        "relay:443/abc",
        &text["emptyroom:".len()..],
    ] {
        assert_eq!(fault(other), Some(LinkFault::NotALink));
    }
    assert_eq!(
        fault(&format!("emptyroom:{}", "a".repeat(5_000))),
        Some(LinkFault::NotALink)
    );
    assert_eq!(
        fault(&crate::vectors::link_text(2, b"anything")),
        Some(LinkFault::Newer { version: 2 })
    );
    assert_eq!(
        fault(&crate::vectors::link_text(1, b"anything")),
        Some(LinkFault::Invalid)
    );
}

// [SPEC 7.5]
#[test]
fn links_need_a_host_and_only_well_written_ones() {
    let with_hosts = |hosts: &[&str]| {
        let mut content = Vec::new();
        for host in hosts {
            content.extend_from_slice(&(host.len() as u16).to_be_bytes());
            content.extend_from_slice(host.as_bytes());
        }
        let mut all = (content.len() as u32).to_be_bytes()[1..].to_vec();
        all.append(&mut content);
        all.extend_from_slice(&[7; 128]);
        all.extend_from_slice(&1_800_000_000_000_u64.to_be_bytes());
        fault(&crate::vectors::link_text(1, &all))
    };
    assert_eq!(with_hosts(&["relay.example:443"]), None);
    assert_eq!(with_hosts(&["a:1", "b:2", "c:3", "d:4"]), None);
    for bad in [
        &[][..],
        &["a:1", "b:2", "c:3", "d:4", "e:5"],
        &["Relay.example:443"],
        &["relay.example"],
        &["[0:0::1]:443"],
        &["a:1", ""],
        &["\u{fffd}:1"],
    ] {
        assert_eq!(with_hosts(bad), Some(LinkFault::Invalid), "{bad:?}");
    }
}

// [SPEC 7.8]
#[test]
fn the_binding_depends_on_key_group_and_where_one_ends() {
    let all = [
        InviteBinding::of(b"key", b"group"),
        InviteBinding::of(b"kez", b"group"),
        InviteBinding::of(b"key", b"grouq"),
        InviteBinding::of(b"keyg", b"roup"),
        InviteBinding::of(b"", b"keygroup"),
    ];
    for (place, one) in all.iter().enumerate() {
        assert!(!all[place + 1..].contains(one));
    }
}
