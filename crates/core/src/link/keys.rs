//! The records of its stream keys that a relay shows on an open link: whether they are one chain with what is known.

use emptyroom_wire::op::Request;
use emptyroom_wire::relay_key::{ChainFault, KeyRecord};

use super::{Link, LinkCtx, LinkOp, LinkOut, State, Tag};
use crate::api::RelayTrouble;

impl Link {
    /// The records between the head known before and the one in use came.
    pub(super) fn key_records(&mut self, records: &[KeyRecord], ctx: &mut LinkCtx<'_>) {
        let State::Up(session) = &mut self.state else {
            return;
        };
        let identity = *session.identity();
        let used = session.record().clone();
        let last = records.last().map(|record| record.number);
        let head = self.chain.head().map_or(0, |head| head.number);
        let next = self.pages.next(records.len(), last, used.number.max(head));
        if let Some(mut trail) = self.trail.take() {
            let astray = match trail.follow(&identity, records) {
                Ok(true) => None,
                Ok(false) if next.is_some() => {
                    self.trail = Some(trail);
                    None
                }
                Ok(false) => Some(trail.cut_short()),
                Err(fault) => Some(fault),
            };
            // [SPEC 5.21]
            if astray.is_some() {
                self.chain_faults(astray, ctx.out);
                return self.hang_up(ctx);
            }
        }
        let mut faults = self.chain.walk(&identity, records, ctx.today);
        match next {
            Some(last) => {
                let request = Request::KeyRecords(last);
                session.request(
                    ctx.now.mono,
                    Tag::Link(LinkOp::KeyRecords),
                    request,
                    ctx.out,
                );
            }
            None => faults.extend(self.chain.walk(&identity, &[used], ctx.today)),
        }
        ctx.out.push(LinkOut::ChainChanged);
        self.chain_faults(faults, ctx.out);
    }

    pub(super) fn chain_faults(
        &mut self,
        faults: impl IntoIterator<Item = ChainFault>,
        out: &mut Vec<LinkOut>,
    ) {
        if faults.into_iter().next().is_some() {
            self.trouble = Some(RelayTrouble::KeyChain);
            out.push(LinkOut::Trouble(RelayTrouble::KeyChain));
        }
    }
}
