//! What somebody tries who has the machine, the disk and every command of its TPM, but no PIN.

use emptyroom_tpm::{Enrolment, ShareError, Tpm};
use std::path::Path;

use crate::raw::{self, By, EMPTY, Raw, cat, sized, u32s};
use crate::support::{enrolled, open, stretched};
use crate::swtpm;

/// The attributes' place in an index's public area, and the bit that says it was written.
const ATTRIBUTES: std::ops::Range<usize> = 6..10;
const WRITTEN: u32 = 1 << 29;
const OWNER_WRITES: u32 = 1 << 1;

fn with_attributes(public: &[u8], change: impl Fn(u32) -> u32) -> Vec<u8> {
    let mut public = public.to_vec();
    let old = u32::from_be_bytes(public[ATTRIBUTES].try_into().unwrap());
    public[ATTRIBUTES].copy_from_slice(&change(old).to_be_bytes());
    public
}

/// Asks the key by hand, with a policy session that this index authorizes.
fn ask(raw: &mut Raw, enrolment: &Enrolment, s: &[u8]) -> Result<Vec<u8>, u32> {
    let (public, private) = raw::key_of(&enrolment.encode());
    let primary = raw.primary();
    let key = raw.loaded(
        raw::LOAD,
        &[primary],
        &[EMPTY],
        &cat(&[&sized(&private), &sized(&public)]),
    );
    let policy = raw.policy();
    let index = enrolment.place().number();
    let result = match raw.policy_secret(index, policy, 0).0 {
        0 => {
            raw.command_code(policy, raw::HMAC);
            let parameters = cat(&[&sized(s), &[0, 0x0B]]);
            match raw.send(raw::HMAC, &[key], &[By::Policy(policy)], &parameters) {
                (0, rest) => Ok(rest[6..38].to_vec()),
                (code, _) => Err(code),
            }
        }
        code => Err(code),
    };
    for handle in [key, primary, policy] {
        raw.flush(handle);
    }
    result
}

fn gone(tpm: &mut Tpm, enrolment: &Enrolment) {
    let share = tpm.share(enrolment, &stretched(1)).map(drop);
    assert_eq!(share, Err(ShareError::Gone));
}

// [SPEC 11.31]
#[test]
fn an_index_made_again_opens_nothing() {
    let swtpm = swtpm!("an_index_made_again");
    let mut tpm = open(&swtpm.socket(), 1);
    let (enrolment, secret) = enrolled(&mut tpm);
    let share = tpm.share(&enrolment, &stretched(1)).unwrap();
    let mut raw = Raw::new(&swtpm.socket());
    // The control: by hand it is the same key.
    let asked = ask(&mut raw, &enrolment, stretched(1).expose());
    assert_eq!(asked.as_deref(), Ok(share.expose().as_slice()));
    let index = enrolment.place().number();
    let public = raw.index_public(index);
    raw.undefine(index);
    // The same, bit for bit: nobody can write it but by the gate, and unwritten it authorizes nothing.
    let same = with_attributes(&public, |old| old & !WRITTEN);
    assert_eq!(raw.define(&same), 0);
    let write = cat(&[&sized(&u32s(&[0, 10])), &[0, 0]]);
    assert_ne!(
        raw.send(raw::NV_WRITE, &[index, index], &[EMPTY], &write).0,
        0
    );
    assert_ne!(
        raw.send(raw::NV_WRITE, &[raw::OWNER, index], &[EMPTY], &write)
            .0,
        0
    );
    let unavailable = 0x12F;
    assert_eq!(ask(&mut raw, &enrolment, &[0; 32]), Err(unavailable));
    drop(raw);
    gone(&mut tpm, &enrolment);
    let mut raw = Raw::new(&swtpm.socket());
    // One that the owner may write has another name, so the key's policy fails.
    raw.undefine(index);
    assert_eq!(
        raw.define(&with_attributes(&same, |old| old | OWNER_WRITES)),
        0
    );
    assert_eq!(
        raw.send(raw::NV_WRITE, &[raw::OWNER, index], &[EMPTY], &write)
            .0,
        0
    );
    let policy_fails = 0x99D;
    assert_eq!(ask(&mut raw, &enrolment, &[0; 32]), Err(policy_fails));
    drop(raw);
    gone(&mut tpm, &enrolment);
    let reset = tpm.reset(&enrolment, &secret);
    assert_eq!(reset, Err(emptyroom_tpm::ResetError::Gone));
}

