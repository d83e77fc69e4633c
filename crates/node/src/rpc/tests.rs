//! The lines of the daemon, one by one.

use super::*;
use crate::api::{ModeName, SecretText};

fn every_call() -> Vec<Call> {
    let name = || "bob".to_owned();
    vec![
        Call::SetRelay {
            address: "a".into(),
        },
        Call::Invite {
            name: name(),
            expires_in_s: None,
        },
        Call::CancelInvite { name: name() },
        Call::Invites {},
        Call::Join {
            link: "l".into(),
            name: name(),
        },
        Call::Contacts {},
        Call::Rename {
            name: name(),
            to: "carol".into(),
        },
        Call::Forget { name: name() },
        Call::Send {
            to: name(),
            text: "hi".into(),
            burn_s: Some(30),
            relay_days: None,
        },
        Call::Unread {
            name: None,
            limit: 10,
        },
        Call::Shown {
            name: name(),
            up_to: 4,
        },
        Call::History {
            name: name(),
            before: Some(7),
            limit: 10,
        },
        Call::Delete {
            name: name(),
            id: 3,
        },
        Call::SetTimer {
            name: name(),
            timer_s: None,
        },
        Call::SetReceipts {
            name: name(),
            delivered: true,
            read: false,
        },
        Call::Fingerprint { name: name() },
        Call::ConfirmVerified { name: name() },
        Call::Block {
            name: name(),
            on: true,
        },
        Call::AllowRestart { name: name() },
        Call::Status {},
        Call::AlarmsTold { until: 7 },
        Call::Flush { wait_ms: 10 },
        Call::ChangeSecret {
            old: SecretText::new("a".into()),
            new: SecretText::new("b".into()),
            mode: Some(ModeName::Passphrase),
        },
        Call::VaultMode { relays: Vec::new() },
        Call::SetMode {
            secret: SecretText::new("1".into()),
            mode: ModeName::TpmAndRelays,
            relays: vec![SecretText::new("an address".into())],
        },
        Call::ForgetLeft {
            secret: SecretText::new("1".into()),
        },
        Call::SetPanic {
            secret: SecretText::new("1".into()),
            panic: SecretText::new("2".into()),
        },
        Call::UnsetPanic {
            secret: SecretText::new("1".into()),
        },
        Call::SetRecovery {
            secret: SecretText::new("1".into()),
            words: Some(SecretText::new("w".into())),
        },
        Call::Drill {},
        Call::Panic {},
        Call::SetDeadman {
            secret: SecretText::new("1".into()),
            days: Some(14),
        },
        Call::SuspendDeadman {
            secret: SecretText::new("1".into()),
            days: 30,
        },
        Call::SetSwitch {
            secret: SecretText::new("1".into()),
            switch: SecretText::new("2".into()),
            owner: SecretText::new("3".into()),
        },
        Call::UnsetSwitch {
            secret: SecretText::new("1".into()),
        },
        Call::Lock {},
        Call::Subscribe {},
    ]
}

// [SPEC 12.20]
#[test]
fn every_call_has_a_method_and_comes_back_from_its_line() {
    let mut seen = Vec::new();
    for (id, call) in (1_u64..).zip(every_call()) {
        let line = request_line(id, &call);
        let back = parse_request(line.trim_end().as_bytes())
            .map_err(|e| e.text)
            .unwrap();
        assert_eq!(back.id, json!(id));
        let (sent, read) = (
            serde_json::to_value(&call).unwrap(),
            serde_json::to_value(&back.call).unwrap(),
        );
        assert_eq!(sent, read);
        seen.push(
            sent.get("method")
                .and_then(Value::as_str)
                .unwrap()
                .to_owned(),
        );
    }
    assert_eq!(seen, METHODS);
}

