//! One connection to the TPM: commands with their sessions, again while the TPM is busy, and nothing
//! of ours left in it at the end.

use std::io;
use std::path::Path;
use std::time::Duration;

use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::channel::{Channel, HEAD_LEN};
use crate::command::{Command, Failure, Refusal};
use crate::error::Fault;
use crate::session::{DECRYPT, ENCRYPT, HASH_LEN, Session};
use crate::wire::{Malformed, Reader, Writer};

const TAG_NO_SESSIONS: u16 = 0x8001;
const TAG_SESSIONS: u16 = 0x8002;
/// "Authorized by a password", and a session that is none.
const PASSWORD: u32 = 0x4000_0009;

/// A busy TPM is asked again after this long, twice as long each time, up to the longest: some four
/// seconds in all.
const RETRY_FIRST: Duration = Duration::from_millis(5);
const RETRY_LONGEST: Duration = Duration::from_millis(640);
const RETRIES_MAX: u32 = 12;

/// Who authorizes a command.
pub(crate) enum Auth<'a> {
    /// Nobody needs to.
    None,
    /// The object's password, which is empty.
    Empty,
    /// A session, with the object's password and the session's attributes.
    Session(&'a mut Session, &'a [u8], u8),
}

/// One command before it is sent. `names` are those of its handles.
pub(crate) struct Request<'a> {
    pub(crate) command: Command,
    pub(crate) handles: &'a [u32],
    pub(crate) names: &'a [&'a [u8]],
    pub(crate) auth: Auth<'a>,
    pub(crate) parameters: Zeroizing<Vec<u8>>,
}

/// What came back: the handle, where the command gives one, and the parameters.
pub(crate) struct Answer {
    pub(crate) handle: u32,
    pub(crate) parameters: Zeroizing<Vec<u8>>,
}

pub(crate) struct Connection<'a> {
    channel: Channel<'a>,
    pub(crate) rng: &'a mut dyn CryptoRng,
    /// What is loaded, to be flushed.
    loaded: Vec<u32>,
    /// Waits while the TPM is busy.
    pause: fn(Duration),
}

impl<'a> Connection<'a> {
    pub(crate) fn open(path: &Path, rng: &'a mut dyn CryptoRng) -> Result<Self, Fault> {
        Ok(Connection::over(
            Channel::open(path)?,
            rng,
            std::thread::sleep,
        ))
    }

    pub(crate) fn over(
        channel: Channel<'a>,
        rng: &'a mut dyn CryptoRng,
        pause: fn(Duration),
    ) -> Self {
        Connection {
            channel,
            rng,
            loaded: Vec::new(),
            pause,
        }
    }

    /// Carries out one command, again while the TPM is busy. Its session, if it has one, ends.
    pub(crate) fn run(&mut self, request: Request<'_>) -> Result<Answer, Failure> {
        let Request {
            command,
            handles,
            names,
            mut auth,
            mut parameters,
        } = request;
        let message = self.message(command, handles, names, &mut auth, &mut parameters);
        let answer = self.until_ready(command, &message)?;
        let malformed = |Malformed| Fault::Malformed(command.name());
        let mut reader = Reader::new(&answer);
        let tag = reader.u16().map_err(malformed)?;
        reader.take(4).map_err(malformed)?;
        let code = reader.u32().map_err(malformed)?;
        // [SPEC 11.37]
        if code != 0 {
            return Err(Failure::Refused(command, code));
        }
        let mut handle = 0;
        if command.answers_handle() {
            handle = reader.u32().map_err(malformed)?;
            self.loaded.push(handle);
        }
        let parameters = match auth {
            Auth::None if tag == TAG_NO_SESSIONS => Zeroizing::new(reader.rest().to_vec()),
            Auth::Empty if tag == TAG_SESSIONS => {
                let (parameters, auths) = split(reader).map_err(malformed)?;
                // A password has an empty nonce and an empty code.
                if auths.len() != 5 {
                    return Err(malformed(Malformed).into());
                }
                parameters
            }
            Auth::Session(session, value, attributes) if tag == TAG_SESSIONS => {
                let (mut parameters, auths) = split(reader).map_err(malformed)?;
                let hash = hash_of(&[
                    &code.to_be_bytes(),
                    &command.code().to_be_bytes(),
                    &parameters,
                ]);
                // [SPEC 11.33]
                if !verified(session, value, &hash, auths).map_err(malformed)? {
                    return Err(Fault::Altered(command.name()).into());
                }
                self.loaded.retain(|loaded| *loaded != session.handle);
                if attributes & ENCRYPT != 0 {
                    let first = first_parameter(&mut parameters).ok_or(malformed(Malformed))?;
                    session.decrypt(value, first);
                }
                parameters
            }
            _ => return Err(malformed(Malformed).into()),
        };
        Ok(Answer { handle, parameters })
    }

