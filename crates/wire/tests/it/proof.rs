//! Proofs and orders hold for exactly what they were signed for.

use emptyroom_wire::log::LogId;
use emptyroom_wire::proof::{self, Purpose, Scope, StreamBinding};
use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::sign::SignKey;

use crate::support::secret;

const PURPOSES: [Purpose; 3] = [Purpose::Read, Purpose::Append, Purpose::Renew];

// [SPEC 4.11]
#[test]
fn a_proof_holds_for_one_purpose_relay_stream_log_and_key() {
    let key = SignKey::from_seed(&secret(1));
    let other_key = SignKey::from_seed(&secret(2)).verify_key();
    let (relay, other_relay) = (IdentityHash([1; 32]), IdentityHash([2; 32]));
    let (binding, other_binding) = (StreamBinding::new(secret(3)), StreamBinding::new(secret(4)));
    let scope = Scope {
        relay: &relay,
        binding: &binding,
        log: LogId([5; 32]),
    };
    for purpose in PURPOSES {
        let signature = proof::sign(&key, purpose, scope);
        let verify = |purpose, scope| proof::verify(&key.verify_key(), purpose, scope, &signature);
        assert_eq!(verify(purpose, scope), Ok(()));
        for other in PURPOSES {
            assert_eq!(verify(other, scope).is_ok(), other == purpose);
        }
        assert!(
            verify(
                purpose,
                Scope {
                    relay: &other_relay,
                    ..scope
                }
            )
            .is_err()
        );
        assert!(
            verify(
                purpose,
                Scope {
                    binding: &other_binding,
                    ..scope
                }
            )
            .is_err()
        );
        assert!(
            verify(
                purpose,
                Scope {
                    log: LogId([6; 32]),
                    ..scope
                }
            )
            .is_err()
        );
        assert!(proof::verify(&other_key, purpose, scope, &signature).is_err());
    }
}

// [SPEC 4.12]
#[test]
fn an_order_holds_for_one_relay_log_number_and_kind() {
    let key = SignKey::from_seed(&secret(1));
    let public = key.verify_key();
    let (relay, other_relay) = (IdentityHash([1; 32]), IdentityHash([2; 32]));
    let (log, other_log) = (LogId([5; 32]), LogId([6; 32]));
    let trim = proof::sign_trim(&key, &relay, log, 7);
    assert_eq!(proof::verify_trim(&public, &relay, log, 7, &trim), Ok(()));
    assert!(proof::verify_trim(&public, &other_relay, log, 7, &trim).is_err());
    assert!(proof::verify_trim(&public, &relay, other_log, 7, &trim).is_err());
    assert!(proof::verify_trim(&public, &relay, log, 8, &trim).is_err());
    assert!(proof::verify_destroy(&public, &relay, log, &trim).is_err());
    let destroy = proof::sign_destroy(&key, &relay, log);
    assert_eq!(
        proof::verify_destroy(&public, &relay, log, &destroy),
        Ok(())
    );
    assert!(proof::verify_destroy(&public, &other_relay, log, &destroy).is_err());
    assert!(proof::verify_destroy(&public, &relay, other_log, &destroy).is_err());
    assert!(proof::verify_trim(&public, &relay, log, 0, &destroy).is_err());
    let other = SignKey::from_seed(&secret(2)).verify_key();
    assert!(proof::verify_destroy(&other, &relay, log, &destroy).is_err());
}
