//! What people hand each other as text: a scheme, then base32 of a version, content and a checksum.

use zeroize::Zeroizing;

use crate::address::{Host, HostText};
use crate::base32;
use crate::hash;
use crate::limits::LINK_TEXT_LEN_MAX;
use crate::link::LinkFault;

const CHECK_LEN: usize = 4;

/// One kind of it.
pub(crate) struct Form {
    pub(crate) scheme: &'static str,
    pub(crate) version: u8,
    /// The label of its checksum.
    pub(crate) check: &'static str,
}

impl Form {
    /// The text, in lower case.
    pub(crate) fn to_text(&self, content: &[u8]) -> String {
        let mut bytes = Zeroizing::new(vec![self.version]);
        bytes.extend_from_slice(content);
        let sum = self.sum(&bytes);
        bytes.extend_from_slice(&sum);
        format!("{}{}", self.scheme, base32::encode(&bytes))
    }

    /// The content, out of what somebody pasted.
    pub(crate) fn parse(&self, text: &str) -> Result<Zeroizing<Vec<u8>>, LinkFault> {
        // [SPEC 7.6] [SPEC 11.64]
        if text.len() > LINK_TEXT_LEN_MAX {
            return Err(LinkFault::NotALink);
        }
        let mut text = Zeroizing::new(text.chars().filter(|c| !is_noise(*c)).collect::<String>());
        text.make_ascii_lowercase();
        let body = text.strip_prefix(self.scheme).ok_or(LinkFault::NotALink)?;
        let bytes = Zeroizing::new(base32::decode(body).ok_or(LinkFault::Damaged)?);
        // [SPEC 7.7]
        let (content, sum) = bytes
            .split_last_chunk::<CHECK_LEN>()
            .ok_or(LinkFault::Damaged)?;
        if self.sum(content) != *sum {
            return Err(LinkFault::Damaged);
        }
        let (version, content) = content.split_first().ok_or(LinkFault::Damaged)?;
        if *version != self.version {
            return Err(LinkFault::Newer { version: *version });
        }
        Ok(Zeroizing::new(content.to_vec()))
    }

    fn sum(&self, bytes: &[u8]) -> [u8; CHECK_LEN] {
        let [a, b, c, d, ..] = hash::labelled(self.check, &[bytes]);
        [a, b, c, d]
    }
}

/// Where it leads: at least one host.
// [SPEC 7.5] [SPEC 11.64]
pub(crate) fn hosts(texts: &[HostText]) -> Result<Vec<Host>, LinkFault> {
    let hosts: Option<Vec<Host>> = texts.iter().map(HostText::host).collect();
    hosts
        .filter(|hosts| !hosts.is_empty())
        .ok_or(LinkFault::Invalid)
}

/// What copying adds: blanks, line breaks, invisible characters, brackets and quotes around.
fn is_noise(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}'
        )
        || matches!(
            c,
            '<' | '>' | '(' | ')' | '[' | ']' | '"' | '\'' | '`' | '.' | ',' | ';' | '*'
        )
        || matches!(c, '\u{2018}'..='\u{201f}')
}
