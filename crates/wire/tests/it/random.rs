//! Properties over random values, each run from one seed.

use emptyroom_wire::address::{Host, RelayAddress, parse_access_code};
use emptyroom_wire::entry::{self, EntryFault, RunningHash, Ttl};
use emptyroom_wire::limits::{CAST_LEN_MAX, FRAME_CLASSES, NEXT_LOGS_MAX, OPEN_LOGS_MAX};
use emptyroom_wire::link::{InviteBinding, InviteLink};
use emptyroom_wire::log::{Capability, Flags, Header};
use emptyroom_wire::op::{
    Answer, Append, Cast, EntryPush, First, FromClient, FromRelay, Handle, NewLog, Open, OpenLog,
    OpenOutcome, Opened, OpenedLog, Push, Request, View,
};
use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::rng::{bytes, secret};
use emptyroom_wire::secret::Private;
use emptyroom_wire::sign::{Signature, VerifyKey};
use emptyroom_wire::stream::OpenFault;
use emptyroom_wire::time::{Mono, Wall};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::Rng;

use crate::support::{Relay, aad, outer, rng};

fn below(rng: &mut ChaCha20Rng, limit: usize) -> usize {
    (rng.next_u64() % limit as u64) as usize
}

fn coin(rng: &mut ChaCha20Rng) -> bool {
    rng.next_u32() & 1 == 1
}

fn maybe<T>(rng: &mut ChaCha20Rng, make: impl FnOnce(&mut ChaCha20Rng) -> T) -> Option<T> {
    coin(rng).then(|| make(rng))
}

fn blob(rng: &mut ChaCha20Rng, len_max: usize) -> Vec<u8> {
    let mut out = vec![0; below(rng, len_max + 1)];
    rng.fill_bytes(&mut out);
    out
}

fn ttl(rng: &mut ChaCha20Rng) -> Ttl {
    [Ttl::Day1, Ttl::Day7, Ttl::Day30, Ttl::Life][below(rng, 4)]
}

fn header(rng: &mut ChaCha20Rng) -> Header {
    Header {
        salt: Private(bytes(rng)),
        append_key: maybe(rng, |rng| VerifyKey(bytes(rng))),
        read_key: maybe(rng, |rng| VerifyKey(bytes(rng))),
        owner_key: maybe(rng, |rng| VerifyKey(bytes(rng))),
        flags: Flags::from_bits(below(rng, 8) as u8).unwrap(),
    }
}

fn new_log(rng: &mut ChaCha20Rng) -> NewLog {
    let first = maybe(rng, |rng| First {
        ttl: ttl(rng),
        nonce: bytes(rng),
        body: blob(rng, 5_000),
    });
    NewLog {
        header: header(rng),
        first,
    }
}

fn request(rng: &mut ChaCha20Rng) -> Request {
    let handle = Handle(rng.next_u32());
    match below(rng, 4) {
        0 => Request::Append(Append {
            handle,
            expect_slots: rng.next_u64(),
            commit: coin(rng),
            close: coin(rng),
            ttl: ttl(rng),
            nonce: bytes(rng),
            body: blob(rng, 20_000),
            next: (0..below(rng, NEXT_LOGS_MAX + 1))
                .map(|_| new_log(rng))
                .collect(),
            proof: maybe(rng, |rng| Signature(bytes(rng))),
        }),
        1 => Request::Open(Open {
            logs: (0..below(rng, OPEN_LOGS_MAX + 1))
                .map(|_| OpenLog {
                    capability: Capability::new(bytes(rng)),
                    from: rng.next_u64(),
                    proof: maybe(rng, |rng| Signature(bytes(rng))),
                })
                .collect(),
        }),
        2 => Request::Cast(Cast {
            handle,
            bytes: blob(rng, CAST_LEN_MAX),
        }),
        _ => Request::KeyRecords(rng.next_u64()),
    }
}

