//! A batch in the pieces that several databases decide one after the other.

use std::collections::BTreeSet;

use emptyroom_relay::store::{RowKey, StoreOp};

/// A batch is cut into so many pieces at most.
// [SPEC 6.210]
const PIECES_MAX: usize = 16;

/// Operations with their places in the batch.
pub(super) type Piece = Vec<(usize, StoreOp)>;

/// Cuts a batch where an operation is about a log that another one makes: in whichever database that lies, what comes later sees it. Beyond the last
/// piece that is left to chance, as with operations that come in two batches.
pub(super) fn pieces(ops: Vec<StoreOp>) -> Vec<Piece> {
    let mut all = Vec::new();
    let mut piece = Piece::new();
    let (mut named, mut made) = (BTreeSet::new(), BTreeSet::new());
    for (at, op) in ops.into_iter().enumerate() {
        let key = op.key();
        let makes: Vec<RowKey> = op.makes().collect();
        let mut new = makes.iter();
        let meets = made.contains(&key) || new.any(|key| named.contains(key) || made.contains(key));
        if meets && all.len() + 1 < PIECES_MAX {
            all.push(std::mem::take(&mut piece));
            named.clear();
            made.clear();
        }
        named.insert(key);
        made.extend(makes);
        piece.push((at, op));
    }
    all.push(piece);
    all
}
