//! XMPP as a client of the comparison speaks it: an account made in passing, SASL PLAIN, stream management both ways.
//!
//! A sender is answered by stream management (XEP-0198): after each message it asks how many the server has
//! handled. A recipient answers the server's own such questions. The payload is text that needs no escapes, and stands in
//! `<body>` as it is.

use super::Trouble;
use super::certificate::HOST;
use super::client::{Dialect, Event, Events, Role};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::VecDeque;

/// Everybody's password; the server is alone on its machine and lives for minutes.
const PASSWORD: &str = "bench";
/// Stream management counts stanzas modulo 2^32.
const COUNT_MASK: u64 = 0xffff_ffff;

/// How far the login is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Register,
    Login,
    Bind,
    Ready,
}

/// The state of one client.
pub(super) struct Xmpp {
    role: Role,
    name: String,
    stage: Stage,
    /// Tokens that the server has not answered for, in the order they were sent.
    sent: VecDeque<u64>,
    /// How many stanzas the server has answered for, and how many it sent.
    answered: u64,
    received: u64,
}

impl Xmpp {
    pub(super) fn new(role: Role) -> Xmpp {
        let name = match role {
            Role::Sender(number) => format!("s{number}"),
            Role::Recipient(mailbox) => account(mailbox),
        };
        Xmpp {
            role,
            name,
            stage: Stage::Register,
            sent: VecDeque::new(),
            answered: 0,
            received: 0,
        }
    }

    /// The parts of the login follow one another: each answer leads to the next request.
    fn login(&mut self, element: &Element<'_>, out: &mut Vec<u8>) -> Result<(), Trouble> {
        match (self.stage, element.name) {
            (_, "stream:stream") => {}
            (Stage::Register, "stream:features") => put(
                &format!(
                    "<iq type='set' id='register'><query xmlns='jabber:iq:register'><username>{}</username><password>{PASSWORD}</password></query></iq>",
                    self.name
                ),
                out,
            ),
            // An account that is there already is as good.
            (Stage::Register, "iq")
                if element.text.contains("type='result'") || element.text.contains("<conflict") =>
            {
                let secret = STANDARD.encode(format!("\0{}\0{PASSWORD}", self.name));
                put(
                    &format!(
                        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{secret}</auth>"
                    ),
                    out,
                );
                self.stage = Stage::Login;
            }
            (Stage::Login, "success") => {
                put_header(out);
                self.stage = Stage::Bind;
            }
            (Stage::Bind, "stream:features") => put(
                "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>bench</resource></bind></iq>",
                out,
            ),
            (Stage::Bind, "iq") if element.text.contains("type='result'") => {
                put("<enable xmlns='urn:xmpp:sm:3'/>", out);
                // Only who says that he is there is sent messages.
                if matches!(self.role, Role::Recipient(_)) {
                    put("<presence/>", out);
                }
            }
            (Stage::Bind, "enabled") => self.stage = Stage::Ready,
            _ => return Err(format!("XMPP login as {}: {}", self.name, element.text).into()),
        }
        Ok(())
    }

    fn stanza(
        &mut self,
        element: &Element<'_>,
        out: &mut Vec<u8>,
        events: &mut Events,
    ) -> Result<(), Trouble> {
        match element.name {
            "r" => put(
                &format!(
                    "<a xmlns='urn:xmpp:sm:3' h='{}'/>",
                    self.received & COUNT_MASK
                ),
                out,
            ),
            "a" => {
                let count: u64 = between(element.text, "h='", "'")
                    .ok_or("XMPP answered without a count")?
                    .parse()?;
                let news = count.wrapping_sub(self.answered) & COUNT_MASK;
                for _ in 0..news {
                    let token = self.sent.pop_front();
                    let token = token.ok_or("XMPP acknowledged what was not sent")?;
                    events.push_back(Event::Acknowledged(token));
                }
                self.answered = count;
            }
            "message" => {
                self.received += 1;
                let body = between(element.text, "<body>", "</body>");
                match body.filter(|_| !element.text.contains("type='error'")) {
                    Some(body) => events.push_back(Event::Delivered(body.into())),
                    None => return Err(format!("XMPP sent: {}", element.text).into()),
                }
            }
            // The recipient's own presence comes back to it: from now on it is sent messages.
            "presence" => {
                self.received += 1;
                events.push_back(Event::Ready);
            }
            "iq" => self.received += 1,
            _ => return Err(format!("XMPP sent: {}", element.text).into()),
        }
        Ok(())
    }
}

impl Dialect for Xmpp {
    fn open(&mut self, out: &mut Vec<u8>) {
        put_header(out);
    }

    fn send(&mut self, token: u64, mailbox: u32, payload: &[u8], out: &mut Vec<u8>) {
        let (to, body) = (account(mailbox), String::from_utf8_lossy(payload));
        put(
            &format!(
                "<message to='{to}@{HOST}' type='chat'><body>{body}</body></message><r xmlns='urn:xmpp:sm:3'/>"
            ),
            out,
        );
        self.sent.push_back(token);
    }

