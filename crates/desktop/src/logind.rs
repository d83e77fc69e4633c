//! logind, as far as it says when to lock: `PrepareForSleep` of its manager, `Lock` and `LockedHint` of the user's sessions
//! (org.freedesktop.login1(5)).
//!
//! Every user of a machine may send signals to one connection of the bus alone. So all that comes is read at once, whatever is
//! waited for meanwhile, and what the present owner of logind's name did not send goes no further.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{sleep, timeout};
use zbus::fdo::DBusProxy;
use zbus::message::{Message, Type};
use zbus::names::BusName;
use zbus::proxy::{Builder, CacheProperties};
use zbus::zvariant::{OwnedFd, OwnedObjectPath, OwnedValue};
use zbus::{Connection, MatchRule, MessageStream, Proxy};

use crate::{DEAF, HEARS, LISTENS, LOCK};

const NAME: &str = "org.freedesktop.login1";
const PATH: &str = "/org/freedesktop/login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
const SESSION: &str = "org.freedesktop.login1.Session";
/// Below it lies each session.
const SESSIONS: &str = "/org/freedesktop/login1/session";
const BUS: &str = "org.freedesktop.DBus";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// What is said of a session that has gone.
const UNKNOWN: [&str; 2] = [
    "org.freedesktop.DBus.Error.UnknownObject",
    "org.freedesktop.login1.NoSuchSession",
];

/// How long logind may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// Where it does not let a suspend be delayed, it is asked again after this.
const AGAIN: Duration = Duration::from_secs(30);

/// What logind says, and whether it is there.
enum Heard {
    Came,
    Went,
    Sleeps,
    Locks(OwnedObjectPath),
}

/// Who has logind's name now.
type Owner = RefCell<Option<String>>;

/// Tells [`HEARS`], [`LISTENS`], [`DEAF`] where that is over, and once [`LOCK`]. Then the machine does not suspend, for as long as logind lets
/// it be delayed, before this future is dropped; it comes back no more.
///
/// # Errors
/// When the bus has gone.
pub(crate) async fn follow(bus: &Connection, tell: impl Fn(&str)) -> zbus::Result<()> {
    let owner = Owner::default();
    let (sender, heard) = unbounded_channel();
    let all = MessageStream::from(bus);
    tokio::select! {
        sifted = sift(all, &owner, sender) => sifted,
        listened = listen(bus, &owner, heard, tell) => listened,
    }
}

/// Reads whatever comes, and passes on what is logind's.
async fn sift(
    mut all: MessageStream,
    owner: &Owner,
    logind: UnboundedSender<Heard>,
) -> zbus::Result<()> {
    while let Some(said) = all.next().await {
        if let Some(heard) = of_logind(&said?, owner) {
            let _ = logind.send(heard);
        }
    }
    Ok(())
}

fn of_logind(said: &Message, owner: &Owner) -> Option<Heard> {
    let header = said.header();
    let sender = header
        .sender()
        .filter(|_| header.message_type() == Type::Signal);
    let (sender, interface, member) = (sender?.as_str(), header.interface()?, header.member()?);
    match (interface.as_str(), member.as_str()) {
        // Nobody but the bus itself has its name as a sender.
        (BUS, "NameOwnerChanged") if sender == BUS => {
            let (name, _, new) = said.body().deserialize::<(String, String, String)>().ok()?;
            if name != NAME {
                return None;
            }
            let new = Some(new).filter(|new| !new.is_empty());
            let heard = new.as_ref().map_or(Heard::Went, |_| Heard::Came);
            owner.replace(new);
            Some(heard)
        }
        _ if owner.borrow().as_deref() != Some(sender) => None,
        // It says whether it begins or is over; what cannot be read may be the beginning.
        (MANAGER, "PrepareForSleep") => {
            let begins = said.body().deserialize().unwrap_or(true);
            begins.then_some(Heard::Sleeps)
        }
        (SESSION, "Lock") => Some(Heard::Locks(header.path()?.to_owned().into())),
        (PROPERTIES, "PropertiesChanged") if is_locked(said) => {
            Some(Heard::Locks(header.path()?.to_owned().into()))
        }
        _ => None,
    }
}

/// Whether a session's screen is locked from now on.
fn is_locked(said: &Message) -> bool {
    type Changed = (String, HashMap<String, OwnedValue>, Vec<String>);
    let changed = said.body().deserialize::<Changed>();
    changed.is_ok_and(|(interface, values, _)| {
        let hint = values.get("LockedHint").map(bool::try_from);
        interface == SESSION && matches!(hint, Some(Ok(true)))
    })
}

/// What was asked of logind, and what it said.
enum Answer {
    /// What delays every suspend until it is closed; nothing where logind is not there, or refuses.
    Delay(Option<OwnedFd>),
    /// Whether this session is of this process' user.
    IsOurs(OwnedObjectPath, bool),
    /// Whether a suspend has begun: what was said before anybody listened is not said again.
    IsPreparing(bool),
}

