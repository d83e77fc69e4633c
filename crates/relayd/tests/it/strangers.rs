//! Whoever does not speak the protocol, or speaks it wrongly, or takes his time.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use emptyroom_wire::address::RelayAddress;
use emptyroom_wire::entry::Ttl;
use emptyroom_wire::framing::ALPN;
use emptyroom_wire::op::{Answer, RefusalCode};
use emptyroom_wire::relay_key::KeyChain;
use emptyroom_wire::stream::{Opening, OpeningOutcome, RelayFault};
use emptyroom_wire::time::Mono;
use rand_core::Rng;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::{CipherSuite, HandshakeKind, NamedGroup, ProtocolVersion};

use crate::client::{
    Client, Log, TlsSettings, dial_tcp, dial_tls, generator, read_frame, spki_hash, write_frame,
};
use crate::process::{Process, serve};
use crate::scratch::Scratch;

struct Running {
    relay: Process,
    _dir: Scratch,
}

fn running(name: &str) -> Running {
    let dir = Scratch::new(name);
    Running {
        relay: Process::start(&dir.path().join("data")),
        _dir: dir,
    }
}

impl Running {
    fn address(&self) -> &RelayAddress {
        &self.relay.address
    }

    /// Somebody else is served as ever.
    fn serves(&self) {
        let log = Log::new();
        let mut client = Client::connect(self.address());
        assert!(matches!(client.create(&log, None), Answer::Created));
        let (opened, _) = client.open(&log, 0).unwrap();
        client.append(opened.handle, &log, b"still here", Ttl::Day1);
    }
}

/// Whether the other side has ended the connection, within a minute.
fn is_ended(stream: &mut impl Read) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(e) => !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

fn garbage(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    generator().fill_bytes(&mut bytes);
    bytes
}

