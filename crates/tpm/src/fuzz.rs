//! What comes from outside, as plain functions that must not panic, whatever they are given.

use std::convert::Infallible;
use std::io::{self, Read, Write};

use rand_core::{TryCryptoRng, TryRng};

use crate::channel::Channel;
use crate::connection::Connection;
use crate::enrolment::{Enrolment, Place};
use crate::secret::{ResetSecret, Stretched};
use crate::tpm;
use crate::wire::Reader;

/// An enrolment as it lies on the disk. What decodes must encode to the same bytes.
pub fn fuzz_enrolment(data: &[u8]) {
    if let Ok(enrolment) = Enrolment::decode(data) {
        assert_eq!(enrolment.encode(), data, "one encoding per enrolment");
    }
}

/// The answers of a TPM to one operation: its number, the enrolment (sized), and the answers one
/// after the other. Says whether the operation succeeded, as it does with what a TPM answered to
/// the same nonces and keys.
pub fn fuzz_answers(data: &[u8]) -> bool {
    let mut reader = Reader::new(data);
    let (Ok(operation), Ok(enrolment)) = (reader.u8(), reader.sized(usize::MAX)) else {
        return false;
    };
    let channel = Channel::over(Answers(reader.rest()));
    let mut rng = Sevens;
    carry_out(
        operation,
        enrolment,
        &mut Connection::over(channel, &mut rng, |_| {}),
    )
}

fn carry_out(operation: u8, enrolment: &[u8], connection: &mut Connection<'_>) -> bool {
    let place = Place::from_number(PLACE).expect("it is an owner's");
    let enrolment = Enrolment::decode(enrolment);
    match (operation, enrolment) {
        (ENROL, _) => tpm::enrol(connection, place).is_ok(),
        (SHARE, Ok(of)) => tpm::share(connection, &of, &Stretched::new(&[1; 32])).is_ok(),
        (RESET, Ok(of)) => tpm::reset(connection, &of, &ResetSecret::new(&[7; 32])).is_ok(),
        (TRIES, Ok(of)) => tpm::tries(connection, &of).is_ok(),
        (DESTROY, _) => tpm::destroy(connection, place).is_ok(),
        _ => false,
    }
}

const ENROL: u8 = 0;
const SHARE: u8 = 1;
const RESET: u8 = 2;
const TRIES: u8 = 3;
const DESTROY: u8 = 4;
const PLACE: u32 = 0x0180_0007;

/// Takes any command and answers with what there is.
struct Answers<'a>(&'a [u8]);

impl Read for Answers<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        // As a device: one answer for one reading, not what follows it.
        let len = self
            .0
            .get(2..6)
            .and_then(|len| len.try_into().ok())
            .map(u32::from_be_bytes);
        let len = len
            .and_then(|len| usize::try_from(len).ok())
            .unwrap_or(usize::MAX);
        let (mut answer, rest) = self
            .0
            .split_at(len.clamp(1, self.0.len().max(1)).min(self.0.len()));
        self.0 = rest;
        answer.read(out)
    }
}

impl Write for Answers<'_> {
    fn write(&mut self, command: &[u8]) -> io::Result<usize> {
        Ok(command.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// No randomness at all, so that recorded answers are right again.
pub(crate) struct Sevens;

impl TryRng for Sevens {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(0x0707_0707)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(0x0707_0707_0707_0707)
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.fill(7);
        Ok(())
    }
}

impl TryCryptoRng for Sevens {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swtpm::Swtpm;
    use std::cell::RefCell;
    use std::os::unix::net::UnixStream;
    use std::path::Path;

    /// Keeps what is read.
    struct Recorder<'a>(UnixStream, &'a RefCell<Vec<u8>>);

    impl Read for Recorder<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = self.0.read(out)?;
            self.1.borrow_mut().extend_from_slice(&out[..count]);
            Ok(count)
        }
    }

    impl Write for Recorder<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }

    /// Writes the corpus anew if `EMPTYROOM_WRITE_GOLDEN` is set, as it must be after a change of
    /// what is sent.
    #[test]
    fn a_recorded_operation_succeeds_again() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz-corpus/answers");
        if std::env::var_os("EMPTYROOM_WRITE_GOLDEN").is_some() {
            record(&corpus);
        }
        for name in ["enrol", "share", "reset", "tries", "destroy"] {
            let recorded = std::fs::read(corpus.join(name)).unwrap();
            assert!(fuzz_answers(&recorded), "{name}");
            assert!(
                !fuzz_answers(&recorded[..recorded.len() * 9 / 10]),
                "{name}, cut"
            );
        }
    }

    fn record(corpus: &Path) {
        let swtpm = Swtpm::start().unwrap().expect("swtpm is installed");
        let answers = RefCell::new(Vec::new());
        let mut rng = Sevens;
        let place = Place::from_number(PLACE).unwrap();
        let connect = || {
            Channel::over(Recorder(
                UnixStream::connect(swtpm.socket()).unwrap(),
                &answers,
            ))
        };
        let (enrolment, _) =
            tpm::enrol(&mut Connection::over(connect(), &mut rng, |_| {}), place).unwrap();
        let enrolment = enrolment.encode();
        let names = ["enrol", "share", "reset", "tries", "destroy"];
        for (operation, name) in (0..).zip(names) {
            if operation != ENROL {
                answers.borrow_mut().clear();
                let mut connection = Connection::over(connect(), &mut rng, |_| {});
                assert!(carry_out(operation, &enrolment, &mut connection), "{name}");
            }
            let len = u16::try_from(enrolment.len()).unwrap().to_be_bytes();
            let input = [&[operation], &len[..], &enrolment, &answers.borrow()].concat();
            std::fs::write(corpus.join(name), input).unwrap();
        }
        std::fs::write(corpus.join("../enrolment/whole"), enrolment).unwrap();
    }
}
