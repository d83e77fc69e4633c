//! The TPM's structures as bytes: a writer for our own, a reader for whatever came back.
//!
//! Integers are big-endian; a sized buffer (`TPM2B`) is its length in two bytes and its bytes.

use zeroize::Zeroizing;

/// Bytes of a command or an answer at most: the kernel's own limit (`TPM_BUFSIZE`).
pub(crate) const MESSAGE_LEN_MAX: usize = 4096;

/// Bytes that are not what the specification says an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Builds a structure. What it holds may be secret, so it is zeroed and does not move.
pub(crate) struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    pub(crate) fn new() -> Self {
        Writer(Zeroizing::new(Vec::with_capacity(MESSAGE_LEN_MAX)))
    }

    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A sized buffer of `bytes`.
    pub(crate) fn sized(&mut self, bytes: &[u8]) -> &mut Self {
        let len = u16::try_from(bytes.len()).expect("what we send is shorter than a message");
        self.u16(len).bytes(bytes)
    }

    pub(crate) fn finish(&mut self) -> Zeroizing<Vec<u8>> {
        std::mem::take(&mut self.0)
    }
}

/// Takes a structure apart. Nothing of it is believed: every length is checked.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// A sized buffer of at most `max` bytes.
    pub(crate) fn sized(&mut self, max: usize) -> Result<&'a [u8], Malformed> {
        let len = usize::from(self.u16()?);
        if len > max {
            return Err(Malformed);
        }
        self.take(len)
    }

    /// A sized buffer of exactly `N` bytes.
    pub(crate) fn sized_array<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        self.sized(N)?.try_into().map_err(|_| Malformed)
    }

    /// Nothing may follow.
    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed)
        }
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let mut writer = Writer::new();
        let bytes = writer.u8(1).u16(2).u32(3).sized(b"four").finish();
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.u16(), Ok(2));
        assert_eq!(reader.u32(), Ok(3));
        assert_eq!(reader.sized(4), Ok(b"four".as_slice()));
        assert_eq!(reader.end(), Ok(()));
    }

    #[test]
    fn lengths_are_not_believed() {
        let short = [0, 5, 1, 2];
        assert_eq!(Reader::new(&short).sized(100), Err(Malformed));
        assert_eq!(Reader::new(&short).sized(4), Err(Malformed));
        assert_eq!(
            Reader::new(&[0, 2, 1, 2]).sized_array::<3>(),
            Err(Malformed)
        );
        assert_eq!(Reader::new(&[1]).u16(), Err(Malformed));
        assert_eq!(Reader::new(&[1]).end(), Err(Malformed));
    }
}
