//! Somebody on the wire between us and the TPM: he sees, alters, cuts and answers himself.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use emptyroom_tpm::swtpm::Swtpm;

/// What he does with a message.
pub enum Verdict {
    Pass,
    /// The line is cut here.
    Cut,
    /// He answers himself; the TPM never sees the command.
    Answer(Vec<u8>),
}

/// A message that comes by: its number since the tap was set (a command and its answer have the
/// same), whether it is the answer, and its bytes.
type Tap = Box<dyn FnMut(usize, bool, &mut Vec<u8>) -> Verdict + Send>;

/// A socket in front of a TPM's.
pub struct Bus {
    pub socket: PathBuf,
    tap: Arc<Mutex<(usize, Tap)>>,
}

impl Bus {
    pub fn before(swtpm: &Swtpm) -> Bus {
        let tpm = swtpm.socket();
        let socket = tpm.with_file_name("bus");
        let listener = UnixListener::bind(&socket).unwrap();
        let pass: Tap = Box::new(|_, _, _| Verdict::Pass);
        let tap = Arc::new(Mutex::new((0, pass)));
        let shared = Arc::clone(&tap);
        // It ends with the process: a test is short.
        std::thread::spawn(move || {
            for client in listener.incoming() {
                carry(client.unwrap(), &tpm, &shared);
            }
        });
        Bus { socket, tap }
    }

    pub fn tap(&self, tap: impl FnMut(usize, bool, &mut Vec<u8>) -> Verdict + Send + 'static) {
        *self.tap.lock().unwrap() = (0, Box::new(tap));
    }

    /// How many commands came by since the tap was set.
    pub fn count(&self) -> usize {
        self.tap.lock().unwrap().0
    }
}

/// Carries messages until either side, or the tap, ends it.
fn carry(mut client: UnixStream, tpm: &Path, tap: &Mutex<(usize, Tap)>) {
    let Ok(mut tpm) = UnixStream::connect(tpm) else {
        return;
    };
    while let Some(mut command) = message(&mut client) {
        let (number, verdict) = {
            let (count, tap) = &mut *tap.lock().unwrap();
            *count += 1;
            (*count - 1, tap(*count - 1, false, &mut command))
        };
        let answer = match verdict {
            Verdict::Cut => return,
            Verdict::Answer(answer) => answer,
            Verdict::Pass => {
                tpm.write_all(&command).unwrap();
                let Some(mut answer) = message(&mut tpm) else {
                    return;
                };
                match tap.lock().unwrap().1(number, true, &mut answer) {
                    Verdict::Cut => return,
                    Verdict::Answer(other) => other,
                    Verdict::Pass => answer,
                }
            }
        };
        if client.write_all(&answer).is_err() {
            return;
        }
    }
}

fn message(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut message = vec![0; 10];
    stream.read_exact(&mut message).ok()?;
    let len = u32::from_be_bytes(message[2..6].try_into().unwrap()) as usize;
    message.resize(len.clamp(10, 4096), 0);
    stream.read_exact(&mut message[10..]).ok()?;
    Some(message)
}
