//! Until all slots were tried, every secret takes the same steps.

use emptyroom_vault::{OpenError, Passphrase, Vault};
use rand_core::{CryptoRng, TryCryptoRng, TryRng};

use crate::disk::{Disk, Loss};
use crate::factors::{self, PHRASE};
use crate::support::{Changes, PANIC, SECRET, fresh_rng, secret, with_panic_pin};

/// Randomness whose use is in the trace of the disk.
struct Traced(Disk, Box<dyn CryptoRng + Send>);

impl TryRng for Traced {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        self.0.note("draw 4".to_owned());
        Ok(self.1.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.0.note("draw 8".to_owned());
        Ok(self.1.next_u64())
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        self.0.note(format!("draw {}", out.len()));
        self.1.fill_bytes(out);
        Ok(())
    }
}

impl TryCryptoRng for Traced {}

/// What opening asks of the disk and of the generator, and how it ends.
fn traced(disk: &Disk, secret: &str) -> (Vec<String>, Option<OpenError>) {
    let disk = disk.fork();
    disk.trace();
    let rng = Traced(disk.clone(), fresh_rng());
    let refused = factors::open_by(&disk, secret, Some(1), Box::new(rng)).err();
    (disk.traced(), refused)
}

/// A vault at rest, and ones whose header's copies differ: there opening writes before it asks.
fn disks() -> Vec<Disk> {
    let disk = with_panic_pin();
    let mut vault = Vault::open(disk.boxed(), &secret(), fresh_rng()).unwrap();
    let phrase = Passphrase::from(PHRASE.to_owned());
    vault.set_recovery(&secret(), &phrase).unwrap();
    vault.lock().unwrap();
    let mut disks = vec![disk, factors::with_chip()];
    for point in 0..60 {
        let disk = disks[0].fork();
        disk.crash_after(point);
        let _ = Vault::open(disk.boxed(), &secret(), fresh_rng());
        let after = disk.after_crash(Loss::All);
        let header = after.bytes("header");
        if header[..4096] != header[4096..] {
            disks.push(after);
        }
    }
    assert!(disks.len() > 2, "some crash comes between the two copies");
    disks
}

// [SPEC 11.40]
#[test]
fn the_steps_before_the_slots_were_tried_do_not_depend_on_the_secret() {
    for (n, disk) in disks().iter().enumerate() {
        // A wrong secret does nothing after that, so all that it did is before.
        let (wrong, refused) = traced(disk, "wrong");
        assert_eq!(refused, Some(OpenError::WrongSecret));
        assert!(wrong.contains(&"read header 4096 4096".to_owned()));
        let writes = wrong.iter().any(|step| step.starts_with("write header"));
        assert_eq!(writes, n > 1, "the copy that does not count is overwritten");
        assert!(!wrong.iter().any(|step| step.starts_with("draw")));
        for secret in [SECRET, PANIC, PHRASE] {
            let (steps, refused) = traced(disk, secret);
            assert_eq!(refused, None);
            assert!(steps.len() > wrong.len());
            assert_eq!(steps[..wrong.len()], wrong, "{n}: {secret}");
        }
    }
}