/// One question must not be kept and answered many times.
// [SPEC 11.31]
#[test]
fn the_key_does_nothing_but_answer_one_question() {
    let swtpm = swtpm!("the_key_does_nothing_but");
    let mut tpm = open(&swtpm.socket(), 1);
    let (enrolment, _) = enrolled(&mut tpm);
    let index = enrolment.place().number();
    let (public, private) = raw::key_of(&enrolment.encode());
    let mut raw = Raw::new(&swtpm.socket());
    let primary = raw.primary();
    let key = raw.loaded(
        raw::LOAD,
        &[primary],
        &[EMPTY],
        &cat(&[&sized(&private), &sized(&public)]),
    );
    let start = cat(&[&sized(&[]), &[0, 0x0B]]);
    let hash_check = cat(&[&[0x80, 0x24], &u32s(&[raw::NULL]), &[0, 0]]);
    let sign = cat(&[&sized(&[1; 32]), &[0, 5, 0, 0x0B], &hash_check]);
    for (command, parameters) in [
        (raw::HMAC_START, &start),
        (raw::SIGN, &sign),
        (raw::UNSEAL, &vec![]),
    ] {
        let policy = raw.policy();
        assert_eq!(raw.policy_secret(index, policy, 0).0, 0);
        // Without the command the policy is another, with it the session is for nothing else.
        for narrowed in [false, true] {
            if narrowed {
                raw.command_code(policy, raw::HMAC);
            }
            let (code, _) = raw.send(command, &[key], &[By::Policy(policy)], parameters);
            assert_ne!(code, 0, "{command:#x}");
        }
        raw.flush(policy);
        assert_ne!(raw.send(command, &[key], &[EMPTY], parameters).0, 0);
    }
    // One use of a session takes its authorization with it.
    let policy = raw.policy();
    assert_eq!(raw.policy_secret(index, policy, 0).0, 0);
    raw.command_code(policy, raw::HMAC);
    let question = cat(&[&sized(&[1; 32]), &[0, 0x0B]]);
    assert_eq!(
        raw.send(raw::HMAC, &[key], &[By::Policy(policy)], &question)
            .0,
        0
    );
    assert_ne!(
        raw.send(raw::HMAC, &[key], &[By::Policy(policy)], &question)
            .0,
        0
    );
    // And no ticket stands for one, whatever expiry was asked for.
    let (code, answer) = raw.policy_secret(index, policy, -1000);
    assert_eq!(code, 0);
    let ticket = &answer[4 + 2 + usize::from(u16::from_be_bytes([answer[4], answer[5]]))..];
    assert_eq!(
        ticket[..8],
        cat(&[&[0x80, 0x23], &u32s(&[raw::NULL]), &[0, 0]])
    );
}

/// Why the key is for one command: a key that is not answers any number of guesses for one try.
#[test]
fn a_key_for_any_command_would_not_be_guarded() {
    let swtpm = swtpm!("a_key_for_any_command");
    let mut tpm = open(&swtpm.socket(), 1);
    let (enrolment, _) = enrolled(&mut tpm);
    let index = enrolment.place().number();
    let mut raw = Raw::new(&swtpm.socket());
    let primary = raw.primary();
    // The same key, but its policy is the index alone: what a session has come to after that.
    let policy = raw.policy();
    assert_eq!(raw.policy_secret(index, policy, 0).0, 0);
    let digest = raw.done(raw::POLICY_DIGEST, &[policy], &[], &[]);
    raw.flush(policy);
    let (public, _) = raw::key_of(&enrolment.encode());
    let template = cat(&[&public[..8], &digest, &[0, 5, 0, 0x0B], &sized(&[])]);
    let made = raw.done(
        raw::CREATE,
        &[primary],
        &[EMPTY],
        &cat(&[&sized(&[0; 4]), &sized(&template), &[0; 6]]),
    );
    let mut rest = &made[4..];
    let mut next = || {
        let len = 2 + usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        let part = rest[..len].to_vec();
        rest = &rest[len..];
        part
    };
    let key = raw.loaded(raw::LOAD, &[primary], &[EMPTY], &cat(&[&next(), &next()]));
    let policy = raw.policy();
    assert_eq!(raw.policy_secret(index, policy, 0).0, 0);
    let start = cat(&[&sized(&[]), &[0, 0x0B]]);
    let sequence = raw.loaded(raw::HMAC_START, &[key], &[By::Policy(policy)], &start);
    raw.flush(policy);
    let saved = raw.done(raw::CONTEXT_SAVE, &[sequence], &[], &[]);
    raw.flush(sequence);
    raw.flush(key);
    drop(raw);
    let before = tpm.tries(&enrolment).unwrap();
    let mut raw = Raw::new(&swtpm.socket());
    for guess in 0..20 {
        let sequence = raw.loaded(raw::CONTEXT_LOAD, &[], &[], &saved);
        let parameters = cat(&[&sized(stretched(guess).expose()), &u32s(&[raw::NULL])]);
        raw.done(raw::SEQUENCE_COMPLETE, &[sequence], &[EMPTY], &parameters);
    }
    drop(raw);
    assert_eq!(tpm.tries(&enrolment), Ok(before));
}

