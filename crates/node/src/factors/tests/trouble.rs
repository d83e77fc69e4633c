//! Ordinary trouble in modes with relays: what it costs is told, and where it can cost nothing it does.

use std::io::Read;
use std::os::unix::net::UnixStream;

use super::relay::Relay;
use super::*;
use crate::factors::change::{note_due, renew};
use crate::factors::relays;

/// A locked vault that takes these relays, and perhaps a TPM.
fn with_relays(relays: &[Relay], ways: &Ways, mode: Mode) -> Disk {
    let disk = made();
    let here = Here(RefCell::new(open(&disk, SECRET, ways).unwrap()));
    let to = To {
        mode: Some(mode),
        relays: relays.iter().map(|relay| relay.address.clone()).collect(),
    };
    rewrap(&here, ways, to, |vault| {
        Ok(vault.with_same(&text(SECRET)).unwrap())
    })
    .unwrap();
    here.0.into_inner().lock().unwrap();
    disk
}

/// As a program opens it: the vault, and what is told of attempts (before, left, noted).
fn opened(disk: &Disk, ways: &Ways) -> (Vault, Option<(u32, u32, bool)>) {
    let (vault, mut asked) = asked(disk, SECRET, ways);
    let mut vault = vault.unwrap();
    asked.settle(&mut vault);
    let before = asked.wrong_before();
    let told = before.map(|before| (before.wrong, before.left, before.unnoted.is_none()));
    (vault, told)
}

/// Where the record cannot be written, as on a full disk, every opening spends a use that none gives back: how many are left is told with
/// each.
// [SPEC 11.53]
#[test]
fn what_an_opening_spends_is_told_where_it_cannot_be_noted() {
    let (relays, ways) = ([Relay::start()], at(PathBuf::from("/nowhere")));
    let disk = with_relays(&relays, &ways, Mode::Relays);
    let error = || "vault_write".to_owned();
    for left in [10, 9, 8] {
        let (vault, mut asked) = asked(&disk, SECRET, &ways);
        let mut vault = vault.unwrap();
        disk.refuse_writes_to(Some("records"));
        asked.settle(&mut vault);
        let told = asked.wrong_before().unwrap();
        assert_eq!((told.left, told.unnoted.unwrap().error), (left, error()));
        let (vault, made) = refreshed(vault, &ways);
        assert!(made.is_err());
        drop(vault);
        disk.refuse_writes_to(None);
    }
    let (vault, _) = opened(&disk, &ways);
    let (vault, made) = refreshed(vault, &ways);
    made.unwrap();
    vault.lock().unwrap();
    assert_eq!(opened(&disk, &ways).1, None);
}

/// Leases that are to be renewed are noted before a relay is asked, and not any more when they were.
// [SPEC 11.54]
#[test]
fn leases_are_noted_until_they_are_renewed() {
    let (mut relays, ways) = ([Relay::start()], at(PathBuf::from("/nowhere")));
    let disk = with_relays(&relays, &ways, Mode::Relays);
    let here = Here(RefCell::new(opened(&disk, &ways).0));
    let why = || {
        let told = told(&here.0.borrow());
        told.not_renewed.map(|not| not.text)
    };
    assert!(why().is_none());
    note_due(&mut here.0.borrow_mut()).unwrap();
    relays[0].stop();
    assert!(renew(&here, &ways).is_err());
    assert!(why().unwrap().starts_with("relays did not renew"));
    relays[0].resume();
    renew(&here, &ways).unwrap();
    assert!(why().is_none());
    // What else was noted stays.
    let failure = Failure::fault("another");
    crate::factors::change::note_failed(&here, &failure).unwrap();
    note_due(&mut here.0.borrow_mut()).unwrap();
    renew(&here, &ways).unwrap();
    assert!(why().unwrap().starts_with("another"));
}

/// A TPM whose owner got a password answers nobody: no relay is asked.
// [SPEC 11.40]
#[test]
fn a_tpm_with_an_owners_password_costs_no_use() {
    let Some(swtpm) = software("a_tpm_with_an_owners_password_costs_no_use") else {
        return;
    };
    let (relays, ways) = ([Relay::start()], at(swtpm.socket()));
    let disk = with_relays(&relays, &ways, Mode::TpmAndRelays);
    change_owner(&swtpm, b"", b"owner");
    for _ in 0..11 {
        let (vault, asked) = asked(&disk, SECRET, &ways);
        assert!(matches!(vault, Err(OpenError::Unanswered)));
        let trouble = asked.trouble.unwrap();
        assert_eq!(trouble.error, "vault_tpm_absent");
        assert!(trouble.text.contains("password"), "{}", trouble.text);
    }
    change_owner(&swtpm, b"owner", b"");
    let (vault, told) = opened(&disk, &ways);
    assert!(has_record(&vault));
    assert_eq!(told, None);
}

/// That is told as what it is, with what the relays that answered allow yet; and another choice of the mode puts it right.
// [SPEC 11.53, 11.121]
#[test]
fn a_damaged_record_is_told_as_damaged() {
    let (relays, ways) = ([Relay::start()], at(PathBuf::from("/nowhere")));
    let disk = with_relays(&relays, &ways, Mode::Relays);
    let mut vault = asked(&disk, SECRET, &ways).0.unwrap();
    let area = noted::area_of(&vault);
    let record = Change {
        key: b"nf".to_vec(),
        value: Some(vec![0xff]),
    };
    vault.apply(vec![record]).unwrap();
    drop(vault);
    let (vault, mut asked) = asked(&disk, SECRET, &ways);
    let mut vault = vault.unwrap();
    asked.settle(&mut vault);
    let told = asked.wrong_before().unwrap();
    let why = told.unnoted.unwrap();
    assert_eq!((told.wrong, told.left), (0, 9));
    assert!(why.text.contains("damaged"), "{}", why.text);
    assert!(why.hint.unwrap().contains("vault mode passphrase"));
    let (vault, set) = set_mode(vault, &ways, Mode::Passphrase);
    set.unwrap();
    assert!(Noted::read(&vault).is_ok_and(|noted| !noted.has_something()));
    // [SPEC 11.121] What the header named is not lost with the record: the relay does not have it any more.
    let reached = relays::reach(&ways.carrier, &area);
    assert_eq!(reached.err().unwrap().error, "vault_no_attempts");
}

/// As another program does it.
fn change_owner(swtpm: &Swtpm, before: &[u8], after: &[u8]) {
    let number = |n: usize| u32::try_from(n).unwrap().to_be_bytes();
    let sized = |bytes: &[u8]| {
        let len = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        [&len[..], bytes].concat()
    };
    let password = [&number(0x4000_0009)[..], &[0, 0, 0], &sized(before)].concat();
    let body = [
        &number(0x4000_0001)[..],
        &number(password.len()),
        &password,
        &sized(after),
    ]
    .concat();
    let head = [&[0x80, 2][..], &number(10 + body.len()), &number(0x129)].concat();
    let mut tpm = UnixStream::connect(swtpm.socket()).unwrap();
    tpm.write_all(&[head, body].concat()).unwrap();
    let mut answer = [0; 10];
    tpm.read_exact(&mut answer).unwrap();
    assert_eq!(answer[6..], [0; 4]);
}