// [SPEC 6.70] [SPEC 6.71]
#[test]
fn tls_is_1_3_with_x25519mlkem768_and_remembers_nothing() {
    let running = running("tls");
    // Even for a client that would rather have less.
    let groups = vec![kx_group::X25519, kx_group::X25519MLKEM768];
    let settings = TlsSettings {
        groups,
        ..TlsSettings::default()
    };
    for _ in 0..2 {
        let mut tls = dial_tls(running.address(), settings.clone()).unwrap();
        read_frame(&mut tls).unwrap();
        assert_eq!(tls.conn.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(
            tls.conn.negotiated_key_exchange_group().unwrap().name(),
            NamedGroup::X25519MLKEM768
        );
        assert_eq!(
            tls.conn.negotiated_cipher_suite().unwrap().suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
        );
        assert_eq!(tls.conn.alpn_protocol(), Some(ALPN));
        assert_ne!(tls.conn.handshake_kind(), Some(HandshakeKind::Resumed));
        assert_eq!(tls.conn.tls13_tickets_received(), 0);
    }
    let weak = TlsSettings {
        groups: vec![kx_group::X25519],
        ..TlsSettings::default()
    };
    assert!(dial_tls(running.address(), weak).is_err());
    running.serves();
}

// [SPEC 6.72]
#[test]
fn without_our_alpn_nothing_is_said() {
    let running = running("alpn");
    let none = TlsSettings {
        alpn: vec![],
        ..TlsSettings::default()
    };
    if let Ok(mut tls) = dial_tls(running.address(), none) {
        assert!(read_frame(&mut tls).is_err());
    }
    let other = TlsSettings {
        alpn: vec![b"h2".to_vec()],
        ..TlsSettings::default()
    };
    assert!(dial_tls(running.address(), other).is_err());
    running.serves();
}

#[test]
fn garbage_before_tls_ends_the_connection_and_nothing_else() {
    let running = running("garbage");
    for len in [0, 1, 5, 300, 70_000] {
        let mut socket = dial_tcp(running.address()).unwrap();
        let _ = socket.write_all(&garbage(len));
        let _ = socket.shutdown(std::net::Shutdown::Write);
        assert!(is_ended(&mut socket), "{len}");
    }
    running.serves();
}

// [SPEC 6.75]
#[test]
fn garbage_inside_tls_ends_the_connection_and_nothing_else() {
    let running = running("garbage-tls");
    let empty_frame = vec![0; 4];
    let huge_length = u32::MAX.to_be_bytes().to_vec();
    // More than the first frame may have, far less than later ones may.
    let long_first = 8_192_u32.to_be_bytes().to_vec();
    let mut short_opening = 40_u32.to_be_bytes().to_vec();
    short_opening.extend(garbage(40));
    let mut long_opening = 1_200_u32.to_be_bytes().to_vec();
    long_opening.extend(garbage(1_200));
    for bytes in [
        garbage(10_000),
        empty_frame,
        huge_length,
        long_first,
        short_opening,
        long_opening,
    ] {
        let mut tls = dial_tls(running.address(), TlsSettings::default()).unwrap();
        read_frame(&mut tls).unwrap();
        tls.write_all(&bytes).unwrap();
        tls.flush().unwrap();
        assert!(is_ended(&mut tls), "{:?}", &bytes[..4]);
    }
    running.serves();
}

#[test]
fn garbage_inside_the_stream_ends_it_and_nothing_else() {
    let running = running("garbage-stream");
    for len in [1, 531, 532, 4_628] {
        let mut client = Client::connect(running.address());
        client.write_raw(&garbage(len)).unwrap();
        assert!(client.is_over());
    }
    // Sealed well, and nonsense inside: the answer can name no request, and is the last.
    let mut client = Client::connect(running.address());
    assert_eq!(
        client.send_message(&garbage(40)).unwrap(),
        Some(RefusalCode::Malformed)
    );
    assert!(client.is_over());
    running.serves();
}

#[test]
fn an_old_client_is_told_to_update() {
    let running = running("old");
    let mut rng = generator();
    let mut tls = dial_tls(running.address(), TlsSettings::default()).unwrap();
    let greeting = read_frame(&mut tls).unwrap();
    let chain = KeyChain::new(running.address().identity);
    let spki = spki_hash(&tls);
    let (opening, mut frame) = Opening::start(&greeting, Some(&spki), &chain, &mut rng).unwrap();
    // The version stands first in every version of the opening.
    frame[..2].copy_from_slice(&0_u16.to_be_bytes());
    write_frame(&mut tls, &frame).unwrap();
    let answer = read_frame(&mut tls).unwrap();
    match opening.answer(&answer, &chain, Mono(0), &mut rng) {
        Err(RelayFault::Refused(refusal)) => assert_eq!(refusal.code, RefusalCode::UpdateNeeded),
        Err(fault) => panic!("{fault}"),
        Ok(OpeningOutcome::Open(_) | OpeningOutcome::Again(..)) => panic!("accepted"),
    }
    assert!(is_ended(&mut tls));
}

#[test]
fn a_replayed_opening_opens_nothing() {
    let running = running("replay");
    let mut rng = generator();
    let mut tls = dial_tls(running.address(), TlsSettings::default()).unwrap();
    let greeting = read_frame(&mut tls).unwrap();
    let chain = KeyChain::new(running.address().identity);
    let spki = spki_hash(&tls);
    let (opening, frame) = Opening::start(&greeting, Some(&spki), &chain, &mut rng).unwrap();
    write_frame(&mut tls, &frame).unwrap();
    read_frame(&mut tls).unwrap();
    let mut replayed = dial_tls(running.address(), TlsSettings::default()).unwrap();
    read_frame(&mut replayed).unwrap();
    write_frame(&mut replayed, &frame).unwrap();
    let answer = read_frame(&mut replayed).unwrap();
    // The first answer's nonce is lost with its connection; this one has another.
    let Ok(OpeningOutcome::Open(_)) = opening.answer(&answer, &chain, Mono(0), &mut rng) else {
        panic!("the key holder himself can follow");
    };
    running.serves();
}

// [SPEC 6.73]
#[test]
fn a_slow_handshake_is_given_up() {
    let running = running("slow-loris");
    let slow = |bytes: &'static [u8]| -> TcpStream {
        let mut socket = dial_tcp(running.address()).unwrap();
        socket.write_all(bytes).unwrap();
        socket
    };
    // The beginning of a ClientHello, and nothing at all.
    let mut sockets = [slow(&[22, 3, 1, 2, 0, 1, 0]), slow(&[])];
    let start = Instant::now();
    running.serves();
    for socket in &mut sockets {
        assert!(is_ended(socket));
    }
    assert!(start.elapsed() < Duration::from_secs(40));
}

