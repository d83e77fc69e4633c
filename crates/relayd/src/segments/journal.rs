//! The journal: every commit, one behind the other, durable with one sync. It is replaced at each checkpoint, and its key is
//! destroyed then: what was trimmed before its checkpoint never lay anywhere else.

use std::io;

use emptyroom_relay::store::StoreFailure;
use rand_chacha::ChaCha20Rng;

use super::disk::{Disk, DiskFile, synced};
use super::frames::{self, Frame, Frames, Tail, Unreadable};
use super::keyfile::{self, Found};
use super::record::{self, Op};
use crate::data::{io_failure, open_failure};

const LABEL: &[u8] = b"emptyroom v1 journal";

/// The journal that is written.
pub(super) struct Journal<F> {
    pub(super) number: u64,
    pub(super) frames: Frames<F>,
}

impl<F: DiskFile> Journal<F> {
    /// Begins an empty one, durable.
    pub(super) fn begin<D: Disk<File = F>>(
        disk: &D,
        number: u64,
        rng: &mut ChaCha20Rng,
    ) -> Result<Self, StoreFailure> {
        let key = keyfile::make(disk, &key_name(number))?;
        let mut begin = || -> io::Result<_> {
            let file = disk.create(&log_name(number))?;
            let frames = Frames::begin(file, key.duplicate(), label(number), rng)?;
            synced(disk.sync_names())?;
            Ok(frames)
        };
        begin()
            .map(|frames| Self { number, frames })
            .map_err(|error| {
                let failure = io_failure(&error, "beginning a journal");
                let unmade = keyfile::unmake(disk, &[log_name(number), key_name(number)]);
                unmade.err().unwrap_or(failure)
            })
    }
}

/// An earlier journal, as far as it can be read.
pub(super) struct Read<F> {
    contents: Vec<Frame>,
    /// The file to go on with, or what is damaged behind these contents.
    pub(super) end: Result<(Frames<F>, Tail), &'static str>,
}

/// Journals by their numbers, in order. Those without content go.
pub(super) type Journals<F> = Vec<(u64, Option<Read<F>>)>;

impl<F> Read<F> {
    /// Hands over each operation in order.
    pub(super) fn carry_out(&self, take: &mut dyn FnMut(Op<'_>)) {
        for frame in &self.contents {
            // It was looked at when it was read.
            let _ = record::ops(frame.content(), take);
        }
    }
}

/// Reads an earlier journal, and changes nothing. `None`: it was never begun or is on its way out.
// [SPEC 6.111]
pub(super) fn read<D: Disk>(
    disk: &D,
    number: u64,
    names: &[String],
) -> Result<Option<Read<D::File>>, StoreFailure> {
    let mut contents = Vec::new();
    let has = |name: &str| names.iter().any(|found| found == name);
    // One without frames was being begun or given up.
    let holds_frames = || any_written(disk, &[number]);
    let key = match keyfile::read(disk, &key_name(number))? {
        Found::Key(key) if has(&log_name(number)) => key,
        Found::Damaged | Found::Nothing if holds_frames()? => {
            let end = Err("its key is damaged or lost");
            return Ok(Some(Read { contents, end }));
        }
        _ => return Ok(None),
    };
    let file = disk.open(&log_name(number));
    let file = file.map_err(|e| open_failure(&e, "opening a journal"))?;
    let read = Frames::read(file, key, label(number), true, &mut |group| {
        let mut frames = group.iter();
        frames.try_for_each(|frame| record::ops(frame.content(), &mut |_| ()))?;
        contents.extend(group);
        Ok(())
    });
    let end = match read {
        Ok(Some(read)) => Ok(read),
        Ok(None) => return Ok(None),
        Err(Unreadable::Damaged(what)) => Err(what),
        Err(Unreadable::Failed(failure)) => return Err(failure),
    };
    Ok(Some(Read { contents, end }))
}

/// Destroys a journal's key and removes its files, as far as they are there.
pub(super) fn destroy<D: Disk>(disk: &D, number: u64) -> Result<(), StoreFailure> {
    keyfile::destroy(disk, &key_name(number), &[log_name(number)])
}

/// Whether any journal holds a commit, or a part of one: only then can a checkpoint have been cut off.
pub(super) fn any_written<D: Disk>(disk: &D, numbers: &[u64]) -> Result<bool, StoreFailure> {
    for number in numbers {
        match disk.open(&log_name(*number)).and_then(|file| file.len()) {
            Ok(len) if len > frames::FILE_HEAD as u64 => return Ok(true),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(open_failure(&error, "opening a journal"));
            }
            Ok(_) | Err(_) => {}
        }
    }
    Ok(false)
}

/// The numbers of all journals there are, in order.
pub(super) fn numbers(names: &[String]) -> Vec<u64> {
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|name| name.strip_prefix("journal-")?.split_once('.'))
        .filter_map(|(number, _)| number.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

pub(super) fn key_name(number: u64) -> String {
    format!("journal-{number}.key")
}

pub(super) fn log_name(number: u64) -> String {
    format!("journal-{number}.log")
}

fn label(number: u64) -> Vec<u8> {
    let mut label = LABEL.to_vec();
    label.extend_from_slice(&number.to_be_bytes());
    label
}
