//! News as NATS carries them: under a subject that says nothing, sealed by a key that only the nodes have.
//!
//! Whoever runs NATS sees how many news there are, when, and whether a short entry is in them, and for the rest of a day which of
//! them are about one log. He can forge none, pass none off as another's, and bring none back on another day; what he withholds
//! or repeats makes nothing worse than slow.

use emptyroom_relay::store::RowKey;
use emptyroom_wire::aead::{Once, TAG_LEN};
use emptyroom_wire::codec;
use emptyroom_wire::derive::{Source, expand};
use emptyroom_wire::op::Push;
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::time::Day;
use rand_core::CryptoRng;
use zeroize::Zeroize;

const SECRET: &str = "emptyroom v1 wake";
const SUBJECT: &str = "emptyroom v1 wake subject";
const SEAL: &str = "emptyroom v1 wake seal";
const AAD: &[u8; 22] = b"emptyroom v1 wake news";

const NONCE_LEN: usize = 24;
const DAY_LEN: usize = 4;
const KEY_LEN: usize = 32;
/// Entries up to this are in the news of them; of longer ones only where their log ends.
// [SPEC 6.234]
pub(crate) const ENTRY_LEN_MAX: usize = 4 << 10;

/// What a log is called at NATS on one day.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Tag(pub [u8; 16]);

/// What all nodes of one relay share, and nobody else has: it follows from the identity's seed.
pub struct WakeSecret(Secret32);

/// The keys of a day.
pub struct WakeDay {
    day: Day,
    names: Source,
    seal: Secret32,
}

impl WakeSecret {
    /// Of the relay with this seed.
    #[must_use]
    pub fn of(identity_seed: &Secret32) -> Self {
        Self(expand(identity_seed.expose(), SECRET, &[]))
    }

    /// The keys of a day.
    #[must_use]
    pub fn day(&self, day: Day) -> WakeDay {
        WakeDay {
            day,
            names: Source::of(self.0.expose()),
            seal: expand(self.0.expose(), SEAL, &day.0.to_be_bytes()),
        }
    }
}

impl WakeDay {
    /// The day.
    #[must_use]
    pub fn day(&self) -> Day {
        self.day
    }

    /// What a log is called on that day.
    // [SPEC 6.234]
    #[must_use]
    pub fn tag(&self, log: RowKey) -> Tag {
        let mut context = [0; DAY_LEN + KEY_LEN];
        let (day, key) = context.split_at_mut(DAY_LEN);
        day.copy_from_slice(&self.day.0.to_be_bytes());
        key.copy_from_slice(&log.0);
        Tag(self.names.bytes(SUBJECT, &context))
    }

    /// Seals news of a log. `None` where it is too long, which no push is.
    // [SPEC 6.234]
    #[must_use]
    pub fn seal(&self, log: RowKey, news: &Push, rng: &mut dyn CryptoRng) -> Option<Vec<u8>> {
        let shortened;
        let news = match news {
            Push::Entry(entry) if entry.body.len() > ENTRY_LEN_MAX => {
                shortened = Push::CaughtUp(entry.seq.saturating_add(1));
                &shortened
            }
            news => news,
        };
        let mut encoded = codec::encode(news).ok()?;
        let head = DAY_LEN + NONCE_LEN;
        let mut letter = Vec::with_capacity(head + KEY_LEN + encoded.len() + TAG_LEN);
        letter.extend_from_slice(&self.day.0.to_be_bytes());
        let mut nonce = [0; NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        letter.extend_from_slice(&nonce);
        letter.extend_from_slice(&log.0);
        letter.extend_from_slice(&encoded);
        encoded.zeroize();
        let once = Once::extended(self.seal.expose(), &nonce);
        let aad = self.aad(self.tag(log));
        let tag = once.seal(&aad, letter.get_mut(head..)?).ok()?;
        letter.extend_from_slice(&tag);
        Some(letter)
    }

    /// Opens what came under a log's name. `None` for whatever no node of this relay sealed on that day and for that log.
    #[must_use]
    pub fn open(&self, tag: Tag, letter: &mut [u8]) -> Option<(RowKey, Push)> {
        let (day, rest) = letter.split_first_chunk_mut::<DAY_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk_mut::<NONCE_LEN>()?;
        if *day != self.day.0.to_be_bytes() {
            return None;
        }
        let once = Once::extended(self.seal.expose(), nonce);
        let content = once.open(&self.aad(tag), sealed)?;
        let (log, encoded) = content.split_first_chunk::<KEY_LEN>()?;
        let log = RowKey(*log);
        let news = codec::decode(encoded).ok()?;
        Some((log, news))
    }

    fn aad(&self, tag: Tag) -> [u8; AAD.len() + DAY_LEN + 16] {
        let mut aad = [0; AAD.len() + DAY_LEN + 16];
        let (label, rest) = aad.split_at_mut(AAD.len());
        let (day, name) = rest.split_at_mut(DAY_LEN);
        label.copy_from_slice(AAD);
        day.copy_from_slice(&self.day.0.to_be_bytes());
        name.copy_from_slice(&tag.0);
        aad
    }
}

/// The day that a letter says it is of.
pub(crate) fn day_of(letter: &[u8]) -> Option<Day> {
    let day = letter.first_chunk::<DAY_LEN>()?;
    Some(Day(u32::from_be_bytes(*day)))
}

#[cfg(test)]
mod tests {
    use emptyroom_wire::entry::{RunningHash, Ttl};
    use emptyroom_wire::op::{CastPush, EntryPush};
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;
    use serde_json::{Value, json};