/// Whether the other side has ended the connection by now.
fn has_ended(socket: &TcpStream) -> bool {
    match socket.peek(&mut [0]) {
        Ok(read) => read == 0,
        Err(e) => e.kind() != ErrorKind::WouldBlock,
    }
}

/// Whether 16 of 80 newcomers who say nothing are dropped before the first of them has had his ten seconds: later
/// others have their turn, and the numbers say nothing.
fn drops_those_beyond_64() -> bool {
    let running = running("half-open");
    let start = Instant::now();
    let waiting: Vec<TcpStream> = (0..80)
        .map(|_| {
            let socket = dial_tcp(running.address()).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        })
        .collect();
    let dropped = || waiting.iter().filter(|socket| has_ended(socket)).count();
    let in_time = || start.elapsed() < Duration::from_secs(10);
    while in_time() && dropped() < 16 {
        thread::sleep(Duration::from_millis(20));
    }
    // No more than those, also a little later.
    thread::sleep(Duration::from_millis(200));
    let ended = dropped();
    if !in_time() {
        return false;
    }
    assert_eq!(ended, 16);
    drop(waiting);
    // As soon as they are gone there is room again.
    let patience = Instant::now();
    while Client::try_connect(running.address()).is_err() {
        assert!(patience.elapsed() < Duration::from_secs(30));
        thread::yield_now();
    }
    true
}

// [SPEC 6.73]
#[test]
fn one_address_cannot_take_all_handshakes() {
    // A machine that is busy may not get as far in ten seconds.
    assert!((0..4).any(|_| drops_those_beyond_64()));
}

/// Whether all of it happened within the relay's first minute, in which nothing is forgotten.
fn keeps_to_three_in_a_minute() -> bool {
    let dir = Scratch::new("per-address");
    let data = dir.path().join("data");
    let mut command = serve(&data);
    command.args(["--open", "--connections-per-address", "3"]);
    let start = Instant::now();
    let relay = Process::spawn(command, &data);
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(&relay.address)).collect();
    for _ in 0..4 {
        assert!(Client::try_connect(&relay.address).is_err());
    }
    // Those that are there are served; one that leaves makes no room in the same minute.
    for client in &mut clients {
        assert!(matches!(client.create(&Log::new(), None), Answer::Created));
    }
    clients.clear();
    let refused = Client::try_connect(&relay.address).is_err();
    let within = start.elapsed() < Duration::from_secs(60);
    assert!(refused || !within);
    within
}

// [SPEC 6.81]
#[test]
fn one_address_cannot_take_all_connections() {
    // A machine that is busy may need more than a minute.
    assert!((0..4).any(|_| keeps_to_three_in_a_minute()));
}

#[test]
fn nothing_about_clients_is_logged() {
    let running = running("silent");
    running.serves();
    let mut tls = dial_tls(running.address(), TlsSettings::default()).unwrap();
    let _ = tls.write_all(&garbage(100));
    assert!(is_ended(&mut tls));
    let mut socket = dial_tcp(running.address()).unwrap();
    let _ = socket.write_all(&garbage(100));
    assert!(is_ended(&mut socket));
    let Running { relay, _dir } = running;
    let (_, stdout, stderr) = relay.signal("TERM");
    assert_eq!(
        (stdout.as_str(), stderr.as_str()),
        ("", "emptyroom-relay: serving\nemptyroom-relay: stopping\n")
    );
}
