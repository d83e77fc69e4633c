//! Frames on a byte carrier such as TCP: a length of four bytes before each.
//!
//! Incremental and bounded: bytes come in as they arrive, whole frames go out. A length that is
//! larger than the limit of the moment is a fault before any of the frame is kept. No buffer is held
//! between frames.

/// What a carrier over TLS names these frames by; a relay hangs up on whoever does not.
pub const ALPN: &[u8] = b"emptyroom/1";

/// The peer's fault: hang up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingFault {
    /// The announced length is above the limit.
    TooLong,
    /// A frame without bytes.
    Empty,
}

/// Cuts incoming bytes into frames.
pub struct Deframer {
    buffer: Vec<u8>,
    /// How much of `buffer` was given out already.
    taken: usize,
    len_max: usize,
}

const PREFIX_LEN: usize = 4;
/// What may be given out before the rest of the buffer is moved to its front, bytes.
const COMPACT_LEN: usize = 64 << 10;

impl Deframer {
    /// Takes frames of at most `len_max` bytes.
    #[must_use]
    pub fn new(len_max: usize) -> Self {
        Deframer {
            buffer: Vec::new(),
            taken: 0,
            len_max,
        }
    }

    /// From now on takes frames of at most `len_max` bytes.
    pub fn set_len_max(&mut self, len_max: usize) {
        self.len_max = len_max;
    }

    /// Takes bytes as they arrived. Drain [`Deframer::next_frame`] after each call: at most one
    /// unfinished frame and one read's worth of bytes are then ever held.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if there is one.
    ///
    /// # Errors
    /// [`FramingFault`]: nothing more can be read from this connection.
    pub fn next_frame(&mut self) -> Result<Option<Vec<u8>>, FramingFault> {
        let waiting = self.buffer.get(self.taken..).unwrap_or_default();
        let Some((prefix, rest)) = waiting.split_first_chunk::<PREFIX_LEN>() else {
            self.compact();
            return Ok(None);
        };
        let len =
            usize::try_from(u32::from_be_bytes(*prefix)).map_err(|_| FramingFault::TooLong)?;
        // [SPEC 5.16]
        if len > self.len_max {
            return Err(FramingFault::TooLong);
        }
        if len == 0 {
            return Err(FramingFault::Empty);
        }
        let Some(frame) = rest.get(..len).map(<[u8]>::to_vec) else {
            self.compact();
            return Ok(None);
        };
        self.taken += PREFIX_LEN + len;
        if self.taken == self.buffer.len() {
            self.buffer = Vec::new();
            self.taken = 0;
        } else if self.taken >= COMPACT_LEN {
            self.compact();
        }
        Ok(Some(frame))
    }

    /// Bytes held for an unfinished frame.
    #[must_use]
    pub fn held_len(&self) -> usize {
        self.buffer.len() - self.taken
    }

    fn compact(&mut self) {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
    }
}

/// A frame with its length before it, for one write.
///
/// # Errors
/// [`FramingFault`] if the frame is empty or longer than [`crate::limits::CARRIER_FRAME_LEN_MAX`]:
/// our caller's mistake.
pub fn framed(frame: &[u8]) -> Result<Vec<u8>, FramingFault> {
    if frame.is_empty() {
        return Err(FramingFault::Empty);
    }
    if frame.len() > crate::limits::CARRIER_FRAME_LEN_MAX {
        return Err(FramingFault::TooLong);
    }
    let len = u32::try_from(frame.len()).map_err(|_| FramingFault::TooLong)?;
    let mut out = Vec::with_capacity(PREFIX_LEN + frame.len());
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(frame);
    Ok(out)
}

impl core::fmt::Display for FramingFault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            FramingFault::TooLong => "a frame is longer than allowed here",
            FramingFault::Empty => "a frame without bytes",
        })
    }
}

impl std::error::Error for FramingFault {}