// [SPEC 12.21]
#[test]
fn what_is_no_request_is_refused_with_the_code_for_it() {
    let code = |line: &str| parse_request(line.as_bytes()).err().map(|e| (e.code, e.id));
    assert_eq!(code("{"), Some((PARSE_ERROR, Value::Null)));
    assert_eq!(
        code(r#"[{"jsonrpc":"2.0","id":1,"method":"status"}]"#),
        Some((INVALID_REQUEST, Value::Null))
    );
    assert_eq!(
        code(r#"{"jsonrpc":"2.0","method":"status"}"#),
        Some((INVALID_REQUEST, Value::Null))
    );
    assert_eq!(
        code(r#"{"jsonrpc":"1.0","id":1,"method":"status"}"#),
        Some((INVALID_REQUEST, json!(1)))
    );
    assert_eq!(
        code(r#"{"jsonrpc":"2.0","id":1,"method":"status","more":1}"#),
        Some((INVALID_REQUEST, json!(1)))
    );
    assert_eq!(
        code(r#"{"jsonrpc":"2.0","id":"x","method":"steal"}"#),
        Some((METHOD_NOT_FOUND, json!("x")))
    );
    assert_eq!(
        code(r#"{"jsonrpc":"2.0","id":1,"method":"send","params":["bob","hi"]}"#),
        Some((INVALID_PARAMS, json!(1)))
    );
    assert_eq!(
        code(r#"{"jsonrpc":"2.0","id":1,"method":"send","params":{"to":"bob"}}"#),
        Some((INVALID_PARAMS, json!(1)))
    );
    assert_eq!(
        code(r#"{"jsonrpc":"2.0","id":1,"method":"lock","params":{"pin":"1"}}"#),
        Some((INVALID_PARAMS, json!(1)))
    );
    assert!(parse_request(br#"{"jsonrpc":"2.0","id":1,"method":"status"}"#).is_ok());
}

// [SPEC 12.22]
#[test]
fn responses_carry_the_version_and_failures_their_exit_code() {
    let done = response_line(&json!(1), &Ok(Answer::Queued { id: 9 }));
    assert_eq!(
        done,
        "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":{\"id\":9,\"result\":\"queued\",\"v\":1}}\n"
    );
    let failed: Value =
        serde_json::from_str(&response_line(&json!(2), &Err(Failure::locked()))).unwrap();
    assert_eq!(failed.pointer("/error/code"), Some(&json!(-32_005)));
    assert_eq!(
        failed.pointer("/error/data/error"),
        Some(&json!("vault_locked"))
    );
    assert_eq!(failed.pointer("/error/data/exit"), Some(&json!(5)));
    for outcome in [Ok(Answer::Done {}), Err(Failure::locked())] {
        let FromDaemon::Response(3, back) =
            parse_from_daemon(response_line(&json!(3), &outcome).trim_end().as_bytes()).unwrap()
        else {
            panic!("not a response")
        };
        assert!(back == outcome);
    }
}

#[test]
fn events_come_back_from_their_lines() {
    let event = Event::MessageReceived {
        conversation: "bob".into(),
        id: 3,
        text: "hi".into(),
        sent_at: 1,
        received_at: 2,
        timer_s: None,
        expires_at: None,
    };
    let line = event_line(&event);
    let FromDaemon::Event(back) = parse_from_daemon(line.trim_end().as_bytes()).unwrap() else {
        panic!("no event")
    };
    assert!(back == event);
    let foreign = line.replace("\"v\":1", "\"v\":2");
    assert!(parse_from_daemon(foreign.trim_end().as_bytes()).is_err());
}

// [SPEC 12.23]
#[test]
fn lines_are_cut_anywhere_and_bounded() {
    let mut lines = Lines::new(4);
    for byte in b"ab\ncdef\n" {
        lines.push(&[*byte]);
    }
    assert_eq!(lines.next_line(), Ok(Some(b"ab".to_vec())));
    assert_eq!(lines.next_line(), Ok(Some(b"cdef".to_vec())));
    assert_eq!(lines.next_line(), Ok(None));
    lines.push(b"abcde");
    assert_eq!(lines.next_line(), Err(TooLong));
    let mut lines = Lines::new(4);
    lines.push(b"abcde\n");
    assert_eq!(lines.next_line(), Err(TooLong));
}
