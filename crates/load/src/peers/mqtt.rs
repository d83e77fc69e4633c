//! MQTT 3.1.1 as a client of the comparison speaks it: QoS 1 both ways, sessions that outlive the connection for recipients.

use super::Trouble;
use super::client::{Dialect, Event, Events, Role};
use std::collections::VecDeque;

/// First bytes of packets: the type in the high half, its flags in the low one.
const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH_QOS_1: u8 = 0x32;
const PUBACK: u8 = 0x40;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;
const DISCONNECT: u8 = 0xe0;
/// `CONNECT`: forget the session when the connection ends.
const CLEAN_SESSION: u8 = 0x02;
/// `SUBACK`: subscribed with QoS 1.
const GRANTED_QOS_1: u8 = 1;

/// The state of one client.
pub(super) struct Mqtt {
    role: Role,
    /// The last packet id that was used.
    packet_id: u16,
    /// What waits for its acknowledgement.
    sent: VecDeque<(u16, u64)>,
}

impl Mqtt {
    pub(super) fn new(role: Role) -> Mqtt {
        Mqtt {
            role,
            packet_id: 0,
            sent: VecDeque::new(),
        }
    }

    fn next_id(&mut self) -> u16 {
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        self.packet_id
    }

    fn packet(
        &mut self,
        kind: u8,
        body: &[u8],
        out: &mut Vec<u8>,
        events: &mut Events,
    ) -> Result<(), Trouble> {
        match (kind & 0xf0, body) {
            (CONNACK, [_, 0]) => match self.role {
                Role::Sender(_) => events.push_back(Event::Ready),
                Role::Recipient(mailbox) => {
                    let mut body = self.next_id().to_be_bytes().to_vec();
                    put_text(&topic(mailbox), &mut body);
                    body.push(1);
                    put_packet(SUBSCRIBE, &[&body], out);
                }
            },
            (CONNACK, [_, code]) => {
                return Err(format!("MQTT refused the login: code {code}").into());
            }
            (SUBACK, [_, _, GRANTED_QOS_1]) => events.push_back(Event::Ready),
            (PUBACK, [high, low]) => {
                let id = u16::from_be_bytes([*high, *low]);
                let place = self.sent.iter().position(|(sent, _)| *sent == id);
                let sent = place.and_then(|place| self.sent.remove(place));
                let (_, token) = sent.ok_or("MQTT acknowledged what was not sent")?;
                events.push_back(Event::Acknowledged(token));
            }
            (0x30, _) => {
                let (id, payload) = published(kind, body).ok_or("MQTT published without QoS 1")?;
                put_packet(PUBACK, &[&id], out);
                events.push_back(Event::Delivered(payload.to_vec()));
            }
            _ => return Err(format!("MQTT sent an unexpected packet of type {kind:#x}").into()),
        }
        Ok(())
    }
}

impl Dialect for Mqtt {
    fn open(&mut self, out: &mut Vec<u8>) {
        let (name, flags) = match self.role {
            Role::Sender(number) => (format!("s{number}"), CLEAN_SESSION),
            Role::Recipient(mailbox) => (format!("r{mailbox}"), 0),
        };
        let mut body = Vec::new();
        put_text("MQTT", &mut body);
        // Level 4 is 3.1.1; no keep-alive.
        body.extend([4, flags, 0, 0]);
        put_text(&name, &mut body);
        put_packet(CONNECT, &[&body], out);
    }

    fn send(&mut self, token: u64, mailbox: u32, payload: &[u8], out: &mut Vec<u8>) {
        let id = self.next_id();
        self.sent.push_back((id, token));
        let mut head = Vec::new();
        put_text(&topic(mailbox), &mut head);
        head.extend(id.to_be_bytes());
        put_packet(PUBLISH_QOS_1, &[&head, payload], out);
    }

    fn receive(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        events: &mut Events,
    ) -> Result<usize, Trouble> {
        let mut rest = input;
        while let Some((kind, body, after)) = whole_packet(rest)? {
            self.packet(kind, body, out, events)?;
            rest = after;
        }
        Ok(input.len() - rest.len())
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        put_packet(DISCONNECT, &[], out);
    }
}

fn topic(mailbox: u32) -> String {
    format!("m/{mailbox}")
}

/// The first packet of the input, and what follows it; `None` while it is not whole.
#[allow(clippy::type_complexity)]
fn whole_packet(input: &[u8]) -> Result<Option<(u8, &[u8], &[u8])>, Trouble> {
    let Some((kind, mut rest)) = input.split_first() else {
        return Ok(None);
    };
    let mut len = 0;
    for shift in [0, 7, 14, 21] {
        let Some((byte, after)) = rest.split_first() else {
            return Ok(None);
        };
        rest = after;
        len |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let parts = rest.split_at_checked(len);
            return Ok(parts.map(|(body, after)| (*kind, body, after)));
        }
    }
    Err("MQTT sent a length of more than four bytes".into())
}

/// Packet id and payload of a `PUBLISH` with QoS 1.
fn published(kind: u8, body: &[u8]) -> Option<([u8; 2], &[u8])> {
    if kind & 0x06 != 0x02 {
        return None;
    }
    let (len, rest) = body.split_first_chunk::<2>()?;
    let (_, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    let (id, payload) = rest.split_first_chunk::<2>()?;
    Some((*id, payload))
}

fn put_packet(kind: u8, parts: &[&[u8]], out: &mut Vec<u8>) {
    out.push(kind);
    let mut len: usize = parts.iter().map(|part| part.len()).sum();
    loop {
        let low = u8::try_from(len & 0x7f).unwrap_or_default();
        len >>= 7;
        if len == 0 {
            out.push(low);
            break;
        }
        out.push(low | 0x80);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// A text with its length before it; ours are short.
fn put_text(text: &str, out: &mut Vec<u8>) {
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend(len.to_be_bytes());
    out.extend(text.bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_taken_when_it_is_whole_and_acknowledged() {
        let mut sender = Mqtt::new(Role::Sender(0));
        let mut sent = Vec::new();
        sender.send(77, 5, &[9; 200], &mut sent);
        // Two bytes of length: what a server delivers looks the same as what was sent to it.
        assert_eq!(sent.get(..3), Some(&[0x32, 0xcf, 0x01][..]));
        let mut recipient = Mqtt::new(Role::Recipient(5));
        let (mut out, mut events) = (Vec::new(), Events::new());
        for len in 0..sent.len() {
            let taken = recipient.receive(&sent[..len], &mut out, &mut events);
            assert_eq!(taken.unwrap(), 0);
        }
        let taken = recipient.receive(&sent, &mut out, &mut events).unwrap();
        assert_eq!(taken, sent.len());
        assert_eq!(events.pop_front(), Some(Event::Delivered(vec![9; 200])));
        assert_eq!(out, [0x40, 2, 0, 1]);
        sender.receive(&out, &mut Vec::new(), &mut events).unwrap();
        assert_eq!(events.pop_front(), Some(Event::Acknowledged(77)));
        assert!(sender.receive(&out, &mut Vec::new(), &mut events).is_err());
    }

    #[test]
    fn a_refused_login_and_a_refused_subscription_are_errors() {
        let mut client = Mqtt::new(Role::Recipient(1));
        for refusal in [&[0x20, 2, 0, 5][..], &[0x90, 3, 0, 1, 0x80]] {
            let answer = client.receive(refusal, &mut Vec::new(), &mut Events::new());
            assert!(answer.is_err(), "{refusal:?}");
        }
    }
}
