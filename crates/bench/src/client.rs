//! One message in the client, against bare OpenMLS doing the same; and what the vault adds.

mod room;

use crate::bare_mls;
use emptyroom_core::api::Event;
use emptyroom_load::report::{Section, ratio, share, time};
use emptyroom_load::scratch::Scratch;
use emptyroom_load::{Trouble, cpu};
use emptyroom_vault::os::OsDirectory;
use emptyroom_vault::{Change, KdfParams, Passphrase, Vault};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use room::Room;
use std::time::Duration;

/// Messages of one measurement; fewer than a generation lasts.
const MESSAGES: u32 = 500;
const TEXT: &str = "All forty pages. I am reading them now.";

pub(crate) fn measure() -> Result<Section, Trouble> {
    let mut section = Section::new(
        "One message in the client",
        format!(
            "{MESSAGES} messages of {} bytes in one direction between two clients and a relay in one thread, everything in memory; CPU time of the sender's and of \
             the recipient's core for all that belongs to a message (queue, MLS, entry, sealed stream, records, answers, events), against two members of a bare \
             OpenMLS group of the same suite that encrypt and decrypt the same text. Then the vault alone: the transactions that the two asked for.",
            TEXT.len()
        ),
    );
    let (encrypt, decrypt) = bare()?;
    let mut room = Room::new()?;
    let before = room.party(1)?.events.len();
    let (sender, recipient) = (room.party(0)?.spent, room.party(1)?.spent);
    for number in 0..2 {
        room.party(number)?.stored.clear();
    }
    for _ in 0..MESSAGES {
        room.say(0, TEXT)?;
    }
    let sending = share(room.party(0)?.spent.saturating_sub(sender), MESSAGES);
    let receiving = share(room.party(1)?.spent.saturating_sub(recipient), MESSAGES);
    let events = room.party(1)?.events.iter().skip(before);
    let received = events
        .filter(|event| matches!(event, Event::MessageReceived { .. }))
        .count();
    if received != usize::try_from(MESSAGES)? {
        return Err(format!("{received} messages of {MESSAGES} arrived").into());
    }
    section.aimed("send", compared(sending, encrypt), "at most 3 times");
    section.aimed("receive", compared(receiving, decrypt), "at most 3 times");
    section.aimed(
        "both",
        compared(sending + receiving, encrypt + decrypt),
        "at most 3 times",
    );
    for (number, what) in [
        (0, "the vault's part of sending"),
        (1, "the vault's part of receiving"),
    ] {
        let stored = std::mem::take(&mut room.party(number)?.stored);
        let transactions = stored.len();
        let value = format!(
            "{} in {:.1} transactions",
            time(vault_part(stored)?),
            transactions as f64 / f64::from(MESSAGES)
        );
        section.row(what, value);
    }
    Ok(section)
}

fn compared(ours: Duration, bare: Duration) -> String {
    format!(
        "{}, bare OpenMLS {}: {}",
        time(ours),
        time(bare),
        ratio(ours, bare)
    )
}

/// Encrypting and decrypting one message without anything around it.
fn bare() -> Result<(Duration, Duration), Trouble> {
    let (mut first, mut second) = bare_mls::pair()?;
    let text = TEXT.as_bytes();
    let (encrypting, sent) = cpu::of(|| {
        (0..MESSAGES)
            .map(|_| first.encrypt(text))
            .collect::<Result<Vec<_>, _>>()
    });
    let sent = sent?;
    let (decrypting, read) = cpu::of(|| {
        sent.iter()
            .try_for_each(|message| second.decrypt(message).map(drop))
    });
    read?;
    Ok((share(encrypting, MESSAGES), share(decrypting, MESSAGES)))
}

/// CPU time of the vault for these transactions, per message.
fn vault_part(stored: Vec<Vec<emptyroom_core::api::Change>>) -> Result<Duration, Trouble> {
    let scratch = Scratch::new("client")?;
    let place = OsDirectory::create(&scratch.path.join("vault"))?;
    let secret = Passphrase::new(b"a passphrase for the bench".to_vec());
    let rng = Box::new(ChaCha20Rng::seed_from_u64(5));
    let mut vault = Vault::create(Box::new(place), &secret, KdfParams::minimum(), rng)?;
    let stored: Vec<Vec<Change>> = stored
        .into_iter()
        .map(|changes| {
            let change = |change: emptyroom_core::api::Change| Change {
                key: change.key.clone(),
                value: change.value.clone(),
            };
            changes.into_iter().map(change).collect()
        })
        .collect();
    let (spent, result) = cpu::of(|| {
        stored
            .into_iter()
            .try_for_each(|changes| vault.apply(changes))
    });
    result?;
    Ok(share(spent, MESSAGES))
}
