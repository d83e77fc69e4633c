//! Shares as rows beside those of logs, and what may be done with them.
//!
//! One lasting row for each, under a key of its own kind, so that an id never leads to a log, nor a capability to a share. What is
//! deleted leaves a row that says so, like a log's tombstone.

use std::sync::Arc;

use emptyroom_wire::derive::expand;
use emptyroom_wire::limits::TOMBSTONE_LIFE_DAYS;
use emptyroom_wire::op::RefusalCode;
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::share::{Share, ShareId, ShareKey, ShareName};
use emptyroom_wire::sign::VerifyKey;
use emptyroom_wire::time::Day;
use emptyroom_wire::wipe::{OrderHash, WipePolicy};
use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

use super::allowance::{Allowance, Stop};
use super::logrow::round_up;
use super::rowseal::RowSeal;
use super::shelves::Shelves;
use super::{RowKey, Rows, StoreFailure, StoreReply};

/// Names a share to the store: its row key and the secret its row is sealed under. It does not lead back to the id.
#[derive(Clone)]
pub struct SharePlace(Arc<Inner>);

struct Inner {
    key: RowKey,
    secret: Secret32,
    name: ShareName,
}

impl SharePlace {
    /// The place of the share with this id.
    #[must_use]
    pub fn of(id: &ShareId) -> SharePlace {
        // [SPEC 6.170]
        SharePlace(Arc::new(Inner {
            key: RowKey(*expand(id.expose(), "emptyroom v1 share row key", &[]).expose()),
            secret: expand(id.expose(), "emptyroom v1 share row secret", &[]),
            name: id.name(),
        }))
    }

    /// The share's name, which its owner's signatures hold.
    #[must_use]
    pub fn name(&self) -> ShareName {
        self.0.name
    }

    pub(crate) fn key(&self) -> RowKey {
        self.0.key
    }

    pub(crate) fn secret(&self) -> &Secret32 {
        &self.0.secret
    }
}

/// One operation on one share. Signatures and codes were checked before.
pub enum ShareOp {
    /// Keep it. The same again succeeds.
    Put(Share),
    /// Who may change it.
    Look,
    /// The same, of one that has uses left, written anew as it is: a store that does that takes a use, too.
    Touch,
    /// Take one use and give the key.
    Use,
    /// Keep it for so many days from now and up to a week more, if that is longer.
    Renew(u16),
    /// Remove it, and refuse its id for [`TOMBSTONE_LIFE_DAYS`]; by which order, if it was not the owner's.
    Delete(Option<OrderHash>),
}

/// What an operation on a share is answered with, where it is more than done or refused.
pub enum ShareReply {
    /// The owner key, and whose order deletes it, too.
    Looked(VerifyKey, Option<WipePolicy>),
    /// It was deleted; by which order, if it was not the owner's.
    Gone(Option<OrderHash>),
    /// The use is taken.
    Used(ShareKey, u8),
}

impl ShareOp {
    /// Whether it may change something.
    pub(crate) fn writes(&self) -> bool {
        !matches!(self, ShareOp::Look)
    }
}

/// What stands under a share's row key.
#[derive(Clone, TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub(crate) enum Row {
    #[tls_codec(discriminant = 1)]
    Kept(Kept),
    #[tls_codec(discriminant = 2)]
    Deleted(Deleted),
}

/// A share.
#[derive(Clone, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct Kept {
    owner: VerifyKey,
    /// None after the last use.
    key: Option<ShareKey>,
    uses_left: u8,
    last_day: u32,
    policy: Option<WipePolicy>,
}

/// One that was deleted.
#[derive(Clone, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct Deleted {
    /// It is refused through this day.
    last_day: u32,
    /// By which order, if it was not the owner's.
    order: Option<OrderHash>,
}

impl Row {
    fn last_day(&self) -> Day {
        match self {
            Row::Kept(kept) => Day(kept.last_day),
            Row::Deleted(deleted) => Day(deleted.last_day),
        }
    }
}

