//! A database on another machine is spoken to under TLS.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};

use super::*;

pub fn certificate(name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let names = vec![name.to_owned()];
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key);
    let certificate = pem("CERTIFICATE", certificate.unwrap().der());
    (certificate, pem("PRIVATE KEY", &key.serialize_der()))
}

fn pem(what: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN {what}-----\n{text}\n-----END {what}-----\n")
}

// [SPEC 6.212]
#[test]
fn a_database_proves_who_it_is() {
    let keys = Scratch::in_memory("secured keys");
    let (ours, key) = certificate("localhost");
    let (others, _) = certificate("localhost");
    let arguments = &["-c", "ssl=on"];
    let server = database::Server::start_with(arguments, |server| {
        server.write("data/server.crt", &ours);
        server.write("data/server.key", &key);
    });
    let with = |pem: &str, name: &str, host: &str| {
        let file = keys.path().join(name);
        fs::write(&file, pem).unwrap();
        let file = file.display().to_string().replace(' ', "%20");
        let address = server.fresh().replace("127.0.0.1", host);
        format!("{address}?sslmode=verify-full&sslrootcert={file}")
    };
    let address = with(&ours, "its own.pem", "localhost");
    let mut node = open(std::slice::from_ref(&address), keys.path());
    one(&mut node, create(1)).unwrap();
    let name = address.split('?').next().unwrap();
    let name = name_of(name);
    let secured = format!(
        "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND datname = '{name}'"
    );
    assert_eq!(server.number("postgres", &secured), 1);
    // Another one's certificate is not taken, nor one for another name, nor none.
    let host = format!("@localhost:{}/", database::shared().port());
    let plain = format!("@localhost:{}/", server.port());
    let missing = format!("{address}.not");
    for (address, what) in [
        (with(&others, "others.pem", "localhost"), "by no authority"),
        (with(&ours, "ours.pem", "127.0.0.1"), "not for the name"),
        (
            with(&ours, "ours.pem", "localhost").replace(&plain, &host),
            "speaks no TLS",
        ),
        (with("nothing", "none.pem", "localhost"), "none of PEM"),
        (missing, "cannot be read"),
    ] {
        let fresh = Scratch::in_memory("secured-others");
        let refused = try_open(&[address], 7, fresh.path(), BEFORE).err();
        let why = refused.unwrap().why.to_string();
        assert!(why.contains(what), "{why}");
    }
}

// [SPEC 6.212]
#[test]
fn nothing_leaves_this_machine_in_clear_unasked() {
    let file = Scratch::in_memory("authorities");
    let ours = file.path().join("ours.pem");
    fs::write(&ours, certificate("db.example.org").0).unwrap();
    for (host, more, is_taken) in [
        ("db.example.org", "", false),
        ("db.example.org", "?sslmode=prefer", false),
        ("db.example.org", "?sslmode=require", false),
        ("db.example.org", "?sslmode=verify-full", false),
        ("db.example.org", "?sslmode=disable", true),
        ("db.example.org", "?sslrootcert=OURS", true),
        ("db.example.org", "?sslmode=disable&sslrootcert=OURS", false),
        (
            "db.example.org",
            "?sslmode=verify-full&sslmode=disable",
            false,
        ),
        (
            "db.example.org",
            "?channel_binding=require&sslrootcert=OURS",
            false,
        ),
        ("%2Frun%2Fpostgresql", "?sslrootcert=OURS", false),
        ("", "?hostaddr=203.0.113.5&sslrootcert=OURS", false),
        ("a.example.org,b.example.org", "?sslrootcert=OURS", true),
        (
            "a.example.org,b.example.org",
            "?hostaddr=203.0.113.5&sslrootcert=OURS",
            false,
        ),
        ("localhost,db.example.org", "", false),
        ("", "?hostaddr=127.0.0.1,203.0.113.5", false),
        ("localhost", "", true),
        ("[::1]", "", true),
        ("%2Frun%2Fpostgresql", "", true),
        ("127.0.0.1", "?sslmode=verify-full", false),
        // Where it goes counts, not what it is called.
        ("localhost", "?hostaddr=203.0.113.5", false),
        ("", "?hostaddr=203.0.113.5", false),
        ("", "?hostaddr=127.0.0.1", true),
    ] {
        let more = more.replace("OURS", &ours.display().to_string());
        let address = format!("postgres://u:p?w@{host}/relay{more}");
        assert_eq!(Address::parse(&address).is_ok(), is_taken, "{address}");
    }
}
