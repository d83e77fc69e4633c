//! The way to the TPM: the kernel's device, or the socket of a TPM in software.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::wire::{MESSAGE_LEN_MAX, Reader};

/// How long a socket may take for one answer. (The kernel has its own limit for each command.)
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes before a message's body: tag, size, code.
pub(crate) const HEAD_LEN: usize = 10;

/// Commands go in, answers come out.
pub(crate) trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

pub(crate) struct Channel<'a>(Box<dyn Stream + 'a>);

impl<'a> Channel<'a> {
    /// # Errors
    /// `NotFound` where there is no TPM, `PermissionDenied` where we may not use it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if fs::metadata(path)?.file_type().is_socket() {
            let socket = UnixStream::connect(path)?;
            socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            socket.set_write_timeout(Some(ANSWER_TIMEOUT))?;
            return Ok(Channel::over(socket));
        }
        Ok(Channel::over(
            OpenOptions::new().read(true).write(true).open(path)?,
        ))
    }

    pub(crate) fn over(stream: impl Stream + 'a) -> Self {
        Channel(Box::new(stream))
    }

    /// Sends one command and reads its answer, as long as its head says.
    ///
    /// # Errors
    /// `InvalidData` when the answer is longer or shorter than a message can be.
    pub(crate) fn exchange(&mut self, command: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
        self.0.write_all(command)?;
        let mut answer = Zeroizing::new(vec![0; MESSAGE_LEN_MAX]);
        let mut have = 0;
        loop {
            let len = match answer.get(..have).and_then(announced) {
                // [SPEC 11.37]
                Some(len) if !(HEAD_LEN..=MESSAGE_LEN_MAX).contains(&len) || have > len => {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                Some(len) if have == len => break,
                Some(len) => len,
                // A device hands out a whole answer in one read: it is offered all the space.
                None => MESSAGE_LEN_MAX,
            };
            let space = answer.get_mut(have..len).unwrap_or_default();
            match self.0.read(space) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => have += count,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return Err(why),
            }
        }
        answer.truncate(have);
        Ok(answer)
    }
}

/// The length that a message's head says, once the head is there.
fn announced(bytes: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(bytes.get(..HEAD_LEN)?);
    reader.u16().ok()?;
    usize::try_from(reader.u32().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives what it holds in the pieces that were asked for.
    struct Piecewise(Vec<Vec<u8>>);

    impl Read for Piecewise {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            out[..piece.len()].copy_from_slice(&piece);
            Ok(piece.len())
        }
    }

    impl Write for Piecewise {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn answer(pieces: &[&[u8]]) -> Result<Vec<u8>, io::ErrorKind> {
        let pieces = pieces.iter().map(|piece| piece.to_vec()).collect();
        match Channel::over(Piecewise(pieces)).exchange(b"command") {
            Ok(answer) => Ok(answer.to_vec()),
            Err(why) => Err(why.kind()),
        }
    }

    #[test]
    fn an_answer_is_as_long_as_its_head_says() {
        let whole: &[u8] = &[0x80, 1, 0, 0, 0, 12, 0, 0, 0, 0, 7, 7];
        assert_eq!(answer(&[whole]), Ok(whole.to_vec()));
        assert_eq!(
            answer(&[&whole[..3], &whole[3..11], &whole[11..]]),
            Ok(whole.to_vec())
        );
    }

    // [SPEC 11.37]
    #[test]
    fn lengths_that_cannot_be_are_refused() {
        let invalid = Err(io::ErrorKind::InvalidData);
        let head = |len: u32| {
            let mut head = vec![0x80, 1];
            head.extend_from_slice(&len.to_be_bytes());
            head.extend_from_slice(&[0; 4]);
            head
        };
        assert_eq!(answer(&[&head(9)]), invalid);
        assert_eq!(answer(&[&head(0)]), invalid);
        assert_eq!(answer(&[&head(4097)]), invalid);
        assert_eq!(answer(&[&head(u32::MAX)]), invalid);
        let longer = [head(10), vec![1]].concat();
        assert_eq!(answer(&[&longer]), invalid);
        assert_eq!(answer(&[&head(11)]), Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(answer(&[]), Err(io::ErrorKind::UnexpectedEof));
    }
}
