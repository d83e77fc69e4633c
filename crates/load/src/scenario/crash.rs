//! What is left of acknowledged messages after `kill -9`, at the relay and at servers that others use.

use super::{ENTRY_LEN, Extent, relay};
use crate::peers::{Kind, Peer};
use crate::plot::Picture;
use crate::program::{RelayProgram, Stop};
use crate::relay::{Logs, Reader, Relay, Writer};
use crate::report::{Section, Table};
use crate::scratch::Scratch;
use crate::survival::{Crashes, measure as survivors};
use crate::system::{Started, System};
use crate::{Trouble, threads};
use emptyroom_wire::address::RelayAddress;

const MESSAGES: u32 = 5_000;

pub(super) fn measure(_: Extent, _: &mut Picture) -> Result<Section, Trouble> {
    let mut section = Section::new(
        "After a crash",
        format!(
            "{MESSAGES} messages of 4 KiB for recipients who are away, each acknowledged; then `kill -9`, a start on the same files, and the recipients come \
             back. What a killed process had written without syncing the system still has: a power cut, which is not tried here, takes that as well."
        ),
    );
    let mut table = Table::new(&[
        "server",
        "an acknowledgement means",
        "acknowledged",
        "still there after `kill -9`",
    ]);
    let scratch = Scratch::new("crash")?;
    let program = relay(&scratch.path, &[])?;
    let address = RelayAddress::parse(&program.address)?;
    let named = ("Emptyroom relay", program.id());
    // A mailbox for each recipient: one log, written by one sender.
    let relay = Relay::new(address, named, Logs::Mesh(1), 1)?;
    table.row(threads::run(one(Mortal { program, relay }))?);
    for kind in Kind::ALL {
        let row = threads::run(async {
            match Peer::start(kind).await? {
                Started::Running(peer) => one(peer).await.map(Ok),
                Started::LeftOut(why) => Ok(Err(why)),
            }
        });
        // A peer that fails is told and stops nothing.
        match row.unwrap_or_else(|why| Err(format!("{kind:?}: {why}"))) {
            Ok(row) => table.row(row),
            Err(why) => section.note(format!("Left out: {why}.")),
        }
    }
    section.table(table);
    Ok(section)
}

async fn one<S: Crashes>(mut system: S) -> Result<Vec<String>, Trouble>
where
    S::Recipient: 'static,
{
    let survival = survivors(&mut system, MESSAGES, ENTRY_LEN).await?;
    eprintln!(
        "  {}: {} of {}",
        system.name(),
        survival.left,
        survival.acknowledged
    );
    Ok(vec![
        system.name(),
        system.promise().to_owned(),
        survival.acknowledged.to_string(),
        survival.left.to_string(),
    ])
}

/// The relay's program, with what knows its logs.
struct Mortal {
    program: RelayProgram,
    relay: Relay,
}

impl System for Mortal {
    type Sender = Writer;
    type Recipient = Reader;

    fn name(&self) -> String {
        self.relay.name()
    }

    fn promise(&self) -> &'static str {
        self.relay.promise()
    }

    fn processes(&self) -> Vec<u32> {
        vec![self.program.id()]
    }

    async fn recipient(&self, number: u32) -> Result<Reader, Trouble> {
        self.relay.recipient(number).await
    }

    async fn sender(&self, number: u32, recipients: u32) -> Result<Writer, Trouble> {
        self.relay.sender(number, recipients).await
    }
}

impl Crashes for Mortal {
    /// Its logs stay: a connection that ends is all there is to leaving.
    async fn leave(&self, recipient: Reader) -> Result<(), Trouble> {
        drop(recipient);
        Ok(())
    }

    async fn crash(&mut self) -> Result<(), Trouble> {
        self.program.stop(Stop::Kill)?;
        self.program.start_again()?;
        Ok(())
    }
}