impl Kept {
    fn new(share: &Share, today: Day) -> Kept {
        Kept {
            owner: share.owner,
            key: Some(share.key.clone()),
            uses_left: share.uses,
            last_day: last_day(today, share.days),
            policy: share.policy.clone(),
        }
    }

    /// Whether it was made by putting this one.
    fn is(&self, share: &Share) -> bool {
        self.owner == share.owner
            && self.key.as_ref() == Some(&share.key)
            && self.policy == share.policy
    }

    /// Takes a use; with the last one goes the key.
    fn take(&mut self) -> Result<ShareReply, RefusalCode> {
        // [SPEC 4.72]
        let key = self.key.clone().ok_or(RefusalCode::UsedUp)?;
        self.uses_left = self.uses_left.saturating_sub(1);
        if self.uses_left == 0 {
            self.key = None;
        }
        Ok(ShareReply::Used(key, self.uses_left))
    }
}

/// Decides one operation.
pub(super) fn decide<R: Rows>(
    shelves: &mut Shelves<'_, R>,
    allowance: &mut Allowance,
    today: Day,
    (place, op): (&SharePlace, &ShareOp),
) -> Result<StoreReply, Stop> {
    let seal = RowSeal::of(place.secret().expose());
    let row = shelves.load::<Row>(&place.key(), &seal)?;
    // [SPEC 4.71]
    let row = row.filter(|row| row.last_day() >= today);
    let mut save = |row: Row| -> Result<(), StoreFailure> {
        let day = row.last_day();
        shelves.save(place.key(), &seal, day, &row)
    };
    let mut kept = match (row, op) {
        (Some(Row::Kept(kept)), _) => kept,
        (Some(Row::Deleted(deleted)), ShareOp::Look | ShareOp::Touch) => {
            return Ok(StoreReply::Share(ShareReply::Gone(deleted.order)));
        }
        // [SPEC 4.74] [SPEC 4.76]
        (Some(Row::Deleted(deleted)), ShareOp::Delete(order))
            if order.is_none() || deleted.order == *order =>
        {
            return Ok(StoreReply::Done);
        }
        (Some(Row::Deleted(_)), _) => return Err(RefusalCode::Destroyed.into()),
        // [SPEC 4.70]
        (None, ShareOp::Put(share)) => {
            // [SPEC 6.114]
            allowance.take_room(1)?;
            save(Row::Kept(Kept::new(share, today)))?;
            return Ok(StoreReply::Done);
        }
        (None, _) => return Err(RefusalCode::Unknown.into()),
    };
    match op {
        // [SPEC 4.70]
        ShareOp::Put(share) if kept.is(share) => Ok(StoreReply::Done),
        ShareOp::Put(_) => Err(RefusalCode::Exists.into()),
        ShareOp::Look => {
            let looked = ShareReply::Looked(kept.owner, kept.policy);
            Ok(StoreReply::Share(looked))
        }
        ShareOp::Touch => {
            // [SPEC 4.80]
            if kept.key.is_none() {
                return Err(RefusalCode::UsedUp.into());
            }
            let looked = ShareReply::Looked(kept.owner, kept.policy.clone());
            save(Row::Kept(kept))?;
            Ok(StoreReply::Share(looked))
        }
        ShareOp::Use => {
            // [SPEC 6.173]
            let reply = kept.take()?;
            save(Row::Kept(kept))?;
            Ok(StoreReply::Share(reply))
        }
        ShareOp::Renew(days) => {
            // [SPEC 4.73]
            let later = last_day(today, *days);
            if later > kept.last_day {
                kept.last_day = later;
                save(Row::Kept(kept))?;
            }
            Ok(StoreReply::Done)
        }
        ShareOp::Delete(order) => {
            // [SPEC 4.74] [SPEC 4.75]
            save(Row::Deleted(Deleted {
                last_day: today.plus(TOMBSTONE_LIFE_DAYS).0,
                order: *order,
            }))?;
            Ok(StoreReply::Done)
        }
    }
}

fn last_day(today: Day, days: u16) -> u32 {
    // [SPEC 4.71]
    round_up(today.plus(u32::from(days)))
}
