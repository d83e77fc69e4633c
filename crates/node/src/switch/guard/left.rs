//! What is left elsewhere of a vault that an order destroyed, as a guard knows and says it.

use emptyroom_vault::is_there;
use emptyroom_vault::os::OsDirectory;

use super::{Guard, GuardNews};
use crate::api::{Failure, left_kinds, left_words};
use crate::switch::Untold;

impl Guard<'_> {
    /// What an earlier try could not end is left all the same; where that was noted alone, it is known here by name.
    pub(super) fn with_left_before(&self, left: Vec<String>) -> Vec<String> {
        let before = self.left_before.take();
        let noted = left_words(left_kinds(&before));
        let new = left
            .iter()
            .filter(|left| !before.contains(left) && !noted.contains(left));
        before.iter().chain(new).cloned().collect()
    }

    /// Says what is left of a vault, once and before a relay is asked: whoever destroyed it may have been killed before he did. What was
    /// destroyed here is known by name.
    // [SPEC 11.67, 11.116]
    pub(super) fn say_left(&self, untold: &Untold) {
        let known = self.left.borrow().clone();
        let mut left = match known.clone() {
            Some((order, left)) if order == untold.order => left,
            _ => Vec::new(),
        };
        let noted = untold.left.unwrap_or_default();
        left.extend(left_words(noted.without(left_kinds(&left))));
        let (is_said, now) = (left.is_empty(), Some((untold.order, left)));
        if known != now {
            *self.left.borrow_mut() = now;
            if !is_said {
                (self.tell)(GuardNews::Failed(self.wiped()));
            }
        }
    }

    /// SIGTERM came.
    // [SPEC 11.90]
    pub(super) fn terminated(&self) -> Result<(), Failure> {
        let is_wiped = self.left.borrow().is_some() && !is_there(&OsDirectory::at(&self.home));
        if is_wiped { Err(self.wiped()) } else { Ok(()) }
    }

    pub(super) fn wiped(&self) -> Failure {
        let left = self.left.borrow();
        let left = left.as_ref().map(|(_, left)| left.as_slice());
        Failure::wiped(true, left.unwrap_or_default())
    }
}