fn view(rng: &mut ChaCha20Rng) -> View {
    View {
        first_seq: rng.next_u64(),
        next_seq: rng.next_u64(),
        slots: rng.next_u64(),
        running_hash: RunningHash(bytes(rng)),
        closed: coin(rng),
    }
}

fn from_relay(rng: &mut ChaCha20Rng) -> FromRelay {
    let handle = Handle(rng.next_u32());
    match below(rng, 3) {
        0 => FromRelay::Answer(rng.next_u32(), Answer::Stale(view(rng))),
        1 => {
            let logs = (0..below(rng, OPEN_LOGS_MAX + 1))
                .map(|_| {
                    OpenOutcome::Open(OpenedLog {
                        handle,
                        view: view(rng),
                    })
                })
                .collect();
            FromRelay::Answer(rng.next_u32(), Answer::Opened(Opened { logs }))
        }
        _ => FromRelay::Push(
            handle,
            Push::Entry(EntryPush {
                seq: rng.next_u64(),
                before: RunningHash(bytes(rng)),
                expect_slots: rng.next_u64(),
                commit: coin(rng),
                close: coin(rng),
                ttl: ttl(rng),
                nonce: bytes(rng),
                next_hash: bytes(rng),
                body: blob(rng, 20_000),
            }),
        ),
    }
}

#[test]
fn messages_are_read_as_they_were_written() {
    let mut rng = rng(1);
    for _ in 0..1_000 {
        let message = FromClient {
            id: rng.next_u32(),
            request: request(&mut rng),
        };
        let read = FromClient::decode(&message.encode().unwrap());
        assert!(read.is_ok_and(|read| read == message));
        let message = from_relay(&mut rng);
        let read = FromRelay::decode(&message.encode().unwrap());
        assert!(read.is_ok_and(|read| read == message));
    }
}

#[test]
fn entries_open_to_what_was_sealed_and_not_when_changed() {
    let mut rng = rng(2);
    for _ in 0..300 {
        let content = blob(&mut rng, 30_000);
        let kind = below(&mut rng, 256) as u8;
        let mut body = entry::seal(&outer(7), &aad(), kind, &content, &mut rng).unwrap();
        assert_eq!(entry::open(&outer(7), &aad(), &body), Ok((kind, content)));
        let place = 2 + below(&mut rng, body.len() - 2);
        body[place] ^= 1 << below(&mut rng, 8);
        assert_eq!(entry::open(&outer(7), &aad(), &body), Err(EntryFault::Seal));
    }
}

/// Both ends talk at random times for a day; what comes out is what went in, in order.
#[test]
fn streams_carry_what_they_are_given_for_a_day() {
    let mut rng = rng(3);
    let relay = Relay::new(1);
    for _ in 0..5 {
        let mut now = Mono(rng.next_u64() % 1_000_000);
        let (mut here, mut there) = relay.streams(now);
        let end = here.ends_at();
        loop {
            now = now.plus_ms(rng.next_u64() % 400_000);
            if now >= end {
                break;
            }
            if let Some(frame) = here.turn(now) {
                assert_eq!(there.open(now, &frame), Ok(None));
            }
            if let Some(frame) = there.turn(now) {
                assert_eq!(here.open(now, &frame), Ok(None));
            }
            let mut message = blob(&mut rng, 6_000);
            message.push(1);
            let (frame, read) = if coin(&mut rng) {
                let frame = here.seal(now, &message).unwrap();
                (frame.len(), there.open(now, &frame))
            } else {
                let frame = there.seal(now, &message).unwrap();
                (frame.len(), here.open(now, &frame))
            };
            assert!(FRAME_CLASSES.contains(&(frame - 16)));
            assert_eq!(read, Ok(Some(message)));
        }
        assert_eq!(here.open(now, &[0; 528]), Err(OpenFault::Expired));
    }
}

