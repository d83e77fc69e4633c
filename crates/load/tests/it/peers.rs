//! Each peer that is installed does the work of the comparison, in small.

// What was left out, and what was seen, is told: a test that did nothing must say so.
#![allow(clippy::print_stderr, clippy::indexing_slicing)]

use emptyroom_load::Trouble;
use emptyroom_load::peers::{Kind, Peer};
use emptyroom_load::survival;
use emptyroom_load::system::{Recipient, Sender, Started, System};
use emptyroom_load::threads::run;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::timeout;

const SENDERS: u32 = 2;
const RECIPIENTS: u32 = 5;
/// Of each sender.
const MESSAGES: u32 = 25;
/// Far more than it takes; a message that is lost would be waited for forever.
const PATIENCE: Duration = Duration::from_secs(60);

/// `None`, and a word about it, where the peer is not there to be tested.
async fn start(kind: Kind) -> Result<Option<Peer>, Trouble> {
    match Peer::start(kind).await? {
        Started::Running(peer) => Ok(Some(peer)),
        Started::LeftOut(why) => {
            eprintln!("{kind:?} was NOT tested: {why}");
            Ok(None)
        }
    }
}

/// Every message is acknowledged once and comes to whom it was sent.
fn delivers(kind: Kind) -> Result<(), Trouble> {
    run(async {
        let Some(peer) = start(kind).await? else {
            return Ok(());
        };
        let mut recipients = Vec::new();
        for number in 0..RECIPIENTS {
            recipients.push(peer.recipient(number).await?);
        }
        let mut expected = vec![BTreeSet::new(); recipients.len()];
        for number in 0..SENDERS {
            let mut sender = peer.sender(number, RECIPIENTS).await?;
            let mut waiting = BTreeSet::new();
            for message in 0..MESSAGES {
                let to = message % RECIPIENTS;
                let payload = format!("{number}-{message}-{}", "x".repeat(4_096));
                assert!(waiting.insert(sender.send(to, payload.as_bytes()).await?));
                expected[usize::try_from(to)?].insert(payload);
            }
            while !waiting.is_empty() {
                let number = timeout(PATIENCE, sender.acknowledged()).await??;
                assert!(waiting.remove(&number), "acknowledged once");
            }
        }
        for (recipient, mut expected) in recipients.iter_mut().zip(expected) {
            while !expected.is_empty() {
                let payload = timeout(PATIENCE, recipient.receive()).await??;
                let payload = String::from_utf8(payload)?;
                assert!(expected.remove(&payload), "delivered once, as it was sent");
            }
        }
        assert!(!peer.processes().is_empty());
        eprintln!("{}: all delivered", peer.name());
        Ok(())
    })
}

/// How many survive is for the bench to say; here it is that the server comes back and the messages are counted.
fn survives(kind: Kind) -> Result<(), Trouble> {
    run(async {
        let Some(mut peer) = start(kind).await? else {
            return Ok(());
        };
        let survival = survival::measure(&mut peer, 100, 4_096).await?;
        eprintln!("{}: {survival:?}", peer.name());
        assert_eq!(survival.acknowledged, 100);
        assert!(survival.left <= 100);
        Ok(())
    })
}

#[test]
fn mosquitto_comes_back() {
    survives(Kind::Mosquitto).unwrap();
}

#[test]
fn ejabberd_comes_back() {
    survives(Kind::Ejabberd).unwrap();
}

#[test]
fn jetstream_comes_back() {
    survives(Kind::JetStream).unwrap();
}

#[test]
fn mosquitto_delivers() {
    delivers(Kind::Mosquitto).unwrap();
}

#[test]
fn ejabberd_delivers() {
    delivers(Kind::Ejabberd).unwrap();
}

#[test]
fn jetstream_delivers() {
    delivers(Kind::JetStream).unwrap();
}

#[test]
fn synced_jetstream_delivers() {
    delivers(Kind::JetStreamSynced).unwrap();
}
