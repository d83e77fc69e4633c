//! The dozen commands with their types, and the few rows of them that the operations share.

use zeroize::Zeroizing;

use crate::command::{Command, Failure, Refusal};
use crate::connection::{Answer, Auth, Connection, Request};
use crate::enrolment::{Blob, Enrolment, PRIVATE_LEN_MAX, PUBLIC_LEN_MAX, Place};
use crate::error::Fault;
use crate::object::{self, AES_BITS, ALG_AES, ALG_CFB, ALG_SHA256, INDEX_LEN, NAME_LEN, Name};
use crate::secret::{ResetSecret, Share, Stretched};
use crate::session::{DECRYPT, ENCRYPT, HASH_LEN, Salt, Session};
use crate::tpm::{TRIES, Tries};
use crate::wire::{Malformed, Reader, Writer};

const OWNER: u32 = 0x4000_0001;
const NULL: u32 = 0x4000_0007;

/// What a session is for (`TPM_SE`).
#[derive(Clone, Copy)]
enum Kind {
    Hmac = 0,
    Policy = 1,
}

/// The primary key, loaded.
pub(crate) struct Primary {
    handle: u32,
    pub(crate) name: Name,
    point: ([u8; HASH_LEN], [u8; HASH_LEN]),
}

/// A key of ours, loaded.
pub(crate) struct Loaded {
    handle: u32,
    name: Name,
}

