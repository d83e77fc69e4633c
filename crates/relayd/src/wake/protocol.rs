//! What is said between a client of NATS and its server: lines, and payloads behind some of them.
//!
//! The little that a relay needs of it, by hand: a relay has one subscription for each open log, and in the client library each
//! takes 5 KB (decision 0031).

use serde::{Deserialize, Serialize};

use super::letter::Tag;

/// What stands before a log's name in subjects.
const PREFIX: &str = "emptyroom.";
/// The server's first line says much about itself.
const LINE_MAX: usize = 32 << 10;
/// More than any letter.
const PAYLOAD_MAX: usize = 64 << 10;
/// Characters of what it complains of.
const ERROR_MAX: usize = 200;

/// What a server says of itself, as far as it matters here.
#[derive(Deserialize, Debug, PartialEq, Eq)]
pub struct Info {
    /// It wants TLS.
    #[serde(default)]
    pub tls_required: bool,
}

/// Something that a server said.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// About itself.
    Info(Info),
    /// A message; none where the subject is none that a relay uses.
    Message(Option<Tag>, Vec<u8>),
    /// Is anybody there?
    Ping,
    /// All before the last ping was done.
    Pong,
    /// It is not content. The text holds what the client said at most.
    Error(String),
    /// It did something.
    Ok,
}

/// What a server said makes no sense.
#[derive(Debug, PartialEq, Eq)]
pub struct Nonsense;

/// What has come and was not understood yet.
#[derive(Default)]
pub struct Heard {
    bytes: Vec<u8>,
    /// So many were understood.
    done: usize,
}

impl Heard {
    /// More has come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.done);
        self.done = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next thing that was said whole.
    ///
    /// # Errors
    /// [`Nonsense`]: nothing after it can be understood.
    pub fn next_said(&mut self) -> Result<Option<Said>, Nonsense> {
        let rest = self.bytes.get(self.done..).unwrap_or_default();
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return if rest.len() > LINE_MAX {
                Err(Nonsense)
            } else {
                Ok(None)
            };
        };
        if end > LINE_MAX {
            return Err(Nonsense);
        }
        let (line, after) = rest.split_at_checked(end + 1).ok_or(Nonsense)?;
        let line = std::str::from_utf8(line).map_err(|_| Nonsense)?.trim_end();
        let (verb, what) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let (said, len) = match verb.to_ascii_uppercase().as_str() {
            "MSG" => {
                let (tag, len) = message_line(what)?;
                let Some(payload) = after.get(..len + 2) else {
                    return Ok(None);
                };
                let payload = payload.strip_suffix(b"\r\n").ok_or(Nonsense)?;
                (Said::Message(tag, payload.to_vec()), len + 2)
            }
            "PING" => (Said::Ping, 0),
            "PONG" => (Said::Pong, 0),
            "+OK" => (Said::Ok, 0),
            "-ERR" => (Said::Error(plain(what.trim_matches('\''))), 0),
            "INFO" => (
                Said::Info(serde_json::from_str(what).map_err(|_| Nonsense)?),
                0,
            ),
            _ => return Err(Nonsense),
        };
        self.done += end + 1 + len;
        Ok(Some(said))
    }
}

/// What a log may hold of it.
// [SPEC 6.128]
fn plain(text: &str) -> String {
    let plain = text.chars().filter(|c| matches!(c, ' '..='~'));
    plain.take(ERROR_MAX).collect()
}

/// `SUBJECT ID [REPLY] LENGTH`.
fn message_line(what: &str) -> Result<(Option<Tag>, usize), Nonsense> {
    let mut parts = what.split_ascii_whitespace();
    let subject = parts.next().ok_or(Nonsense)?;
    let len: usize = parts
        .next_back()
        .and_then(|len| len.parse().ok())
        .ok_or(Nonsense)?;
    if parts.next().is_none() || len > PAYLOAD_MAX {
        return Err(Nonsense);
    }
    Ok((subject.strip_prefix(PREFIX).and_then(tag_of), len))
}

/// Who may do what, as a file says it.
#[derive(Default, Serialize)]
pub struct Credentials<'a> {
    /// User and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    /// User and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass: Option<&'a str>,
    /// Instead of both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_token: Option<&'a str>,
}

#[derive(Serialize)]
struct Connect<'a> {
    verbose: bool,
    pedantic: bool,
    tls_required: bool,
    echo: bool,
    lang: &'a str,
    version: &'a str,
    protocol: u8,
    #[serde(flatten)]
    credentials: &'a Credentials<'a>,
}

/// Says who comes; what it publishes itself it does not want to hear.
///
/// # Errors
/// Never: these are plain words.
pub fn connect(
    credentials: &Credentials<'_>,
    tls: bool,
    out: &mut Vec<u8>,
) -> Result<(), Nonsense> {
    let connect = Connect {
        verbose: false,
        pedantic: false,
        tls_required: tls,
        echo: false,
        lang: "rust",
        version: env!("CARGO_PKG_VERSION"),
        protocol: 1,
        credentials,
    };
    let json = serde_json::to_string(&connect).map_err(|_| Nonsense)?;
    out.extend_from_slice(format!("CONNECT {json}\r\n").as_bytes());
    Ok(())
}

