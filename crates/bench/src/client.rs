//! One message in the client, against bare OpenMLS doing the same.

use crate::report::{Section, share, time};
use crate::{Trouble, bare_mls, cpu};

/// Messages of one measurement.
const MESSAGES: u32 = 2_000;
const TEXT: &[u8] = b"All forty pages. I am reading them now.";

pub(crate) fn measure() -> Result<Section, Trouble> {
    let mut section = Section::new("Client", "One message of 39 bytes.");
    let (mut first, mut second) = bare_mls::pair()?;
    let (encrypting, sent) = cpu::of(|| {
        (0..MESSAGES)
            .map(|_| first.encrypt(TEXT))
            .collect::<Result<Vec<_>, _>>()
    });
    let sent = sent?;
    let (decrypting, read) = cpu::of(|| {
        sent.iter()
            .try_for_each(|message| second.decrypt(message).map(drop))
    });
    read?;
    section.row("OpenMLS, encrypt", time(share(encrypting, MESSAGES)));
    section.row("OpenMLS, decrypt", time(share(decrypting, MESSAGES)));
    Ok(section)
}
