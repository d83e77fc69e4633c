//! A TPM spoken to by hand: what anybody on the machine can do, vault or not.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

pub const OWNER: u32 = 0x4000_0001;
pub const LOCKOUT: u32 = 0x4000_000A;
pub const NULL: u32 = 0x4000_0007;
const PASSWORD: u32 = 0x4000_0009;

pub const CLEAR: u32 = 0x126;
pub const CHANGE_AUTH: u32 = 0x129;
pub const DEFINE: u32 = 0x12A;
pub const UNDEFINE: u32 = 0x122;
pub const CREATE_PRIMARY: u32 = 0x131;
pub const NV_WRITE: u32 = 0x137;
pub const LOCKOUT_PARAMETERS: u32 = 0x13A;
pub const SEQUENCE_COMPLETE: u32 = 0x13E;
pub const POLICY_SECRET: u32 = 0x151;
pub const CREATE: u32 = 0x153;
pub const HMAC: u32 = 0x155;
pub const LOAD: u32 = 0x157;
pub const HMAC_START: u32 = 0x15B;
pub const SIGN: u32 = 0x15D;
pub const UNSEAL: u32 = 0x15E;
pub const CONTEXT_LOAD: u32 = 0x161;
pub const CONTEXT_SAVE: u32 = 0x162;
pub const FLUSH: u32 = 0x165;
pub const READ_PUBLIC: u32 = 0x169;
pub const COMMAND_CODE: u32 = 0x16C;
pub const START_SESSION: u32 = 0x176;
pub const CAPABILITY: u32 = 0x17A;
pub const POLICY_DIGEST: u32 = 0x189;

/// Who authorizes each handle that needs it.
pub enum By<'a> {
    Password(&'a [u8]),
    /// A policy session without a key, so without a code.
    Policy(u32),
}

pub const EMPTY: By<'static> = By::Password(&[]);

pub struct Raw(UnixStream);

impl Raw {
    pub fn new(socket: &Path) -> Raw {
        Raw(UnixStream::connect(socket).unwrap())
    }

    /// The code of the answer, and what follows its head.
    pub fn send(
        &mut self,
        command: u32,
        handles: &[u32],
        by: &[By<'_>],
        parameters: &[u8],
    ) -> (u32, Vec<u8>) {
        let mut auths = Vec::new();
        for by in by {
            match by {
                By::Password(password) => {
                    auths.extend(cat(&[&u32s(&[PASSWORD]), &[0, 0, 0], &sized(password)]));
                }
                By::Policy(session) => {
                    auths.extend(cat(&[&u32s(&[*session]), &[0, 0], &[1], &[0, 0]]));
                }
            }
        }
        let mut body = u32s(handles);
        if !by.is_empty() {
            body.extend(u32s(&[auths.len() as u32]));
            body.extend(auths);
        }
        body.extend(parameters);
        let tag: [u8; 2] = if by.is_empty() { [0x80, 1] } else { [0x80, 2] };
        let message = cat(&[&tag, &u32s(&[10 + body.len() as u32, command]), &body]);
        self.0.write_all(&message).unwrap();
        let mut head = [0; 10];
        self.0.read_exact(&mut head).unwrap();
        let len = u32::from_be_bytes(head[2..6].try_into().unwrap()) as usize;
        let mut rest = vec![0; len - 10];
        self.0.read_exact(&mut rest).unwrap();
        (u32::from_be_bytes(head[6..].try_into().unwrap()), rest)
    }

    /// The same, which must work.
    pub fn done(
        &mut self,
        command: u32,
        handles: &[u32],
        by: &[By<'_>],
        parameters: &[u8],
    ) -> Vec<u8> {
        let (code, rest) = self.send(command, handles, by, parameters);
        assert_eq!(code, 0, "{command:#x} refused with {code:#x}");
        rest
    }

    /// The same for a command that answers the handle of what it loaded.
    pub fn loaded(
        &mut self,
        command: u32,
        handles: &[u32],
        by: &[By<'_>],
        parameters: &[u8],
    ) -> u32 {
        let rest = self.done(command, handles, by, parameters);
        u32::from_be_bytes(rest[..4].try_into().unwrap())
    }

    /// An index's public area, without its length.
    pub fn index_public(&mut self, index: u32) -> Vec<u8> {
        let rest = self.done(READ_PUBLIC, &[index], &[], &[]);
        let len = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        rest[2..2 + len].to_vec()
    }

    pub fn define(&mut self, public: &[u8]) -> u32 {
        let parameters = cat(&[&sized(&[]), &sized(public)]);
        self.send(DEFINE, &[OWNER], &[EMPTY], &parameters).0
    }

    pub fn undefine(&mut self, index: u32) {
        self.done(UNDEFINE, &[OWNER, index], &[EMPTY], &[]);
    }

    /// An open policy session.
    pub fn policy(&mut self) -> u32 {
        let parameters = cat(&[&sized(&[7; 32]), &sized(&[]), &[1], &[0, 0x10], &[0, 0x0B]]);
        self.loaded(START_SESSION, &[NULL, NULL], &[], &parameters)
    }

    /// The index authorizes the session. The expiry is in seconds, 0 for none.
    pub fn policy_secret(&mut self, entity: u32, session: u32, expiry: i32) -> (u32, Vec<u8>) {
        let parameters = cat(&[&[0; 6], &expiry.to_be_bytes()]);
        self.send(POLICY_SECRET, &[entity, session], &[EMPTY], &parameters)
    }

    pub fn command_code(&mut self, session: u32, command: u32) {
        self.done(COMMAND_CODE, &[session], &[], &u32s(&[command]));
    }

    pub fn flush(&mut self, handle: u32) {
        self.done(FLUSH, &[handle], &[], &[]);
    }

    /// What is loaded: objects and sessions.
    pub fn all_loaded(&mut self) -> Vec<u32> {
        let mut all = Vec::new();
        for first in [0x8000_0000, 0x0200_0000, 0x0300_0000] {
            let answer = self.done(CAPABILITY, &[], &[], &u32s(&[1, first, 10]));
            let handles = answer[9..]
                .chunks(4)
                .map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap()));
            all.extend(handles);
        }
        all
    }

    /// What the kernel does when a program closes the device.
    pub fn flush_all(&mut self) {
        for handle in self.all_loaded() {
            self.flush(handle);
        }
    }

    /// The primary key that enrolments are under.
    pub fn primary(&mut self) -> u32 {
        let template = cat(&[
            &[0, 0x23, 0, 0x0B, 0, 3, 4, 0x72, 0, 0],
            &[0, 6, 0, 128, 0, 0x43, 0, 0x10, 0, 3, 0, 0x10],
            &sized(&[0; 32]),
            &sized(&[0; 32]),
        ]);
        let parameters = cat(&[&sized(&[0; 4]), &sized(&template), &[0; 6]]);
        self.loaded(CREATE_PRIMARY, &[OWNER], &[EMPTY], &parameters)
    }
}

pub fn u32s(values: &[u32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect()
}

pub fn sized(bytes: &[u8]) -> Vec<u8> {
    cat(&[&(bytes.len() as u16).to_be_bytes(), bytes])
}

pub fn cat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// The key's two halves from an encoded enrolment, as its parts stand in it.
pub fn key_of(enrolment: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut rest = &enrolment[1 + 4 + 34..];
    let mut next = || {
        let len = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        let part = rest[2..2 + len].to_vec();
        rest = &rest[2 + len..];
        part
    };
    (next(), next())
}