    use super::*;

    const LOG: RowKey = RowKey([3; 32]);
    const TODAY: Day = Day(20_833);

    fn secret(byte: u8) -> WakeSecret {
        WakeSecret::of(&Secret32::new([byte; 32]))
    }

    fn entry(len: usize) -> Push {
        Push::Entry(EntryPush {
            seq: 7,
            before: RunningHash([1; 32]),
            expect_slots: 2,
            commit: false,
            close: false,
            ttl: Ttl::Day30,
            nonce: [4; 16],
            next_hash: [0; 32],
            body: vec![5; len],
        })
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn sealed(news: &Push) -> Vec<u8> {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        secret(1).day(TODAY).seal(LOG, news, &mut rng).unwrap()
    }

    // [SPEC 6.234]
    #[test]
    fn vectors() {
        let day = secret(1).day(TODAY);
        let letter = sealed(&Push::CaughtUp(9));
        let made = json!({
            "identity_seed": hex(&[1; 32]),
            "wake_secret": hex(secret(1).0.expose()),
            "day": TODAY.0,
            "seal_key": hex(day.seal.expose()),
            "row_key": hex(&LOG.0),
            "tag": hex(&day.tag(LOG).0),
            "caught_up": 9,
            "letter": hex(&letter),
        });
        let kept: Value =
            serde_json::from_str(include_str!("../../../../spec/vectors/wake.json")).unwrap();
        assert_eq!(kept, made, "{made:#}");
    }

    // [SPEC 6.234]
    #[test]
    fn nobody_else_makes_or_moves_a_letter() {
        let day = secret(1).day(TODAY);
        let tag = day.tag(LOG);
        let letter = sealed(&entry(4 << 10));
        let opened = day.open(tag, &mut letter.clone()).unwrap();
        assert!(opened == (LOG, entry(4 << 10)));
        for at in 0..letter.len() {
            let mut bent = letter.clone();
            bent[at] ^= 1;
            assert!(day.open(tag, &mut bent).is_none(), "byte {at}");
        }
        for len in [0, 3, 4, 27, 28, letter.len() - 1] {
            assert!(day.open(tag, &mut letter[..len].to_vec()).is_none());
        }
        let other = day.tag(RowKey([4; 32]));
        assert!(day.open(other, &mut letter.clone()).is_none());
        let tomorrow = secret(1).day(TODAY.plus(1));
        assert!(tomorrow.tag(LOG) != tag);
        assert!(tomorrow.open(tag, &mut letter.clone()).is_none());
        let stranger = secret(2).day(TODAY);
        assert!(stranger.tag(LOG) != tag);
        assert!(stranger.open(tag, &mut letter.clone()).is_none());
    }

    // [SPEC 6.234]
    #[test]
    fn of_a_long_entry_only_its_place_is_told() {
        let day = secret(1).day(TODAY);
        let mut letter = sealed(&entry(16 << 10));
        assert!(letter.len() < 200);
        let (_, news) = day.open(day.tag(LOG), &mut letter).unwrap();
        assert!(news == Push::CaughtUp(8));
        let cast = Push::Cast(CastPush { bytes: vec![1; 99] });
        let (_, news) = day.open(day.tag(LOG), &mut sealed(&cast)).unwrap();
        assert!(news == cast);
    }
}