#[test]
fn a_changed_frame_never_opens() {
    let mut rng = rng(4);
    let relay = Relay::new(1);
    let (mut here, _) = relay.streams(Mono(0));
    for _ in 0..100 {
        let (mut other, mut there) = relay.streams(Mono(0));
        let mut frame = other.seal(Mono(0), &blob(&mut rng, 3_000)).unwrap();
        let place = below(&mut rng, frame.len());
        frame[place] ^= 1 << below(&mut rng, 8);
        assert_eq!(there.open(Mono(0), &frame), Err(OpenFault::Seal));
        // A frame of one stream in another.
        let strange = here.seal(Mono(0), b"x").unwrap();
        let other_relay = Relay::new(2).streams(Mono(0)).1;
        assert_eq!(
            { other_relay }.open(Mono(0), &strange),
            Err(OpenFault::Seal)
        );
    }
}

fn host(rng: &mut ChaCha20Rng) -> Host {
    let port = 1 + below(rng, 65_535);
    let name = match below(rng, 3) {
        0 => format!(
            "[{:x}:{:x}::{:x}]",
            below(rng, 65_536),
            below(rng, 65_536),
            below(rng, 65_536)
        ),
        1 => format!(
            "{}.{}.{}.{}",
            below(rng, 256),
            below(rng, 256),
            below(rng, 256),
            below(rng, 256)
        ),
        _ => (0..=below(rng, 3))
            .map(|_| label(rng, 12))
            .collect::<Vec<_>>()
            .join("."),
    };
    Host::parse(&format!("{name}:{port}")).unwrap()
}

fn label(rng: &mut ChaCha20Rng, len_max: usize) -> String {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789-";
    (0..=below(rng, len_max))
        .map(|_| char::from(LETTERS[below(rng, LETTERS.len())]))
        .collect()
}

/// Up to three, none of which [`host`] makes.
fn distinct_hosts(rng: &mut ChaCha20Rng) -> Vec<Host> {
    let number = below(rng, 4);
    let host = |number| Host::parse(&format!("[fd00::{number}]:443")).unwrap();
    (0..number).map(host).collect()
}

#[test]
fn addresses_and_links_are_read_as_they_were_written() {
    let mut rng = rng(5);
    for _ in 0..500 {
        let address = RelayAddress {
            host: host(&mut rng),
            others: distinct_hosts(&mut rng),
            identity: IdentityHash(bytes(&mut rng)),
            code: maybe(&mut rng, |rng| parse_access_code(&label(rng, 63)).unwrap()),
        };
        assert_eq!(RelayAddress::parse(&address.with_code()), Ok(address));
        let link = InviteLink {
            hosts: (0..=below(&mut rng, 4))
                .take(4)
                .map(|_| host(&mut rng))
                .collect(),
            relay: IdentityHash(bytes(&mut rng)),
            capability: Capability::new(bytes(&mut rng)),
            secret: secret(&mut rng),
            binding: InviteBinding(bytes(&mut rng)),
            expires: Wall(rng.next_u64()),
        };
        let text = link.to_text().unwrap();
        let read = InviteLink::parse(&text).unwrap();
        assert_eq!(read.to_text(), Ok(text));
        assert!(read.secret.same(&link.secret) && read.capability == link.capability);
        assert_eq!(
            (read.hosts, read.relay, read.expires),
            (link.hosts, link.relay, link.expires)
        );
    }
}

/// Two characters swapped are the commonest typing error.
#[test]
fn swapped_characters_in_a_link_show() {
    let mut rng = rng(6);
    let text = crate::link::link().to_text().unwrap();
    for _ in 0..500 {
        let place = "emptyroom:".len() + below(&mut rng, text.len() - 11);
        let mut swapped = text.clone().into_bytes();
        swapped.swap(place, place + 1);
        let swapped = String::from_utf8(swapped).unwrap();
        assert!(swapped == text || InviteLink::parse(&swapped).is_err());
    }
}