impl Connection<'_> {
    /// Public area of the index at `place`, if there is one.
    pub(crate) fn index_public(&mut self, place: Place) -> Result<Option<Vec<u8>>, Fault> {
        let answer = self.run(Request {
            command: Command::NvReadPublic,
            handles: &[place.number()],
            names: &[],
            auth: Auth::None,
            parameters: Zeroizing::default(),
        });
        match answer {
            Ok(answer) => parsed(Command::NvReadPublic, index_of(&answer.parameters)).map(Some),
            Err(failure) if failure.refusal() == Some(Refusal::NoHandle) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Whether the index of this enrolment is there, just as it was made.
    pub(crate) fn has_index(&mut self, enrolment: &Enrolment) -> Result<bool, Fault> {
        Ok(self.index_public(enrolment.place())? == Some(enrolment.index()))
    }

    /// Makes the primary key, which is the same one every time.
    pub(crate) fn primary(&mut self) -> Result<Primary, Failure> {
        let command = Command::CreatePrimary;
        let answer = self.run(Request {
            command,
            handles: &[OWNER],
            names: &[],
            auth: Auth::Empty,
            parameters: creation(&object::primary_template(), &[]),
        })?;
        let mut reader = Reader::new(&answer.parameters);
        let public = parsed(command, reader.sized(PUBLIC_LEN_MAX))?;
        Ok(Primary {
            handle: answer.handle,
            name: object::name(public),
            point: parsed(command, object::primary_point(public))?,
        })
    }

    /// The primary key, if it is that of the enrolment.
    pub(crate) fn pinned(&mut self, enrolment: &Enrolment) -> Result<Primary, Fault> {
        let primary = self.primary()?;
        // [SPEC 11.33]
        if primary.name == enrolment.primary {
            Ok(primary)
        } else {
            Err(Fault::OtherTpm)
        }
    }

    /// Makes a key under the primary, with this password. Nothing stays in the TPM.
    pub(crate) fn create(
        &mut self,
        primary: &Primary,
        template: &[u8],
        password: &[u8],
    ) -> Result<Blob, Failure> {
        let command = Command::Create;
        let mut session = self.session(primary, Kind::Hmac)?;
        let answer = self.run(Request {
            command,
            handles: &[primary.handle],
            names: &[&primary.name],
            auth: Auth::Session(&mut session, &[], DECRYPT),
            parameters: creation(template, password),
        })?;
        let mut reader = Reader::new(&answer.parameters);
        let blob = Blob {
            private: parsed(command, reader.sized(PRIVATE_LEN_MAX))?.to_vec(),
            public: parsed(command, reader.sized(PUBLIC_LEN_MAX))?.to_vec(),
        };
        if !object::is_made_of(&blob.public, template) {
            return Err(Fault::Malformed(command.name()).into());
        }
        Ok(blob)
    }

    /// Loads one of the keys that [`Connection::create`] made.
    pub(crate) fn load(&mut self, primary: &Primary, blob: &Blob) -> Result<Loaded, Fault> {
        let answer = self.run(Request {
            command: Command::Load,
            handles: &[primary.handle],
            names: &[],
            auth: Auth::Empty,
            parameters: Writer::new()
                .sized(&blob.private)
                .sized(&blob.public)
                .finish(),
        })?;
        Ok(Loaded {
            handle: answer.handle,
            name: blob.name(),
        })
    }

    /// A session whose policy is to be fulfilled.
    pub(crate) fn policy_session(&mut self, primary: &Primary) -> Result<Session, Fault> {
        Ok(self.session(primary, Kind::Policy)?)
    }

    fn session(&mut self, primary: &Primary, kind: Kind) -> Result<Session, Failure> {
        // [SPEC 11.33]
        let salt = Salt::new(&primary.point, self.rng)
            .map_err(|_| Fault::Malformed(Command::CreatePrimary.name()))?;
        let mut nonce = [0; HASH_LEN];
        self.rng.fill_bytes(&mut nonce);
        let answer = self.start(primary.handle, kind, &nonce, &salt.point)?;
        let mut reader = Reader::new(&answer.parameters);
        let nonce_tpm = parsed(Command::StartAuthSession, reader.sized_array())?;
        Ok(Session::new(answer.handle, &salt, nonce, *nonce_tpm))
    }

    fn start(
        &mut self,
        key: u32,
        kind: Kind,
        nonce: &[u8],
        point: &[u8],
    ) -> Result<Answer, Failure> {
        let mut parameters = Writer::new();
        parameters.sized(nonce).sized(point).u8(kind as u8);
        parameters
            .u16(ALG_AES)
            .u16(AES_BITS)
            .u16(ALG_CFB)
            .u16(ALG_SHA256);
        self.run(Request {
            command: Command::StartAuthSession,
            handles: &[key, NULL],
            names: &[],
            auth: Auth::None,
            parameters: parameters.finish(),
        })
    }

    /// Lets the index authorize the policy session, for which it counts one try.
    pub(crate) fn count(&mut self, place: Place, policy: &Session) -> Result<(), Failure> {
        self.run(Request {
            command: Command::PolicySecret,
            handles: &[place.number(), policy.handle],
            names: &[],
            auth: Auth::Empty,
            parameters: policy_secret(),
        })?;
        Ok(())
    }

    /// Narrows the policy session to one command.
    pub(crate) fn only_for(&mut self, policy: &Session, command: Command) -> Result<(), Failure> {
        self.run(Request {
            command: Command::PolicyCommandCode,
            handles: &[policy.handle],
            names: &[],
            auth: Auth::None,
            parameters: Writer::new().u32(command.code()).finish(),
        })?;
        Ok(())
    }

    /// Asks the key, and ends the policy session.
    pub(crate) fn hmac(
        &mut self,
        key: &Loaded,
        policy: &mut Session,
        s: &Stretched,
    ) -> Result<Share, Fault> {
        // [SPEC 11.32]
        let answer = self.run(Request {
            command: Command::Hmac,
            handles: &[key.handle],
            names: &[&key.name],
            auth: Auth::Session(policy, &[], DECRYPT | ENCRYPT),
            parameters: Writer::new().sized(s.expose()).u16(ALG_SHA256).finish(),
        })?;
        let mut reader = Reader::new(&answer.parameters);
        let share = parsed(Command::Hmac, reader.sized_array())?;
        parsed(Command::Hmac, reader.end())?;
        Ok(Share::new(share))
    }

    /// Writes "none used, so many allowed" to the index of this name, by the gate's password.
    pub(crate) fn write(
        &mut self,
        place: Place,
        index: &Name,
        primary: &Primary,
        gate: &Loaded,
        secret: &ResetSecret,
    ) -> Result<(), Failure> {
        // [SPEC 11.34]
        let mut policy = self.session(primary, Kind::Policy)?;
        let mut session = self.session(primary, Kind::Hmac)?;
        self.run(Request {
            command: Command::PolicySecret,
            handles: &[gate.handle, policy.handle],
            names: &[&gate.name, &policy.handle.to_be_bytes()],
            auth: Auth::Session(&mut session, secret.expose(), 0),
            parameters: policy_secret(),
        })?;
        self.only_for(&policy, Command::NvWrite)?;
        let pin = Writer::new().u32(0).u32(TRIES).finish();
        self.run(Request {
            command: Command::NvWrite,
            handles: &[place.number(), place.number()],
            names: &[index, index],
            auth: Auth::Session(&mut policy, &[], 0),
            parameters: Writer::new().sized(&pin).u16(0).finish(),
        })?;
        Ok(())
    }

    /// Makes the index that this gate guards. It holds nothing yet, and authorizes nothing.
    pub(crate) fn define(&mut self, place: Place, gate: &Name) -> Result<(), Failure> {
        let public = object::index_public(place.number(), gate, false);
        self.run(Request {
            command: Command::NvDefineSpace,
            handles: &[OWNER],
            names: &[],
            auth: Auth::Empty,
            parameters: Writer::new().sized(&[]).sized(&public).finish(),
        })?;
        Ok(())
    }

    /// Writes the new index for the first time and makes the key that it gates.
    pub(crate) fn fill(
        &mut self,
        place: Place,
        primary: &Primary,
        gate: &Blob,
        secret: &ResetSecret,
    ) -> Result<Blob, Failure> {
        let gate = self.load(primary, gate)?;
        let index =
            |written| object::name(&object::index_public(place.number(), &gate.name, written));
        self.write(place, &index(false), primary, &gate, secret)?;
        let policy = object::secret_policy(&index(true), Command::Hmac);
        self.create(primary, &object::key_template(&policy), &[])
    }

    pub(crate) fn tries(&mut self, place: Place) -> Result<Tries, Fault> {
        let command = Command::NvRead;
        let answer = self.run(Request {
            command,
            handles: &[OWNER, place.number()],
            names: &[],
            auth: Auth::Empty,
            parameters: Writer::new().u16(INDEX_LEN).u16(0).finish(),
        })?;
        let mut reader = Reader::new(&answer.parameters);
        let pin: &[u8; 8] = parsed(command, reader.sized_array())?;
        let mut pin = Reader::new(pin);
        Ok(Tries {
            used: parsed(command, pin.u32())?,
            limit: parsed(command, pin.u32())?,
        })
    }

    pub(crate) fn undefine(&mut self, place: Place) -> Result<(), Failure> {
        self.run(Request {
            command: Command::NvUndefineSpace,
            handles: &[OWNER, place.number()],
            names: &[],
            auth: Auth::Empty,
            parameters: Zeroizing::default(),
        })?;
        Ok(())
    }

    /// Counts tries until there are none.
    pub(crate) fn use_up(&mut self, place: Place) -> Result<(), Fault> {
        let nonce = [0; HASH_LEN];
        let policy = self.start(NULL, Kind::Policy, &nonce, &[])?.handle;
        for _ in 0..TRIES {
            let counted = self.run(Request {
                command: Command::PolicySecret,
                handles: &[place.number(), policy],
                names: &[],
                auth: Auth::Empty,
                parameters: policy_secret(),
            });
            match counted {
                Ok(_) => {}
                Err(failure) if failure.refusal() == Some(Refusal::Auth) => return Ok(()),
                Err(failure) => return Err(failure.into()),
            }
        }
        Ok(())
    }
}

fn parsed<T>(command: Command, result: Result<T, Malformed>) -> Result<T, Fault> {
    result.map_err(|Malformed| Fault::Malformed(command.name()))
}

/// Parameters of `TPM2_CreatePrimary` and `TPM2_Create`.
fn creation(template: &[u8], password: &[u8]) -> Zeroizing<Vec<u8>> {
    let sensitive = Writer::new().sized(password).sized(&[]).finish();
    let mut parameters = Writer::new();
    parameters
        .sized(&sensitive)
        .sized(template)
        .sized(&[])
        .u32(0);
    parameters.finish()
}

/// Parameters of `TPM2_PolicySecret`: this session, any command, no reference, once.
fn policy_secret() -> Zeroizing<Vec<u8>> {
    Writer::new()
        .sized(&[])
        .sized(&[])
        .sized(&[])
        .u32(0)
        .finish()
}

/// The index's public area from an answer that has its name as well.
fn index_of(parameters: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut reader = Reader::new(parameters);
    let public = reader.sized(PUBLIC_LEN_MAX)?;
    let name = reader.sized_array::<NAME_LEN>()?;
    reader.end()?;
    if object::name(public) == *name {
        Ok(public.to_vec())
    } else {
        Err(Malformed)
    }
}
