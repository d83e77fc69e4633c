//! Addresses: what is read, and what is said of those that are wrong.

use emptyroom_wire::address::{AddressFault, Host, RelayAddress, identity_text, parse_access_code};
use emptyroom_wire::relay_key::IdentityHash;

const IDENTITY: IdentityHash = IdentityHash([0x5a; 32]);

fn address(rest: &str) -> Result<RelayAddress, AddressFault> {
    RelayAddress::parse(&format!(
        "relay.example:443/{}{rest}",
        identity_text(&IDENTITY)
    ))
}

#[test]
fn an_address_is_read_as_it_was_written() {
    let plain = address("").unwrap();
    assert_eq!(
        (plain.host.name(), plain.host.port()),
        ("relay.example", 443)
    );
    assert_eq!(plain.identity, IDENTITY);
    assert!(plain.code.is_none());
    let coded = address("?code=Ab-3_z").unwrap();
    assert_eq!(coded.code.as_ref().unwrap().expose(), b"Ab-3_z");
    assert_eq!(RelayAddress::parse(&coded.with_code()).as_ref(), Ok(&coded));
    assert_eq!(coded.without_code(), plain.with_code());
    assert!(!coded.without_code().contains("Ab"));
    let spaced = format!("  {}\n", plain.with_code().to_uppercase());
    assert_eq!(RelayAddress::parse(&spaced), Ok(plain));
    assert_eq!(identity_text(&IDENTITY).len(), 56);
}

// [SPEC 7.1]
#[test]
fn what_is_wrong_with_an_address_is_said() {
    let fault = |text: &str| RelayAddress::parse(text).err();
    let identity = identity_text(&IDENTITY);
    assert_eq!(fault(""), Some(AddressFault::NoIdentity));
    assert_eq!(fault("relay.example:443"), Some(AddressFault::NoIdentity));
    assert_eq!(
        fault(&format!("relay.example/{identity}")),
        Some(AddressFault::NoPort)
    );
    assert_eq!(fault("relay.example:443/"), Some(AddressFault::Identity));
    assert_eq!(
        fault(&format!("relay.example:443/{identity}a")),
        Some(AddressFault::Identity)
    );
    assert_eq!(
        fault(&format!("relay.example:443/{}", &identity[1..])),
        Some(AddressFault::Identity)
    );
    assert_eq!(
        fault(&format!("relay.example:443/{}1", &identity[1..])),
        Some(AddressFault::Identity)
    );
    assert_eq!(address("?core=x").err(), Some(AddressFault::Query));
    assert_eq!(address("?").err(), Some(AddressFault::Query));
    assert_eq!(address("?code=x/y").err(), Some(AddressFault::Code));
    for place in 0..56 {
        let mut bent = identity.clone().into_bytes();
        bent[place] = if bent[place] == b'q' { b'r' } else { b'q' };
        let bent = String::from_utf8(bent).unwrap();
        let fault = fault(&format!("relay.example:443/{bent}"));
        assert_eq!(fault, Some(AddressFault::Checksum), "character {place}");
    }
}

// [SPEC 7.10]
#[test]
fn a_relay_on_several_nodes_has_several_hosts() {
    let with = |hosts: &str| RelayAddress::parse(&format!("{hosts}/{}", identity_text(&IDENTITY)));
    let three = with("a.example:443,[2001:db8::7]:443,a.example:444").unwrap();
    let hosts: Vec<String> = three.hosts().map(ToString::to_string).collect();
    assert_eq!(
        hosts,
        ["a.example:443", "[2001:db8::7]:443", "a.example:444"]
    );
    assert_eq!(RelayAddress::parse(&three.with_code()), Ok(three));
    assert!(with("a:1,b:1,c:1,d:1").is_ok());
    for (hosts, fault) in [
        ("a:1,b:1,c:1,d:1,e:1", AddressFault::Hosts),
        ("a:1,A:1", AddressFault::Hosts),
        ("a:1,b:1,b:1", AddressFault::Hosts),
        ("a:1,", AddressFault::NoPort),
        (",a:1", AddressFault::NoPort),
        ("a:1,,b:1", AddressFault::NoPort),
        ("a:1, b:1", AddressFault::Host),
        ("a:1,b:0", AddressFault::Port),
    ] {
        assert_eq!(with(hosts).err(), Some(fault), "{hosts}");
    }
}

// [SPEC 7.2]
#[test]
fn hosts_are_names_or_addresses_with_a_port() {
    for (text, written) in [
        ("a:1", "a:1"),
        ("Relay.Example:65535", "relay.example:65535"),
        ("127.0.0.1:8443", "127.0.0.1:8443"),
        ("[::1]:443", "[::1]:443"),
        ("[2001:DB8:0:0::1]:443", "[2001:db8::1]:443"),
    ] {
        let host = Host::parse(text).unwrap();
        assert_eq!(host.to_string(), written);
        assert_eq!(Host::parse(written), Ok(host));
    }
    for (text, fault) in [
        ("relay", AddressFault::NoPort),
        ("[::1]", AddressFault::NoPort),
        ("[::1]443", AddressFault::NoPort),
        ("relay:", AddressFault::Port),
        ("relay:0", AddressFault::Port),
        ("relay:0443", AddressFault::Port),
        ("relay:+443", AddressFault::Port),
        ("relay:65536", AddressFault::Port),
        ("relay:4430000", AddressFault::Port),
        (":443", AddressFault::Host),
        ("::1:443", AddressFault::Host),
        ("[::g]:443", AddressFault::Host),
        ("[::1:443", AddressFault::Host),
        ("re lay:443", AddressFault::Host),
        ("relay..example:443", AddressFault::Host),
        ("rélay:443", AddressFault::Host),
        ("user@relay:443", AddressFault::Host),
    ] {
        assert_eq!(Host::parse(text).err(), Some(fault), "{text}");
    }
    assert!(Host::parse(&format!("{}:1", ["a"; 127].join("."))).is_ok());
    assert!(Host::parse(&format!("{}:1", ["a"; 128].join("."))).is_err());
    assert!(Host::parse(&format!("{}:1", "a".repeat(63))).is_ok());
    assert!(Host::parse(&format!("{}:1", "a".repeat(64))).is_err());
}

// [SPEC 7.3]
#[test]
fn codes_are_short_and_plain() {
    assert!(parse_access_code(&"a".repeat(64)).is_ok());
    for bad in ["", "a b", "a&b", "ä", &"a".repeat(65)] {
        assert_eq!(parse_access_code(bad).err(), Some(AddressFault::Code));
    }
}

#[test]
fn addresses_show_nothing_unasked() {
    let address = address("?code=secret").unwrap();
    let shown = format!("{address:?} {:?} {:?}", address.host, address.code);
    assert_eq!(
        shown,
        "RelayAddress(private) Host(private) Some(AccessCode(private))"
    );
}