/// Wants what is published under this name. The name is the subscription's id, too.
pub fn subscribe(tag: Tag, out: &mut Vec<u8>) {
    let name = name(tag);
    out.extend_from_slice(format!("SUB {PREFIX}{name} {name}\r\n").as_bytes());
}

/// Wants it no more.
pub fn unsubscribe(tag: Tag, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("UNSUB {}\r\n", name(tag)).as_bytes());
}

/// Publishes something.
pub fn publish(tag: Tag, payload: &[u8], out: &mut Vec<u8>) {
    let (name, len) = (name(tag), payload.len());
    out.extend_from_slice(format!("PUB {PREFIX}{name} {len}\r\n").as_bytes());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// Asks for a [`Said::Pong`].
pub fn ping(out: &mut Vec<u8>) {
    out.extend_from_slice(b"PING\r\n");
}

/// Answers a [`Said::Ping`].
pub fn pong(out: &mut Vec<u8>) {
    out.extend_from_slice(b"PONG\r\n");
}

fn name(tag: Tag) -> String {
    tag.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn tag_of(name: &str) -> Option<Tag> {
    if name.len() != 32 || !name.is_ascii() {
        return None;
    }
    let mut tag = [0; 16];
    for (at, byte) in tag.iter_mut().enumerate() {
        *byte = u8::from_str_radix(name.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(Tag(tag))
}

/// Hands bytes in, in pieces: what a fuzzer looks for faults in.
pub(crate) fn hear_all(data: &[u8]) {
    let mut heard = Heard::default();
    for piece in data.chunks(7) {
        heard.push(piece);
        while let Ok(Some(_)) = heard.next_said() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Result<Vec<Said>, Nonsense> {
        let (mut heard, mut said) = (Heard::default(), Vec::new());
        for byte in text {
            heard.push(&[*byte]);
            while let Some(next) = heard.next_said()? {
                said.push(next);
            }
        }
        Ok(said)
    }

    #[test]
    fn what_a_server_says_is_understood_in_any_pieces() {
        let tag = Tag([0xab; 16]);
        let name = "ab".repeat(16);
        let text = format!(
            "INFO {{\"server_id\":\"x\",\"tls_required\":true}}\r\nPING\r\n+OK\r\n\
             MSG emptyroom.{name} {name} 4\r\n\r\nhi\r\nMSG other 1 reply 0\r\n\r\nPONG\r\n-ERR '\x1b[2Jno{}'\r\n",
            "x".repeat(ERROR_MAX)
        );
        let info = Info { tls_required: true };
        assert_eq!(
            all(text.as_bytes()),
            Ok(vec![
                Said::Info(info),
                Said::Ping,
                Said::Ok,
                Said::Message(Some(tag), b"\r\nhi".to_vec()),
                Said::Message(None, Vec::new()),
                Said::Pong,
                Said::Error(format!("[2Jno{}", "x".repeat(ERROR_MAX - 5))),
            ])
        );
    }

    #[test]
    fn nonsense_ends_it() {
        for text in [
            "HTTP/1.1 400 Bad Request\r\n",
            "MSG a\r\n",
            "MSG a 1\r\n",
            "MSG a 1 x\r\n",
            "MSG a 1 70000\r\n",
            "MSG a 1 2\r\nabXX",
            "INFO nothing\r\n",
            "\r\n",
        ] {
            assert_eq!(all(text.as_bytes()), Err(Nonsense), "{text:?}");
        }
        let mut heard = Heard::default();
        heard.push(&vec![b'x'; LINE_MAX + 1]);
        assert_eq!(heard.next_said(), Err(Nonsense));
    }

    #[test]
    fn what_a_client_says() {
        let mut out = Vec::new();
        let credentials = Credentials {
            user: Some("relay"),
            pass: Some("a\"b"),
            auth_token: None,
        };
        connect(&credentials, true, &mut out).unwrap();
        let tag = Tag([1; 16]);
        subscribe(tag, &mut out);
        publish(tag, b"x", &mut out);
        unsubscribe(tag, &mut out);
        let name = "01".repeat(16);
        let text = String::from_utf8(out).unwrap();
        let (connect, rest) = text.split_once("\r\n").unwrap();
        assert!(connect.contains("\"echo\":false") && connect.contains("\"pass\":\"a\\\"b\""));
        assert!(!connect.contains("auth_token"));
        assert_eq!(
            rest,
            format!(
                "SUB emptyroom.{name} {name}\r\nPUB emptyroom.{name} 1\r\nx\r\nUNSUB {name}\r\n"
            )
        );
    }
}
