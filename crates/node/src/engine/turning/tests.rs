//! Writes that fail, and records that cannot be read.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use emptyroom_core::api::Ticket;
use emptyroom_vault::VALUE_LEN_MAX;

use super::*;
use crate::api::{Answer, Call, SecretText};
use crate::engine::Message;
use crate::engine::switch::tests::over;
use crate::home::{Kdf, create_vault};
use crate::session::runtime;

/// The state of the first conversation.
const HEAD: &[u8] = b"c\0\0\0\x01h";

fn home(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!(
        "emptyroom-node-{}-turning-{name}",
        std::process::id()
    ))
}

fn vault(home: &Path) -> emptyroom_vault::Vault {
    let pin = SecretText::new("a pin of this test".to_owned());
    create_vault(home, &pin, Kdf::Minimum).unwrap()
}

fn change(key: &[u8], value: Vec<u8>) -> Change {
    Change {
        key: key.to_vec(),
        value: Some(value),
    }
}

/// The answer to a call that needs nobody else.
fn ask(engine: &mut Engine, call: Call) -> Result<Answer, Failure> {
    let (answered, answer) = std::sync::mpsc::channel();
    engine.call(call, Box::new(move |got| answered.send(got).unwrap()));
    while let Some(input) = engine.inputs.pop_front() {
        engine.feed(input);
        engine.store();
    }
    answer.try_recv().unwrap()
}

/// Time alone does not bring back what no vault takes; whoever asks is served.
// [SPEC 12.39]
#[test]
fn a_record_that_is_too_long_is_told_once() {
    let home = home("long");
    let runtime = runtime().unwrap();
    let (mut engine, ..) = over(vault(&home), &home, &runtime);
    engine.store();
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    engine.watchers.push(Box::new(move |event| {
        if let Event::StorageFailed { why } = event {
            heard.lock().unwrap().push(why.clone());
        }
        true
    }));
    let too_long = change(b"x", vec![0; VALUE_LEN_MAX + 1]);
    engine.unstored.push((Ticket(9), vec![too_long]));
    engine.store();
    for _ in 0..3 {
        engine.tick();
        assert!(engine.client.is_none());
    }
    assert_eq!(*told.lock().unwrap(), ["vault_write"]);
    assert!(ask(&mut engine, Call::Contacts {}).is_ok());
    engine.tick();
    assert!(engine.client.is_some());
    std::fs::remove_dir_all(&home).unwrap();
}

/// Whoever comes while something waits for the disk hears what comes of it.
// [SPEC 12.27, 12.39]
#[test]
fn a_newcomer_misses_nothing() {
    let home = home("newcomer");
    let runtime = runtime().unwrap();
    let (mut engine, ..) = over(vault(&home), &home, &runtime);
    engine.store();
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let too_long = change(b"x", vec![0; VALUE_LEN_MAX + 1]);
    engine.unstored.push((Ticket(9), vec![too_long]));
    engine.take(Message::Watch(Box::new(move |event| {
        heard.lock().unwrap().push(event.clone());
        true
    })));
    assert!(engine.watchers.is_empty());
    let up = |up| Event::Connection {
        relay: "r".into(),
        up,
    };
    engine.tell(&up(true));
    engine.tell(&up(false));
    engine.store();
    let told = told.lock().unwrap();
    assert!(told[0] == up(false));
    assert!(matches!(&told[1], Event::StorageFailed { why } if why == "vault_write"));
    assert_eq!(told.len(), 2);
    drop(told);
    engine.welcome();
    assert_eq!(engine.watchers.len(), 1);
    std::fs::remove_dir_all(&home).unwrap();
}

// [SPEC 8.67, 12.78]
#[test]
fn a_damaged_conversation_is_shown_and_the_vault_opens() {
    for (name, record, why) in [
        ("cut", vec![0, 1, 0, 0], "unreadable"),
        ("other", vec![0x55; 300], "newer_version"),
        (
            "newer",
            vec![0, 2, 0, 0, 0, 3, b'b', b'e', b'n'],
            "newer_version",
        ),
    ] {
        let home = home(name);
        let mut vault = vault(&home);
        vault.apply(vec![change(HEAD, record.clone())]).unwrap();
        // There is an account already.
        let account = [&[0, 1][..], &[7; 32]].concat();
        vault.apply(vec![change(b"a", account)]).unwrap();
        let runtime = runtime().unwrap();
        let (mut engine, ..) = over(vault, &home, &runtime);
        let called = if name == "newer" { "ben" } else { "damaged-1" };
        let Ok(Answer::Contacts { contacts }) = ask(&mut engine, Call::Contacts {}) else {
            panic!("no contacts");
        };
        assert_eq!(contacts.len(), 1);
        let contact = &contacts[0];
        let shown = (&*contact.name, &*contact.state, contact.why.as_deref());
        assert_eq!(shown, (called, "damaged", Some(why)));
        let Ok(Answer::Status(status)) = ask(&mut engine, Call::Status {}) else {
            panic!("no status");
        };
        assert_eq!(status.damaged.len(), 1);
        assert_eq!(status.damaged[0].conversation, called);
        assert_eq!(status.damaged[0].why, why);
        let to = called.to_owned();
        let send = Call::Send {
            to,
            text: "hello".to_owned(),
            burn_s: None,
            relay_days: None,
        };
        let refused = ask(&mut engine, send).err().unwrap();
        let refused = (refused.exit, &*refused.error);
        assert_eq!(refused, (Exit::Vault, "conversation_damaged"));
        assert_eq!(engine.vault.get(HEAD).unwrap().unwrap().as_slice(), record);
        let name = called.to_owned();
        assert!(ask(&mut engine, Call::Forget { name }).is_ok());
        assert!(engine.vault.get(HEAD).unwrap().is_none());
        std::fs::remove_dir_all(&home).unwrap();
    }
}
