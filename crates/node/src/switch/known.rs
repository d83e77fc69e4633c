//! What is read in a switch log by whoever has the code: which orders there are, and what became of them.

use emptyroom_wire::kill::{Left, Said, Switch};
use emptyroom_wire::op::{EntryPush, Push};
use emptyroom_wire::time::Wall;
use emptyroom_wire::wipe::{OrderHash, WipePolicy, judge};

use crate::errand::Errand;

/// What is known of a switch's orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wiped {
    /// Orders in the log that this code gave.
    pub orders: usize,
    /// When one was carried out, as a receipt says that the device gave, or who has its files (unix milliseconds).
    pub device_at: Option<u64>,
    /// What of its vault could not be destroyed elsewhere, as whoever gave that receipt says; not all of them do.
    pub left: Option<Left>,
    /// Until when the new order holds.
    pub until: Option<u64>,
    /// Whoever answered is the switch's relay for sure.
    pub relay_checked: bool,
    /// The relay's clock and this machine's are less than a day apart.
    pub clocks_agree: bool,
}

/// What a switch log says to whoever has the code.
pub(super) struct Known<'a> {
    switch: &'a Switch,
    policy: WipePolicy,
    orders: Vec<OrderHash>,
    /// Those of which there is a receipt, and those of which it is said what is left.
    receipts: Vec<OrderHash>,
    said: Vec<OrderHash>,
    pub(super) wiped: Wiped,
}

impl<'a> Known<'a> {
    /// Nothing yet, of whose orders count by this policy.
    pub(super) fn new(switch: &'a Switch, policy: WipePolicy, relay_checked: bool) -> Self {
        Self {
            switch,
            policy,
            orders: Vec::new(),
            receipts: Vec::new(),
            said: Vec::new(),
            wiped: Wiped {
                orders: 0,
                device_at: None,
                left: None,
                until: None,
                relay_checked,
                clocks_agree: true,
            },
        }
    }

    /// An order counts if this code signed it, a receipt if it is for one that was there before it.
    // [SPEC 11.68]
    pub(super) fn take(&mut self, entry: &EntryPush) {
        match self.switch.open(entry) {
            // Also one that is over: a device may have obeyed it before.
            Some(Said::Order(order)) if judge(&order, &self.policy, Wall(0)).is_ok() => {
                let hash = order.body.hash();
                if !self.orders.contains(&hash) {
                    self.orders.push(hash);
                }
            }
            Some(Said::Receipt(receipt))
                if self.orders.contains(&receipt.order) && self.switch.verify(&receipt).is_ok() =>
            {
                // The first: what a device repeats says no more.
                self.wiped.device_at.get_or_insert(receipt.at_ms);
                self.receipts.push(receipt.order);
            }
            // [SPEC 11.116]
            Some(Said::Remains(remains))
                if self.orders.contains(&remains.order)
                    && self.switch.verify_remains(&remains).is_ok() =>
            {
                let before = self.wiped.left.unwrap_or_default();
                self.wiped.left = Some(before.and(remains.left.known()));
                self.said.push(remains.order);
            }
            _ => {}
        }
    }

    /// Comes back with a receipt, or when the stream ended.
    pub(super) async fn wait(&mut self, errand: &mut Errand) {
        while self.wiped.device_at.is_none() {
            match errand.next_push().await {
                Ok(Some((_, Push::Entry(entry)))) => self.take(&entry),
                Ok(Some((_, Push::Gone(_)))) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    pub(super) fn told(self) -> Wiped {
        // [SPEC 11.116] Where one vault's receipt says nothing of it, what another one says is not that nothing is left.
        let mut receipts = self.receipts.iter();
        let is_whole = receipts.all(|order| self.said.contains(order));
        let is_something = |left: &Left| left.without(Left::UNSEEN) != Left::default();
        let left = self.wiped.left.filter(|_| !self.receipts.is_empty());
        Wiped {
            orders: self.orders.len(),
            left: left.filter(|left| is_whole || is_something(left)),
            ..self.wiped
        }
    }
}