    /// A command's bytes; its first parameter is encrypted where the session says so.
    fn message(
        &mut self,
        command: Command,
        handles: &[u32],
        names: &[&[u8]],
        auth: &mut Auth<'_>,
        parameters: &mut [u8],
    ) -> Zeroizing<Vec<u8>> {
        let mut auths = Writer::new();
        match auth {
            Auth::None => {}
            Auth::Empty => {
                auths.u32(PASSWORD).sized(&[]).u8(0).sized(&[]);
            }
            Auth::Session(session, value, attributes) => {
                let nonce = session.begin(self.rng);
                if *attributes & DECRYPT != 0
                    && let Some(first) = first_parameter(parameters)
                {
                    session.encrypt(value, first);
                }
                let mut hash = Sha256::new().chain_update(command.code().to_be_bytes());
                names.iter().for_each(|name| hash.update(name));
                let hash = hash.chain_update(&*parameters).finalize();
                let code = session.sign(value, &hash, *attributes);
                auths
                    .u32(session.handle)
                    .sized(&nonce)
                    .u8(*attributes)
                    .sized(&code);
            }
        }
        let auths = auths.finish();
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("what we send is short");
        let mut body = Writer::new();
        for handle in handles {
            body.u32(*handle);
        }
        if !auths.is_empty() {
            body.u32(len(&auths)).bytes(&auths);
        }
        let body = body.bytes(parameters).finish();
        let tag = if auths.is_empty() {
            TAG_NO_SESSIONS
        } else {
            TAG_SESSIONS
        };
        let mut message = Writer::new();
        message
            .u16(tag)
            .u32(len(&[0; HEAD_LEN]) + len(&body))
            .u32(command.code());
        message.bytes(&body).finish()
    }

    fn until_ready(
        &mut self,
        command: Command,
        message: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let mut wait = RETRY_FIRST;
        for _ in 0..RETRIES_MAX {
            let answer = self.channel.exchange(message).map_err(|why| {
                // Nothing more is asked of a channel that failed.
                self.loaded.clear();
                match why.kind() {
                    io::ErrorKind::InvalidData => Fault::Malformed(command.name()),
                    _ => Fault::from(why),
                }
            })?;
            let mut reader = Reader::new(&answer);
            let code = reader.take(6).and_then(|_| reader.u32());
            // [SPEC 11.36] Nothing was done, so the same bytes are right again, nonce and all.
            match code.map(Refusal::of) {
                Ok(Refusal::Later) => {}
                _ => return Ok(answer),
            }
            (self.pause)(wait);
            wait = (2 * wait).min(RETRY_LONGEST);
        }
        Err(Fault::Busy)
    }

    /// Takes one thing of ours out of the TPM. That it is gone already is as good.
    pub(crate) fn flush(&mut self, handle: u32) {
        self.loaded.retain(|loaded| *loaded != handle);
        let _ = self.run(Request {
            command: Command::FlushContext,
            handles: &[handle],
            names: &[],
            auth: Auth::None,
            parameters: Zeroizing::default(),
        });
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        // The kernel would do the same when the device is closed; a TPM in software does not.
        while let Some(handle) = self.loaded.pop() {
            self.flush(handle);
        }
    }
}

/// The parameters of an answer with sessions, and its authorizations.
fn split(mut reader: Reader<'_>) -> Result<(Zeroizing<Vec<u8>>, &[u8]), Malformed> {
    let len = usize::try_from(reader.u32()?).map_err(|_| Malformed)?;
    let parameters = Zeroizing::new(reader.take(len)?.to_vec());
    Ok((parameters, reader.rest()))
}

/// Whether an answer's one authorization is the session's, over this hash.
fn verified(
    session: &mut Session,
    value: &[u8],
    hash: &[u8],
    auths: &[u8],
) -> Result<bool, Malformed> {
    let mut reader = Reader::new(auths);
    let nonce = reader.sized_array::<HASH_LEN>()?;
    let attributes = reader.u8()?;
    let code = reader.sized_array::<HASH_LEN>()?;
    reader.end()?;
    Ok(session.verify(value, hash, *nonce, attributes, code))
}

/// The bytes of a first parameter that is a sized buffer.
fn first_parameter(parameters: &mut [u8]) -> Option<&mut [u8]> {
    let (len, rest) = parameters.split_first_chunk_mut::<2>()?;
    rest.get_mut(..usize::from(u16::from_be_bytes(*len)))
}

fn hash_of(parts: &[&[u8]]) -> [u8; HASH_LEN] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}
