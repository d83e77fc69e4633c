//! One direction of a stream: a key, a counter, and when the key was first used.
//!
//! `flags ‖ length 3 ‖ message ‖ zeros` under ChaCha20-Poly1305 with the counter as nonce. Flag 1
//! says that the sender turns its key after this frame; the receiver does the same, and both forget
//! the old one.

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{OpenFault, SealFault};
use crate::aead::Once;
use crate::derive::expand;
use crate::limits::{FRAME_CLASSES, FRAME_HEAD_LEN, FRAME_TAG_LEN, STREAM_RATCHET_MS};
use crate::secret::Secret32;
use crate::time::Mono;

const TURN: &str = "emptyroom v1 stream turn";
const FLAG_TURN: u8 = 1;

/// Inline and not boxed: a relay keeps very many of these, inside one box per stream.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Direction {
    key: [u8; 32],
    /// Frames under this key so far.
    counter: u64,
    /// When the first of them was sealed; kept by the sealing end only.
    #[zeroize(skip)]
    used_at: Mono,
}

impl Direction {
    pub(super) fn new(key: Secret32) -> Self {
        Direction {
            key: *key.expose(),
            counter: 0,
            used_at: Mono(0),
        }
    }

    /// Seals a message, which comes in parts; turns the key with it if that is due.
    pub(super) fn seal(&mut self, now: Mono, message: &[&[u8]]) -> Result<Vec<u8>, SealFault> {
        if self.counter == 0 {
            self.used_at = now;
        }
        // [SPEC 5.11]
        let turn = self.turn_at().is_some_and(|at| now >= at);
        let frame = self.seal_frame(if turn { FLAG_TURN } else { 0 }, message)?;
        if turn {
            self.turn_key();
        }
        Ok(frame)
    }

    /// An empty frame that turns the key, if it has carried traffic for long enough.
    pub(super) fn turn(&mut self, now: Mono) -> Option<Vec<u8>> {
        let due = self.turn_at().is_some_and(|at| now >= at);
        due.then(|| self.seal(now, &[]).ok()).flatten()
    }

    /// When the key must be turned; never while it is unused.
    pub(super) fn turn_at(&self) -> Option<Mono> {
        (self.counter > 0).then(|| self.used_at.plus_ms(STREAM_RATCHET_MS))
    }

    /// The message of a frame, opened where it stands; `None` if it holds none.
    pub(super) fn open<'f>(&mut self, frame: &'f mut [u8]) -> Result<Option<&'f [u8]>, OpenFault> {
        let class = frame
            .len()
            .checked_sub(FRAME_TAG_LEN)
            .ok_or(OpenFault::Class)?;
        // [SPEC 5.14]
        if !FRAME_CLASSES.contains(&class) {
            return Err(OpenFault::Class);
        }
        // [SPEC 5.13]
        let plain = self.once().open(&[], frame).ok_or(OpenFault::Seal)?;
        self.counter = self.counter.checked_add(1).ok_or(OpenFault::Seal)?;
        let (flags, message) = unframe(plain)?;
        if flags == FLAG_TURN {
            self.turn_key();
        }
        Ok((!message.is_empty()).then_some(message))
    }

    fn seal_frame(&mut self, flags: u8, message: &[&[u8]]) -> Result<Vec<u8>, SealFault> {
        let len: usize = message.iter().map(|part| part.len()).sum();
        let whole = len.saturating_add(FRAME_HEAD_LEN);
        // [SPEC 5.14]
        let class = FRAME_CLASSES
            .into_iter()
            .find(|class| whole <= *class)
            .ok_or(SealFault::TooLong)?;
        let len = u32::try_from(len).map_err(|_| SealFault::TooLong)?;
        let [_, len @ ..] = len.to_be_bytes();
        let mut frame = Vec::with_capacity(class + FRAME_TAG_LEN);
        frame.push(flags);
        frame.extend_from_slice(&len);
        message
            .iter()
            .for_each(|part| frame.extend_from_slice(part));
        frame.resize(class, 0);
        let tag = self
            .once()
            .seal(&[], &mut frame)
            .map_err(|_| SealFault::TooLong)?;
        frame.extend_from_slice(&tag);
        self.counter = self.counter.checked_add(1).ok_or(SealFault::Expired)?;
        Ok(frame)
    }

    fn turn_key(&mut self) {
        let next: Secret32 = expand(&self.key, TURN, &[]);
        self.key.copy_from_slice(next.expose());
        self.counter = 0;
    }

    /// The counter is the nonce.
    fn once(&self) -> Once {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.counter.to_be_bytes());
        Once::new(&self.key, nonce)
    }
}

/// Flags and message out of an opened frame.
pub(super) fn unframe(plain: &[u8]) -> Result<(u8, &[u8]), OpenFault> {
    let ([flags, a, b, c], rest) = plain.split_first_chunk().ok_or(OpenFault::Frame)?;
    let len = u32::from_be_bytes([0, *a, *b, *c]);
    let len = usize::try_from(len).map_err(|_| OpenFault::Frame)?;
    // [SPEC 5.15]
    let (message, zeros) = rest.split_at_checked(len).ok_or(OpenFault::Frame)?;
    if *flags > FLAG_TURN || zeros.iter().any(|byte| *byte != 0) {
        return Err(OpenFault::Frame);
    }
    Ok((*flags, message))
}
