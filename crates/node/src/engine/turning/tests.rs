//! Writes that fail, and records that cannot be read.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use emptyroom_core::api::Ticket;
use emptyroom_vault::VALUE_LEN_MAX;

use super::*;
use crate::api::{Answer, Call, SecretText};
use crate::engine::switch::tests::over;
use crate::home::{Kdf, create_vault};
use crate::session::runtime;

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
