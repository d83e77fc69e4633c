//! A reader of vaults written from chapter 11 of the specification alone, on none of our own code:
//! what a stranger, or somebody who seized the disk and knows the secret, can read.

use std::collections::BTreeMap;

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};
use sha2::{Digest, Sha256};

pub type Key = [u8; 32];

pub const SECTOR: usize = 4096;
pub const BLOCK_SEALED: usize = 4136;
pub const DATA_START: usize = 16_384;
pub const KEYS_PER_SECTOR: usize = 112;

pub fn open_sealed(key: &Key, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, msg) = sealed.split_first_chunk::<24>()?;
    XChaCha20Poly1305::new(key.into())
        .decrypt(&XNonce::from(*nonce), Payload { msg, aad: context })
        .ok()
}

pub fn expand(secret: &[u8], label: &str, context: &[u8]) -> Key {
    let mut info = vec![label.len() as u8];
    info.extend_from_slice(label.as_bytes());
    info.extend_from_slice(context);
    let mut out = [0; 32];
    Hkdf::<Sha256>::new(None, secret)
        .expand(&info, &mut out)
        .unwrap();
    out
}

pub fn stretch(secret: &[u8], salt: &[u8], memory: u32, passes: u32, lanes: u32) -> Key {
    let params = Params::new(memory, passes, lanes, Some(32)).unwrap();
    let mut out = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(secret, salt, &mut out)
        .unwrap();
    out
}