#[test]
fn a_cleared_tpm_has_nothing_and_can_be_enrolled_again() {
    let swtpm = swtpm!("a_cleared_tpm");
    let mut tpm = open(&swtpm.socket(), 1);
    let (enrolment, secret) = enrolled(&mut tpm);
    Raw::new(&swtpm.socket()).done(raw::CLEAR, &[raw::LOCKOUT], &[EMPTY], &[]);
    gone(&mut tpm, &enrolment);
    assert_eq!(
        tpm.reset(&enrolment, &secret),
        Err(emptyroom_tpm::ResetError::Gone)
    );
    assert_eq!(tpm.tries(&enrolment), Err(emptyroom_tpm::TriesError::Gone));
    let (again, _) = enrolled(&mut tpm);
    assert!(tpm.share(&again, &stretched(1)).is_ok());
    // Somebody makes the old index by hand: the primary is another all the same.
    let public = index_by_hand(&swtpm.socket(), &enrolment);
    assert!(!public.is_empty());
    gone(&mut tpm, &enrolment);
}

fn index_by_hand(socket: &Path, enrolment: &Enrolment) -> Vec<u8> {
    let mut raw = Raw::new(socket);
    let index = enrolment.place().number();
    let attributes: u32 = 1 << 3 | 9 << 4 | 1 << 17 | 1 << 18 | 1 << 25;
    let public = cat(&[
        &u32s(&[index]),
        &[0, 0x0B],
        &u32s(&[attributes]),
        &sized(&[9; 32]),
        &[0, 8],
    ]);
    assert_eq!(raw.define(&public), 0);
    raw.index_public(index)
}

/// Its guard against guessing is for passwords that people choose; none of ours is.
#[test]
fn the_tpms_own_lockout_stops_nothing_of_ours() {
    let swtpm = swtpm!("the_tpms_own_lockout");
    let mut tpm = open(&swtpm.socket(), 1);
    let (enrolment, secret) = enrolled(&mut tpm);
    let mut raw = Raw::new(&swtpm.socket());
    raw.done(
        raw::LOCKOUT_PARAMETERS,
        &[raw::LOCKOUT],
        &[EMPTY],
        &u32s(&[1, 1000, 1000]),
    );
    // An ordinary index with a password, and two wrong ones.
    let index = 0x01C0_1234;
    let attributes: u32 = 1 << 2 | 1 << 18;
    let public = cat(&[
        &u32s(&[index]),
        &[0, 0x0B],
        &u32s(&[attributes]),
        &[0, 0],
        &[0, 8],
    ]);
    raw.done(
        raw::DEFINE,
        &[raw::OWNER],
        &[EMPTY],
        &cat(&[&sized(b"password"), &sized(&public)]),
    );
    let write = cat(&[&sized(&[0; 8]), &[0, 0]]);
    for _ in 0..2 {
        raw.send(
            raw::NV_WRITE,
            &[index, index],
            &[By::Password(b"wrong")],
            &write,
        );
    }
    let (code, _) = raw.send(
        raw::NV_WRITE,
        &[index, index],
        &[By::Password(b"password")],
        &write,
    );
    assert_eq!(code, 0x921, "the control: it is locked out");
    drop(raw);
    assert!(tpm.share(&enrolment, &stretched(1)).is_ok());
    assert_eq!(tpm.reset(&enrolment, &secret), Ok(()));
    let (another, _) = enrolled(&mut tpm);
    assert!(tpm.share(&another, &stretched(1)).is_ok());
}
