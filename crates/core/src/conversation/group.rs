//! What a device has to read and write with: its keys, its group, and the append that is under way.

use super::live::Unsaved;
use super::stage::Staged;
use super::{Conversation, Ctx};
use crate::account::OwnKeys;
use crate::certificate::Certificate;
use crate::mls::Group;

impl Conversation {
    /// Own keys, from the records if need be.
    pub(super) fn own(&mut self, ctx: &Ctx<'_>) -> Option<&OwnKeys> {
        if self.live.own.is_none() {
            let record = ctx.store.get(&self.id.own_keys())?;
            self.live.own = OwnKeys::load(ctx.root, &record).ok();
        }
        self.live.own.as_ref()
    }

    /// Own keys and group together, from the records if need be. Nothing: this device's state is lost.
    pub(super) fn own_and_group(&mut self, ctx: &Ctx<'_>) -> Option<(&OwnKeys, &mut Group)> {
        self.own(ctx)?;
        if self.live.group.is_none() {
            let record = ctx.store.get(&self.id.group())?;
            let keys = ctx.store.get(&self.id.message_keys());
            self.live.group = match keys {
                Some(keys) => Group::load_with(&record, &keys).ok(),
                None => Group::load(&record).ok(),
            };
        }
        Some((self.live.own.as_ref()?, self.live.group.as_mut()?))
    }

    pub(super) fn adopt_group(&mut self, group: Group) {
        self.live.group = Some(group);
        self.group_changed();
    }

    /// More than message keys moved on.
    pub(super) fn group_changed(&mut self) {
        self.live.unsaved = Unsaved::Whole;
    }

    /// A message was encrypted or read.
    pub(super) fn keys_changed(&mut self) {
        if self.live.unsaved == Unsaved::Nothing {
            self.live.unsaved = Unsaved::Keys;
        }
    }

    /// The other side's certificate.
    pub(super) fn peer(&self) -> Option<Certificate> {
        let bytes = self.state.peer.as_ref()?;
        // It was verified when it came.
        Certificate::of_member(bytes.as_slice()).ok()
    }

    pub(super) fn put_stage(&mut self, ctx: &mut Ctx<'_>, staged: Staged) {
        ctx.store.put(self.id.stage(), staged.record());
        self.stage = Some(staged);
    }

    pub(super) fn drop_stage(&mut self, ctx: &mut Ctx<'_>) {
        if let Some(staged) = self.stage.take() {
            ctx.store.delete(&self.id.stage());
            if staged.is_commit()
                && let Some((_, group)) = self.own_and_group(ctx)
            {
                let _cleared = group.clear_pending();
                self.group_changed();
            }
        }
    }

    /// Ends the append that was under way; the group stays as it is.
    pub(super) fn take_stage(&mut self, ctx: &mut Ctx<'_>) -> Option<Staged> {
        let staged = self.stage.take()?;
        ctx.store.delete(&self.id.stage());
        Some(staged)
    }

    /// The group has this device's leaf with the certificate that the last commit gave it.
    // [SPEC 8.6]
    pub(super) fn certificate_renewed(&mut self, ctx: &mut Ctx<'_>) {
        let (Some(own), Some(group)) = (&mut self.live.own, &self.live.group) else {
            return;
        };
        let leaf = group.own_leaf();
        let member = group
            .members()
            .into_iter()
            .find(|member| member.leaf == leaf);
        if let Some(member) = member
            && member.certificate != *own.certificate()
            && own.adopt(member.certificate).is_ok()
        {
            ctx.store.put(self.id.own_keys(), own.record());
        }
    }
}