type Asked<'a> = Pin<Box<dyn Future<Output = Answer> + 'a>>;

async fn listen(
    bus: &Connection,
    owner: &Owner,
    mut heard: UnboundedReceiver<Heard>,
    tell: impl Fn(&str),
) -> zbus::Result<()> {
    let names = DBusProxy::new(bus).await?;
    for rule in rules()? {
        names.add_match_rule(rule).await?;
    }
    // Where it does not run yet, it may by being asked for something.
    if let Ok(now) = names.get_name_owner(BusName::try_from(NAME)?).await {
        owner.borrow_mut().get_or_insert(now.to_string());
    }
    let mut asked: FuturesUnordered<Asked<'_>> = FuturesUnordered::new();
    let mut sessions = HashSet::new();
    // What delays a suspend is held from here on, also while another is asked for.
    let (mut _delay, mut is_delayed) = (None, false);
    asked.push(Box::pin(delay(bus, Duration::ZERO)));
    asked.push(Box::pin(is_preparing(bus)));
    tell(HEARS);
    // Whatever is asked, a suspend is heard meanwhile.
    loop {
        tokio::select! {
            said = heard.recv() => match said {
                None => return Ok(()),
                Some(Heard::Sleeps) => break,
                Some(Heard::Locks(session)) => {
                    if sessions.insert(session.clone()) {
                        asked.push(Box::pin(is_ours(bus, session)));
                    }
                }
                Some(Heard::Went) => {
                    is_delayed = false;
                    tell(DEAF);
                }
                Some(Heard::Came) if is_delayed => {}
                Some(Heard::Came) => asked.push(Box::pin(delay(bus, Duration::ZERO))),
            },
            Some(answer) = asked.next() => match answer {
                Answer::IsOurs(_, true) | Answer::IsPreparing(true) => break,
                Answer::IsPreparing(false) => {}
                Answer::IsOurs(session, false) => {
                    sessions.remove(&session);
                }
                Answer::Delay(Some(delay)) => {
                    (_delay, is_delayed) = (Some(delay), true);
                    tell(LISTENS);
                }
                Answer::Delay(None) if is_delayed => {}
                Answer::Delay(None) => asked.push(Box::pin(delay(bus, AGAIN))),
            },
        }
    }
    tell(LOCK);
    std::future::pending().await
}

fn rules() -> zbus::Result<[MatchRule<'static>; 3]> {
    let of = |sender| MatchRule::builder().msg_type(Type::Signal).sender(sender);
    Ok([
        of(BUS)?.member("NameOwnerChanged")?.arg(0, NAME)?.build(),
        of(NAME)?.path(PATH)?.member("PrepareForSleep")?.build(),
        of(NAME)?.path_namespace(SESSIONS)?.build(),
    ])
}

async fn delay(bus: &Connection, after: Duration) -> Answer {
    sleep(after).await;
    // What, who, why, how.
    let delay = ("sleep", "Emptyroom", "The vault is locked first", "delay");
    let asked = async {
        let manager = object(bus, PATH, MANAGER).await?;
        manager.call("Inhibit", &delay).await
    };
    let answer = timeout(ANSWERS_WITHIN, asked).await;
    Answer::Delay(answer.ok().and_then(zbus::Result::ok))
}

async fn is_preparing(bus: &Connection) -> Answer {
    let asked = async {
        let manager = object(bus, PATH, MANAGER).await?;
        manager.get_property("PreparingForSleep").await
    };
    let answer = timeout(ANSWERS_WITHIN, asked).await;
    Answer::IsPreparing(matches!(answer, Ok(Ok(true))))
}

/// One whose user logind does not name counts as ours: a vault that is locked for nothing is opened again. One that it does not
/// know, as it has gone meanwhile, does not.
async fn is_ours(bus: &Connection, session: OwnedObjectPath) -> Answer {
    let asked = async {
        let session = object(bus, session.as_str(), SESSION).await?;
        let user: (u32, OwnedObjectPath) = session.get_property("User").await?;
        zbus::Result::Ok(user.0)
    };
    let is_ours = match timeout(ANSWERS_WITHIN, asked).await {
        Ok(Ok(user)) => user == rustix::process::getuid().as_raw(),
        Ok(Err(error)) => !is_unknown(&error),
        Err(_) => true,
    };
    Answer::IsOurs(session, is_ours)
}

fn is_unknown(error: &zbus::Error) -> bool {
    let name = match error {
        zbus::Error::MethodError(name, ..) => name.as_str(),
        zbus::Error::FDO(error) => return matches!(**error, zbus::fdo::Error::UnknownObject(_)),
        _ => return false,
    };
    UNKNOWN.contains(&name)
}

async fn object<'a>(
    bus: &Connection,
    path: &'a str,
    interface: &'a str,
) -> zbus::Result<Proxy<'a>> {
    Builder::new(bus)
        .destination(NAME)?
        .path(path)?
        .interface(interface)?
        .cache_properties(CacheProperties::No)
        .build()
        .await
}
