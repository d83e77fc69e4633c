//! The commands that are used, by their numbers, and what the TPM answers when it does not carry one out.

use crate::error::Fault;

/// A command code (`TPM2` part 2, 6.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    NvUndefineSpace = 0x122,
    NvDefineSpace = 0x12A,
    CreatePrimary = 0x131,
    NvWrite = 0x137,
    NvRead = 0x14E,
    PolicySecret = 0x151,
    Create = 0x153,
    Hmac = 0x155,
    Load = 0x157,
    FlushContext = 0x165,
    NvReadPublic = 0x169,
    PolicyCommandCode = 0x16C,
    StartAuthSession = 0x176,
}

impl Command {
    pub(crate) const fn code(self) -> u32 {
        self as u32
    }

    /// As the specification spells it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Command::NvUndefineSpace => "TPM2_NV_UndefineSpace",
            Command::NvDefineSpace => "TPM2_NV_DefineSpace",
            Command::CreatePrimary => "TPM2_CreatePrimary",
            Command::NvWrite => "TPM2_NV_Write",
            Command::NvRead => "TPM2_NV_Read",
            Command::PolicySecret => "TPM2_PolicySecret",
            Command::Create => "TPM2_Create",
            Command::Hmac => "TPM2_HMAC",
            Command::Load => "TPM2_Load",
            Command::FlushContext => "TPM2_FlushContext",
            Command::NvReadPublic => "TPM2_NV_ReadPublic",
            Command::PolicyCommandCode => "TPM2_PolicyCommandCode",
            Command::StartAuthSession => "TPM2_StartAuthSession",
        }
    }

    /// Whether the answer begins with the handle of something that is now loaded.
    pub(crate) const fn answers_handle(self) -> bool {
        matches!(
            self,
            Command::CreatePrimary | Command::Load | Command::StartAuthSession
        )
    }
}

/// What a response code other than zero means (`TPM2` part 2, 6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nothing was done; the same command may work a little later.
    Later,
    /// The authorization is wrong, or not to be had.
    Auth,
    /// A handle in the command stands for nothing.
    NoHandle,
    /// An index is there already.
    Defined,
    /// No space for indexes.
    NoSpace,
    /// The TPM's dictionary attack protection is up.
    Lockout,
    /// A hierarchy is switched off.
    Disabled,
    /// The TPM does not know this command.
    Unknown,
    /// The TPM does not take these attributes.
    Attributes,
    /// Anything else.
    Other,
}

impl Refusal {
    pub(crate) fn of(code: u32) -> Refusal {
        const FORMAT_ONE: u32 = 0x80;
        // A format-one code names the parameter, handle or session in its other bits.
        if code & FORMAT_ONE != 0 {
            return match code & 0x3F {
                0x0B => Refusal::NoHandle,
                0x0E | 0x22 => Refusal::Auth,
                0x02 => Refusal::Attributes,
                0x05 => Refusal::Disabled,
                _ => Refusal::Other,
            };
        }
        match code {
            0x120 => Refusal::Disabled,
            0x12F => Refusal::Auth,
            0x143 => Refusal::Unknown,
            0x14B => Refusal::NoSpace,
            0x14C => Refusal::Defined,
            0x921 => Refusal::Lockout,
            // Warnings: too much is loaded, testing, rate of writes, retry.
            0x901..=0x90A | 0x920 | 0x922 | 0x923 => Refusal::Later,
            _ => Refusal::Other,
        }
    }
}

/// A command that did not do what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The TPM said so.
    Refused(Command, u32),
    /// It did not come to that.
    Fault(Fault),
}

impl Failure {
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self {
            Failure::Refused(_, code) => Some(Refusal::of(*code)),
            Failure::Fault(_) => None,
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Failure::Fault(fault)
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        let (command, code) = match failure {
            Failure::Fault(fault) => return fault,
            Failure::Refused(command, code) => (command, code),
        };
        // The owner authorizes these, with an empty password.
        let by_owner = matches!(
            command,
            Command::CreatePrimary
                | Command::NvDefineSpace
                | Command::NvUndefineSpace
                | Command::NvRead
        );
        match Refusal::of(code) {
            Refusal::Later => Fault::Busy,
            Refusal::Lockout => Fault::Lockout,
            Refusal::Disabled => Fault::Disabled,
            Refusal::Unknown => Fault::Unsupported,
            Refusal::Attributes if command == Command::NvDefineSpace => Fault::Unsupported,
            Refusal::Auth if by_owner => Fault::OwnerPassword,
            _ => Fault::Refused(command.name(), code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // [SPEC 11.36]
    #[test]
    fn codes_say_what_to_do() {
        let known = [
            (0x922, Refusal::Later),
            (0x90A, Refusal::Later),
            (0x920, Refusal::Later),
            (0x902, Refusal::Later),
            (0x921, Refusal::Lockout),
            (0x18B, Refusal::NoHandle),
            (0x28B, Refusal::NoHandle),
            (0x98E, Refusal::Auth),
            (0x9A2, Refusal::Auth),
            (0x12F, Refusal::Auth),
            (0x14A, Refusal::Other),
            (0x14B, Refusal::NoSpace),
            (0x14C, Refusal::Defined),
            (0x2C2, Refusal::Attributes),
            (0x143, Refusal::Unknown),
            (0x185, Refusal::Disabled),
            (0x1DF, Refusal::Other),
        ];
        for (code, refusal) in known {
            assert_eq!(Refusal::of(code), refusal, "{code:#x}");
        }
        let fault = |command, code| Fault::from(Failure::Refused(command, code));
        assert_eq!(fault(Command::CreatePrimary, 0x9A2), Fault::OwnerPassword);
        assert_eq!(
            fault(Command::Hmac, 0x9A2),
            Fault::Refused("TPM2_HMAC", 0x9A2)
        );
        assert_eq!(fault(Command::Hmac, 0x922), Fault::Busy);
    }
}
