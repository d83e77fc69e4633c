//! SIGTERM and the like while the terminal is not as it was found: it is put back before the program ends.
//!
//! Outside of a [`Watch`] they end the program as they always do; what was acknowledged is on the disk then.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use emptyroom_node::api::Failure;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::{emulate_default_handler, raise};

/// What a signal comes to.
pub(crate) enum Then {
    /// The program ends, by this signal.
    End,
    /// It ends by itself.
    Stay,
}

type Task = Box<dyn FnMut() -> Then + Send>;

/// How long a program may take to end by itself once its vault was locked from outside.
const MOMENT: Duration = Duration::from_secs(2);

/// What is done when a signal comes.
static TASK: Mutex<Option<Task>> = Mutex::new(None);

/// While it lives, its task is done when a signal comes.
pub(crate) struct Watch(());

impl Watch {
    /// The task runs on a thread of its own; it must not wait for anything.
    ///
    /// # Errors
    /// When the system does not let signals be caught.
    pub(crate) fn with(task: impl FnMut() -> Then + Send + 'static) -> Result<Self, Failure> {
        static LISTENS: OnceLock<bool> = OnceLock::new();
        *current() = Some(Box::new(task));
        let watch = Self(());
        if *LISTENS.get_or_init(listen) {
            Ok(watch)
        } else {
            Err(Failure::fault("signals cannot be caught"))
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        *current() = None;
    }
}

/// Ends this program as SIGTERM does, if it has not ended by itself a moment later: the vault is locked, and what is held up by
/// a prompt or a reader would hold up the suspend, too.
// [SPEC 11.91]
pub(crate) fn end_what_is_held_up() {
    std::thread::sleep(MOMENT);
    let _ = raise(SIGTERM);
    // Whoever ends by himself then may be held up by the terminal, too.
    std::thread::sleep(MOMENT);
    let _ = emulate_default_handler(SIGTERM);
}

/// Begins to listen, for the rest of the program's life: a handler that is taken off would leave the signals ignored.
fn listen() -> bool {
    let Ok(mut signals) = Signals::new([SIGTERM, SIGINT, SIGHUP]) else {
        return false;
    };
    let thread = std::thread::Builder::new().name("signals".to_owned());
    let listening = thread.spawn(move || {
        for signal in signals.forever() {
            let then = current().as_mut().map_or(Then::End, |task| task());
            if matches!(then, Then::End) {
                let _ = emulate_default_handler(signal);
            }
        }
    });
    listening.is_ok()
}

fn current() -> MutexGuard<'static, Option<Task>> {
    TASK.lock().unwrap_or_else(PoisonError::into_inner)
}
