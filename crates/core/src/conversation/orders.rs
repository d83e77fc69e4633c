//! Orders to have the relay destroy logs of a conversation.

use emptyroom_wire::codec;
use emptyroom_wire::op::Destroy;
use emptyroom_wire::relay_key::IdentityHash;
use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize, VLBytes};

use super::inviting::destroy;
use super::stage::What;
use super::state::{LogKey, Phase};
use super::{Conversation, Ctx};

/// Orders that are kept of logs which restarts left. What is older is given.
// [SPEC 8.68]
const LEFT_MAX: usize = 8;

/// An order, and what may become of its log without it.
pub(crate) struct Order {
    pub(crate) destroy: Destroy,
    pub(crate) log: OrderedLog,
}

/// What a log is that is to be destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub(crate) enum OrderedLog {
    /// Nobody appends to it any more: it ends by itself.
    Ending = 1,
    /// The other side may go on writing there.
    InUse = 2,
    /// An append that may still be on its way makes it: the relay may not know it yet.
    Coming = 3,
}

impl Conversation {
    /// Orders for every log whose owner key it has: the one it lives in, the one before where that order was not given yet, the one
    /// that is being made, and those that restarts left. Log 0 of an invite that was taken runs out, as the recovery log does.
    // [SPEC 8.68]
    pub(super) fn destroy_orders(&self, relay: &IdentityHash) -> Vec<Order> {
        let main = self.state.main.as_ref();
        let before = main.and_then(|main| main.destroy_before.as_ref());
        let before = before.and_then(read);
        let next = match self.stage.as_ref().map(|staged| &staged.what) {
            Some(What::NextGeneration(secret) | What::Join(secret)) => {
                destroy(&LogKey::generation(&secret.0).access(), relay)
            }
            _ => None,
        };
        let now = main.and_then(|main| destroy(&main.key.access(), relay));
        let now_is = match self.state.phase {
            Phase::Invited => OrderedLog::Ending,
            _ => OrderedLog::InUse,
        };
        let left = self.state.recovery.iter();
        let left = left.flat_map(|recovery| recovery.left.iter().filter_map(read));
        let all = (before.into_iter().map(|order| (order, OrderedLog::Ending)))
            .chain(next.map(|order| (order, OrderedLog::Coming)))
            .chain(now.map(|order| (order, now_is)))
            .chain(left.map(|order| (order, OrderedLog::InUse)));
        let mut orders: Vec<Order> = Vec::new();
        for (destroy, log) in all {
            let same = |order: &Order| order.destroy.capability == destroy.capability;
            if !orders.iter().any(same) {
                orders.push(Order { destroy, log });
            }
        }
        orders
    }

    /// A restart leaves the logs that this device has: their orders stay, their keys do not.
    // [SPEC 8.68]
    pub(super) fn keep_orders(&mut self, ctx: &mut Ctx<'_>) {
        let found = self.destroy_orders(&ctx.port.relay);
        let Some(recovery) = &mut self.state.recovery else {
            return;
        };
        // Those of earlier restarts are among them, and stay the first.
        let earlier = recovery.left.iter().filter_map(read).collect::<Vec<_>>();
        let is_new = |destroy: &Destroy| {
            let same = |order: &Destroy| order.capability == destroy.capability;
            !earlier.iter().any(same)
        };
        let new = found.into_iter().map(|order| order.destroy).filter(is_new);
        let new = new.filter_map(|order| codec::encode(&order).ok());
        recovery.left.extend(new.map(VLBytes::from));
        let over = recovery.left.len().saturating_sub(LEFT_MAX);
        let given = recovery.left.drain(..over);
        ctx.destroys
            .extend(given.filter_map(|order| read(&order)).map(|destroy| Order {
                destroy,
                log: OrderedLog::Ending,
            }));
    }
}

fn read(order: &VLBytes) -> Option<Destroy> {
    codec::decode(order.as_slice()).ok()
}