/// A header as its copy says, opened with a secret.
pub struct OpenedHeader {
    pub version: u16,
    pub slot: usize,
    pub sequence: u64,
    pub vault: Key,
    pub root: Key,
    pub active: usize,
    pub sectors: u32,
    /// The stretched panic PIN, if there is one.
    pub panic: Option<Key>,
    /// The stretched recovery phrase, if there is one.
    pub recovery: Option<Key>,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The stretched secret of one copy of a header.
pub fn stretched(copy: &[u8], secret: &str) -> Key {
    stretch(
        secret.as_bytes(),
        &copy[40..72],
        u32_at(copy, 24),
        u32_at(copy, 28),
        u32_at(copy, 32),
    )
}

/// The keys of the slots without factors.
fn slot_keys(copy: &[u8], secret: &str) -> [Key; 4] {
    let mut material = stretched(copy, secret).to_vec();
    material.resize(96, 0);
    slot_keys_of(&material)
}

fn slot_keys_of(material: &[u8]) -> [Key; 4] {
    [0, 1, 2, 3].map(|index| expand(material, "emptyroom v1 vault slot", &[index]))
}

/// What the body is bound to.
fn body_context(copy: &[u8]) -> Vec<u8> {
    let area = if copy[17] == 1 { 4064 } else { 1264 };
    [&copy[..1104], &copy[area..4064]].concat()
}

/// Opens one copy of a header.
pub fn open_header(copy: &[u8], secret: &str) -> Option<OpenedHeader> {
    assert_eq!(copy.len(), 4096);
    if Sha256::digest(&copy[..4064]).as_slice() != &copy[4064..] {
        return None;
    }
    assert_eq!(&copy[..16], b"emptyroom vault\0");
    let version = u16::from_be_bytes([copy[16], copy[17]]);
    assert!(version == 1 || version == 2);
    for (index, key) in slot_keys(copy, secret).into_iter().enumerate() {
        let mut context = copy[..72].to_vec();
        context.push(index as u8);
        let at = 80 + 256 * index;
        let payload = open_sealed(&key, &context, &copy[at..at + 256]);
        let Some(payload) = payload.filter(|payload| [1, 3].contains(&payload[0])) else {
            continue;
        };
        let vault: Key = payload[1..33].try_into().unwrap();
        let body_key = expand(&vault, "emptyroom v1 vault header", &[]);
        let body = open_sealed(&body_key, &body_context(copy), &copy[1104..1264])?;
        return Some(OpenedHeader {
            version,
            slot: index,
            sequence: u64::from_be_bytes(copy[72..80].try_into().unwrap()),
            vault,
            root: body[..32].try_into().unwrap(),
            active: usize::from(body[32]),
            sectors: u32_at(&body, 36),
            panic: (body[35] & 1 != 0).then(|| body[40..72].try_into().unwrap()),
            recovery: (body[35] & 2 != 0).then(|| body[72..104].try_into().unwrap()),
        });
    }
    None
}

/// The kinds of the slots that a secret opens.
pub fn kinds(copy: &[u8], secret: &str) -> Vec<u8> {
    kinds_of(copy, slot_keys(copy, secret))
}

/// The same for a secret and what factors gave for it.
pub fn kinds_by(copy: &[u8], material: &[u8]) -> Vec<u8> {
    kinds_of(copy, slot_keys_of(material))
}

fn kinds_of(copy: &[u8], keys: [Key; 4]) -> Vec<u8> {
    let keys = keys.into_iter().enumerate();
    keys.filter_map(|(index, key)| {
        let mut context = copy[..72].to_vec();
        context.push(index as u8);
        let at = 80 + 256 * index;
        Some(open_sealed(&key, &context, &copy[at..at + 256])?[0])
    })
    .collect()
}

fn seal(key: &Key, context: &[u8], plain: &[u8]) -> Vec<u8> {
    // Only ever one value under each of the keys here.
    let nonce = [5; 24];
    let payload = Payload {
        msg: plain,
        aad: context,
    };
    let sealed = XChaCha20Poly1305::new(key.into()).encrypt(&XNonce::from(nonce), payload);
    [nonce.to_vec(), sealed.unwrap()].concat()
}

/// The same header as version 1 had it.
pub fn as_version_1(copy: &[u8], secret: &str) -> Vec<u8> {
    let opened = open_header(copy, secret).unwrap();
    let mut old = copy.to_vec();
    old[17] = 1;
    let mut payload = vec![1];
    payload.extend_from_slice(&opened.vault);
    payload.resize(216, 0);
    let mut context = old[..72].to_vec();
    context.push(opened.slot as u8);
    let key = slot_keys(copy, secret)[opened.slot];
    let at = 80 + 256 * opened.slot;
    old[at..at + 256].copy_from_slice(&seal(&key, &context, &payload));
    let body_key = expand(&opened.vault, "emptyroom v1 vault header", &[]);
    let body = open_sealed(&body_key, &body_context(copy), &copy[1104..1264]).unwrap();
    let body = seal(&body_key, &old[..1104], &body);
    old[1104..1264].copy_from_slice(&body);
    let checksum = Sha256::digest(&old[..4064]);
    old[4064..].copy_from_slice(&checksum);
    old
}

/// Makes the checksum of a copy right.
pub fn checksum(copy: &mut [u8]) {
    let checksum = Sha256::digest(&copy[..4064]);
    copy[4064..].copy_from_slice(&checksum);
}

/// The copy of a header file that counts.
pub fn newest_header(file: &[u8], secret: &str) -> Option<OpenedHeader> {
    let copies = file.chunks_exact(4096).take(2);
    copies
        .filter_map(|copy| open_header(copy, secret))
        .max_by_key(|header| header.sequence)
}

pub fn sector_key(vault: &Key, root: &Key) -> Key {
    expand(
        &[*vault, *root].concat(),
        "emptyroom v1 vault key sectors",
        &[],
    )
}

pub fn journal_key(vault: &Key, root: &Key) -> Key {
    expand(&[*vault, *root].concat(), "emptyroom v1 vault journal", &[])
}

pub fn block_key(vault: &Key) -> Key {
    expand(vault, "emptyroom v1 vault blocks", &[])
}

/// The keys of one opened sector, with their generations.
pub fn keys_of(plain: &[u8]) -> Vec<(u32, Key)> {
    (0..KEYS_PER_SECTOR)
        .map(|entry| {
            let at = entry * 36;
            (
                u32_at(plain, at),
                plain[at + 4..at + 36].try_into().unwrap(),
            )
        })
        .collect()
}

/// The database inside `records`, block zero included.
pub fn database(records: &[u8], key: &Key) -> Vec<u8> {
    let zero = [0usize, 8192]
        .into_iter()
        .filter_map(|at| open_sealed(key, &0u64.to_be_bytes(), &records[at..at + 4152]))
        .max_by_key(|plain| u64::from_be_bytes(plain[..8].try_into().unwrap()))
        .unwrap();
    let len = u64::from_be_bytes(zero[8..16].try_into().unwrap()) as usize;
    let mut out = zero[16..].to_vec();
    for number in 1..len / 4096 {
        let at = DATA_START + (number - 1) * BLOCK_SEALED;
        let block = records
            .get(at..at + BLOCK_SEALED)
            .and_then(|sealed| open_sealed(key, &(number as u64).to_be_bytes(), sealed));
        // Blocks that no transaction has written are whatever the file system gave.
        out.extend_from_slice(&block.unwrap_or_else(|| vec![0; 4096]));
    }
    out
}

/// All rows of a decrypted database: name to slot, generation, sealed value.
pub fn rows(database: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let backend = InMemoryBackend::new();
    backend.set_len(database.len() as u64).unwrap();
    backend.write(0, database).unwrap();
    let db = Database::builder().create_with_backend(backend).unwrap();
    let table: TableDefinition<&[u8], &[u8]> = TableDefinition::new("records");
    let read = db.begin_read().unwrap();
    let table = read.open_table(table).unwrap();
    table
        .iter()
        .unwrap()
        .map(|row| {
            let (name, row) = row.unwrap();
            (name.value().to_vec(), row.value().to_vec())
        })
        .collect()
}

/// The value of a row, if `key` is its key.
pub fn open_row(name: &[u8], row: &[u8], key: &Key) -> Option<Vec<u8>> {
    let mut context = row[..8].to_vec();
    context.extend_from_slice(name);
    open_sealed(key, &context, &row[8..])
}

/// A whole vault, read by the specification.
pub struct Seized {
    pub keys: Vec<(u32, Key)>,
    pub database: Vec<u8>,
    pub rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Reads the files of a vault.
pub fn seize(file: impl Fn(&str) -> Vec<u8>, secret: &str) -> Option<Seized> {
    let header = newest_header(&file("header"), secret)?;
    let sectors = file(["keys.0", "keys.1"][header.active]);
    let key = sector_key(&header.vault, &header.root);
    let mut keys = Vec::new();
    for number in 0..header.sectors {
        let at = number as usize * SECTOR;
        let plain = open_sealed(&key, &number.to_be_bytes(), &sectors[at..at + SECTOR])?;
        keys.extend(keys_of(&plain));
    }
    let database = database(&file("records"), &block_key(&header.vault));
    let rows = rows(&database);
    Some(Seized {
        keys,
        database,
        rows,
    })
}

impl Seized {
    /// What the vault holds.
    pub fn values(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut values = BTreeMap::new();
        for (name, row) in &self.rows {
            let (slot, generation) = (u32_at(row, 0), u32_at(row, 4));
            let (present, key) = self.keys[slot as usize];
            if present == generation {
                values.insert(name.clone(), open_row(name, row, &key).unwrap());
            }
        }
        values
    }
}
