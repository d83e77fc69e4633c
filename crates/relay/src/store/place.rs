//! Where a log stands on the relay's disk, derived from its capability and not leading back to it.

use emptyroom_wire::derive::Source;
use emptyroom_wire::log::{Capability, LogId};
use emptyroom_wire::secret::Secret32;
use triomphe::Arc;
use zeroize::ZeroizeOnDrop;

/// The key a row stands under: equal-looking bytes to whoever does not know the capability.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey(pub [u8; 32]);

/// Names a log to the store: its row key, the secret its rows are sealed under, and its log id.
///
/// An open handle keeps this, never the capability. Copies share one secret, which is erased with the last of them.
#[derive(Clone)]
pub struct Place(Arc<Inner>);

/// All in one allocation, with one count of 8 bytes: a relay keeps very many of these.
#[derive(ZeroizeOnDrop)]
struct Inner {
    #[zeroize(skip)]
    key: RowKey,
    secret: [u8; 32],
    #[zeroize(skip)]
    log_id: LogId,
}

impl Place {
    /// The place of the log with this capability.
    #[must_use]
    pub fn of(capability: &Capability) -> Place {
        // [SPEC 6.1]
        let source = Source::of(capability.expose());
        let secret: Secret32 = source.secret("emptyroom v1 row secret", &[]);
        Place(Arc::new(Inner {
            key: RowKey(source.bytes("emptyroom v1 row key", &[])),
            secret: *secret.expose(),
            log_id: capability.log_id(),
        }))
    }

    /// The key of the log's own row. Also what tells one log from another in memory.
    #[must_use]
    pub fn key(&self) -> RowKey {
        self.0.key
    }

    pub(crate) fn key_ref(&self) -> &RowKey {
        &self.0.key
    }

    /// The log's id, which its entries' additional data holds.
    #[must_use]
    pub fn log_id(&self) -> LogId {
        self.0.log_id
    }

    /// What the log's rows are sealed under and their keys are derived from.
    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.0.secret
    }
}

impl core::fmt::Debug for RowKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("RowKey(private)")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::store::account::{AccountPlace, seed_of_root};
    use crate::store::rowseal::RowSeal;
    use crate::store::share::SharePlace;
    use emptyroom_wire::share::ShareId;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The file is made again from fixed inputs and compared.
    // [SPEC 6.1] [SPEC 6.2] [SPEC 6.170]
    #[test]
    fn vectors() {
        let capability = Capability::new([0x11; 32]);
        let place = Place::of(&capability);
        let seed = seed_of_root(&place);
        let rows = RowSeal::of(place.secret());
        let entries = [0_u64, 1, 4_095].map(|seq| {
            let row_key = hex(&rows.entry_key(seq).0);
            json!({ "seq": seq, "row_key": row_key })
        });
        let nonces = [0_u8, 63].map(|page| {
            let row_key = hex(&rows.nonce_page_key(page).0);
            json!({ "page": page, "row_key": row_key })
        });
        let share = SharePlace::of(&ShareId::new([0x22; 32]));
        let made = json!({
            "capability": hex(capability.expose()),
            "row_key": hex(&place.key().0),
            "row_secret": hex(place.secret()),
            "entries": entries,
            "nonces": nonces,
            "seal_key": hex(rows.key().expose()),
            "budget": {
                "seed": hex(&seed),
                "row_key": hex(&AccountPlace::of(&seed).key.0),
                "row_secret": hex(AccountPlace::of(&seed).secret.expose()),
            },
            "share": {
                "id": hex(&[0x22; 32]),
                "row_key": hex(&share.key().0),
                "row_secret": hex(share.secret().expose()),
            },
        });
        let kept: Value =
            serde_json::from_str(include_str!("../../../../spec/vectors/rows.json")).unwrap();
        assert_eq!(kept, made, "{made:#}");
    }
}