    fn receive(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        events: &mut Events,
    ) -> Result<usize, Trouble> {
        // All that is expected is ASCII, so no character is ever cut in two.
        let input = std::str::from_utf8(input)?;
        let mut rest = input;
        while let Some((element, after)) = Element::first(rest)? {
            if self.stage == Stage::Ready {
                self.stanza(&element, out, events)?;
            } else {
                self.login(&element, out)?;
                // Recipients wait for their own presence.
                if self.stage == Stage::Ready && matches!(self.role, Role::Sender(_)) {
                    events.push_back(Event::Ready);
                }
            }
            rest = after;
        }
        Ok(input.len() - rest.len())
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        put("</stream:stream>", out);
    }
}

fn account(mailbox: u32) -> String {
    format!("r{mailbox}")
}

fn put(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(text.as_bytes());
}

fn put_header(out: &mut Vec<u8>) {
    put(
        &format!(
            "<?xml version='1.0'?><stream:stream to='{HOST}' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
        ),
        out,
    );
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(inside, _)| inside)
}

/// A whole element right below the stream's root, or the head of the stream itself.
#[derive(Debug, PartialEq, Eq)]
struct Element<'a> {
    name: &'a str,
    text: &'a str,
}

impl Element<'_> {
    /// The first element, and what follows it; `None` while it is not whole. The server escapes `<` and `>`
    /// wherever they are not markup.
    fn first(input: &str) -> Result<Option<(Element<'_>, &str)>, Trouble> {
        let (mut depth, mut at) = (0_usize, 0);
        let mut name = "";
        while let Some((start, end)) = tag(input, at) {
            let inside = input.get(start + 1..end).unwrap_or_default();
            at = end + 1;
            if inside.starts_with('?') {
                continue;
            }
            if inside == "/stream:stream" {
                return Err("XMPP closed the stream".into());
            }
            if depth == 0 {
                let stop = inside.find(['/', ' ']).unwrap_or(inside.len());
                name = inside.get(..stop).unwrap_or_default();
            }
            if inside.starts_with('/') {
                depth = depth
                    .checked_sub(1)
                    .ok_or("XMPP closed what was not open")?;
            } else if !inside.ends_with('/') && inside.split(' ').next() != Some("stream:stream") {
                depth += 1;
            }
            if depth == 0 {
                let (text, after) = input.split_at(at);
                return Ok(Some((Element { name, text }, after)));
            }
        }
        Ok(None)
    }
}

/// Where the next tag starts and ends.
fn tag(input: &str, from: usize) -> Option<(usize, usize)> {
    let start = from + input.get(from..)?.find('<')?;
    let end = start + input.get(start..)?.find('>')?;
    Some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_taken_when_they_are_whole() {
        let input = "<?xml version='1.0'?><stream:stream id='1'><a h='3'/> <m><b>x</b><c/></m>";
        let mut rest = input;
        let mut names = Vec::new();
        while let Some((element, after)) = Element::first(rest).unwrap() {
            names.push(element.name);
            rest = after;
        }
        assert_eq!((names, rest), (vec!["stream:stream", "a", "m"], ""));
        assert_eq!(Element::first("<m><b>x</b><c/></m").unwrap(), None);
        assert!(Element::first("</stream:stream>").is_err());
        assert!(Element::first("</m>").is_err());
    }

    #[test]
    fn a_sender_counts_what_the_server_answers_for() {
        let mut sender = Xmpp::new(Role::Sender(0));
        sender.stage = Stage::Ready;
        let (mut out, mut events) = (Vec::new(), Events::new());
        for token in [5, 6, 7] {
            sender.send(token, 1, b"hello", &mut out);
        }
        let answer = b"<a xmlns='urn:xmpp:sm:3' h='2'/>";
        sender.receive(answer, &mut out, &mut events).unwrap();
        let expected = [Event::Acknowledged(5), Event::Acknowledged(6)];
        assert_eq!(Vec::from(events), expected);
        let too_many = b"<a xmlns='urn:xmpp:sm:3' h='4'/>";
        let answer = sender.receive(too_many, &mut out, &mut Events::new());
        assert!(answer.is_err());
    }

    #[test]
    fn a_recipient_answers_for_what_came_and_an_error_is_one() {
        let mut recipient = Xmpp::new(Role::Recipient(0));
        recipient.stage = Stage::Ready;
        let (mut out, mut events) = (Vec::new(), Events::new());
        let input = b"<message to='r0'><body>hello</body></message><r xmlns='urn:xmpp:sm:3'/>";
        recipient.receive(input, &mut out, &mut events).unwrap();
        assert_eq!(events.pop_front(), Some(Event::Delivered(b"hello".into())));
        assert_eq!(out, b"<a xmlns='urn:xmpp:sm:3' h='1'/>");
        let full = b"<message type='error'><body>hello</body></message>";
        assert!(recipient.receive(full, &mut out, &mut events).is_err());
    }
}
