//! Who has the vault makes and revokes a kill code; who has the code orders the device to be wiped, from anywhere.

use std::time::Duration;

use emptyroom_wire::address::{AddressFault, Host, RelayAddress, parse_hosts};
use emptyroom_wire::kill::{KillCode, KillLink, Said, Switch};
use emptyroom_wire::link::LinkFault;
use emptyroom_wire::op::{Answer as Answered, Create, NewLog, Push, Refusal, RefusalCode, Request};
use emptyroom_wire::rng;
use emptyroom_wire::secret::Private;
use emptyroom_wire::sign::SignKey;
use emptyroom_wire::time::DAY_MS;
use emptyroom_wire::wipe::{ACTION_WIPE, OrderBody, WipeOrder};
use rand_chacha::ChaCha20Rng;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use zeroize::Zeroizing;

use super::known::Known;
pub use super::known::Wiped;
use super::log::{append, destroy, open};
use crate::api::{Answer, Call, Exit, Failure, SecretText};
use crate::carrier::Direct;
use crate::clock;
use crate::errand::{Errand, NoRelay, Whom};
use crate::phrase::{self, NoPhrase, Use};
use crate::seed::generator;
use crate::session::{Session, direct, runtime};

/// How long a stream that broke is left alone while a receipt is waited for.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The longest that reading a whole log takes, over a bad road.
const READ_TIME_MAX: Duration = Duration::from_secs(600);

/// A new kill code, as it is shown once.
pub struct Killcode {
    /// For copying and for a QR code.
    pub text: SecretText,
    /// For paper. `at` belongs to them.
    pub words: SecretText,
    /// The relay's address, without an access code.
    pub at: String,
}

/// Makes a kill code for an open vault at a relay. Nothing is left where it fails.
///
/// # Errors
/// What stood in the way.
// [SPEC 11.62, 11.63]
pub fn create(session: &Session, secret: SecretText, address: &str) -> Result<Killcode, Failure> {
    let address = RelayAddress::parse(address).map_err(bad_address)?;
    let code = KillCode::generate(&mut generator()?);
    let hosts: Vec<Host> = address.hosts().cloned().collect();
    let watched = code.watched(hosts.clone(), address.identity);
    let owner_seed = code.owner_seed();
    let link = KillLink {
        hosts,
        relay: address.identity,
        code,
    };
    let bytes = watched.encode().map_err(|_| no_relay(NoRelay::Wrong))?;
    let text = link.to_text().map_err(|_| no_relay(NoRelay::Wrong))?;
    let place = Place {
        hosts: watched.hosts.clone(),
        whom: Whom::Known(watched.relay),
    };
    let made = place.run(async |carrier, random| {
        let errand = &mut place.dial(carrier, random).await?;
        let switch = watched.switch();
        let create = Request::Create(Create {
            new: NewLog {
                header: switch.header.clone(),
                first: None,
            },
            code: address.code.clone(),
        });
        match errand.ask(create).await.map_err(no_relay)? {
            Answered::Created => {}
            Answered::Refused(refusal) => return Err(refused(refusal)),
            _ => return Err(no_relay(NoRelay::Wrong)),
        }
        // Whether it is there shows now, and not on the day when it is needed.
        open(errand, &switch)
            .await
            .map_err(no_relay)?
            .map_err(refused)?;
        Ok(())
    });
    made?;
    let set = session.call(Call::SetSwitch {
        secret,
        switch: SecretText::new(hex(&bytes)),
        owner: SecretText::new(hex(owner_seed.expose())),
    });
    if let Err(failure) = set {
        // Where a daemon is silent, or ended meanwhile, it may have been set: then the vault has a switch that works, and whoever sees
        // that revokes it.
        if failure.exit != Exit::Fault && failure.error != "vault_locked" {
            let owner = SignKey::from_seed(&owner_seed);
            // If this fails, too, what is left is an empty log that nobody knows.
            let _ = place.run(async |carrier, _| Ok(destroy(carrier, &watched, &owner).await));
        }
        return Err(failure);
    }
    Ok(Killcode {
        text: SecretText::new(text),
        words: phrase::words_of(&Zeroizing::new(*link.code.expose()), Use::KillCode),
        at: RelayAddress {
            code: None,
            ..address
        }
        .without_code(),
    })
}

/// From now on the vault obeys its kill code no longer. Says whether the relay has removed the switch, too.
///
/// # Errors
/// When there is none, or the secret is wrong.
// [SPEC 11.69]
pub fn revoke(session: &Session, secret: SecretText) -> Result<bool, Failure> {
    match session.call(Call::UnsetSwitch { secret })? {
        Answer::Revoked { removed } => Ok(removed),
        _ => Err(Failure::fault("the answer does not fit the call")),
    }
}

/// Orders the device of a kill code to be wiped, and waits so long for its receipt. `at` is the relay's address, which belongs
/// to a code in words.
///
/// # Errors
/// When the order is not at the relay. It can be given again.
// [SPEC 11.66]
pub fn wipe(
    code: &SecretText,
    at: Option<&str>,
    valid: Duration,
    wait: Duration,
) -> Result<Wiped, Failure> {
    let held = Held::read(code, at)?;
    let wiped = held.place.run(async |carrier, random| {
        let mut known = held.known();
        let mut errand = held.place.dial(carrier, random).await?;
        let handle = held.open(&mut errand).await?;
        let (theirs, ours) = (errand.terms().time_ms, clock::now().wall.0);
        known.wiped.clocks_agree = theirs.abs_diff(ours) < DAY_MS;
        // [SPEC 11.66] Whatever the relay says of the time, the order does not hold for longer than is meant.
        let now_ms = theirs.min(ours);
        let valid_ms = u64::try_from(valid.as_millis()).unwrap_or(u64::MAX);
        let body = OrderBody {
            switch_id: held.switch.id,
            order_id: Private(rng::bytes(random)),
            action: ACTION_WIPE,
            issued_ms: now_ms,
            not_after_ms: now_ms.saturating_add(valid_ms),
        };
        // [SPEC 11.66] Devices judge by the relay's time.
        if body.not_after_ms <= theirs {
            return Err(clock_behind());
        }
        known.wiped.until = Some(body.not_after_ms);
        let signatures = vec![body.sign(0, &held.code.kill_key())];
        let said = Said::Order(WipeOrder { body, signatures });
        let appended = append(&mut errand, &held.switch, handle, &said, random).await;
        held.said(appended)?;
        let until = Instant::now() + wait;
        while known.wiped.device_at.is_none() && Instant::now() < until {
            // A stream that breaks meanwhile is no answer.
            match timeout_at(until, known.wait(&mut errand)).await {
                Ok(()) => {}
                Err(_) => break,
            }
            if known.wiped.device_at.is_none() {
                sleep(AGAIN_AFTER).await;
                let again = timeout_at(until, held.place.dial(carrier, random)).await;
                if let Ok(Ok(again)) = again {
                    errand = again;
                    let _ = timeout_at(until, held.open(&mut errand)).await;
                }
            }
        }
        Ok(known.told())
    });
    wiped.map_err(|failure| {
        again(
            failure,
            "run the command again; an order that is given twice does no harm",
        )
    })
}

/// A relay that was not reached, in the words of who has the code.
fn again(failure: Failure, hint: &str) -> Failure {
    match failure.error.as_str() {
        "relay_unreachable" => failure.hint(hint),
        _ => failure,
    }
}

/// What the switch of a kill code knows of orders and of the device's receipt.
///
/// # Errors
/// When the relay does not tell.
// [SPEC 11.68]
pub fn receipts(code: &SecretText, at: Option<&str>) -> Result<Wiped, Failure> {
    let held = Held::read(code, at)?;
    let read = held.place.run(async |carrier, random| {
        let mut known = held.known();
        let mut errand = held.place.dial(carrier, random).await?;
        held.open(&mut errand).await?;
        let read = async {
            loop {
                match errand.next_push().await.map_err(no_relay)? {
                    Some((_, Push::Entry(entry))) => known.take(&entry),
                    Some((_, Push::CaughtUp(_) | Push::Gone(_))) => return Ok(()),
                    Some((_, Push::Cast(_))) | None => {}
                }
            }
        };
        let outcome = timeout(READ_TIME_MAX, read).await;
        outcome.unwrap_or(Err(no_relay(NoRelay::Unreachable)))?;
        Ok(known.told())
    });
    read.map_err(|failure| again(failure, "run the command again later"))
}

/// A relay, and how it is known.
struct Place {
    hosts: Vec<Host>,
    whom: Whom,
}

impl Place {
    /// On a runtime of its own: nobody who does this has one.
    fn run<T>(
        &self,
        work: impl AsyncFnOnce(&Direct, &mut ChaCha20Rng) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let carrier = direct()?;
        let mut random = generator()?;
        let runtime = runtime()?;
        let outcome = runtime.block_on(work(&carrier, &mut random));
        runtime.shutdown_background();
        outcome
    }

    async fn dial(&self, carrier: &Direct, random: &mut ChaCha20Rng) -> Result<Errand, Failure> {
        let dialled = Errand::dial(carrier, &self.hosts, &self.whom, random).await;
        dialled.map_err(no_relay)
    }
}

/// A kill code, its switch, and the relay of that.
struct Held {
    place: Place,
    code: KillCode,
    switch: Switch,
}

impl Held {
    // [SPEC 11.64]
    fn read(text: &SecretText, at: Option<&str>) -> Result<Self, Failure> {
        match phrase::read_as(text.expose(), Use::KillCode) {
            Ok(code) => return Ok(Self::new(KillCode::new(*code), place_of(at)?)),
            Err(NoPhrase::Unknown(place)) => {
                return Err(bad_code(&format!(
                    "word {place} of the kill code is not in the list: look at it again"
                )));
            }
            Err(NoPhrase::Check) => {
                let text = "the words do not fit together: one is wrong, or two are swapped";
                return Err(bad_code(text));
            }
            Err(NoPhrase::Other) => {}
        }
        let link = KillLink::parse(text.expose()).map_err(|fault| {
            bad_code(match fault {
                LinkFault::Newer { .. } => "this code was made by a newer program",
                LinkFault::Damaged => {
                    "this code is not whole: characters are missing, added or changed"
                }
                LinkFault::NotALink | LinkFault::Invalid => {
                    "this is no kill code: it has twelve words, or begins with emptyroom-kill:"
                }
            })
        })?;
        let place = Place {
            hosts: link.hosts,
            whom: Whom::Known(link.relay),
        };
        Ok(Self::new(link.code, place))
    }

    fn new(code: KillCode, place: Place) -> Self {
        let switch = code.switch();
        Self {
            place,
            code,
            switch,
        }
    }

    fn known(&self) -> Known<'_> {
        let is_checked = matches!(self.place.whom, Whom::Known(_));
        Known::new(&self.switch, self.code.policy(), is_checked)
    }

    async fn open(&self, errand: &mut Errand) -> Result<emptyroom_wire::op::Handle, Failure> {
        self.said(open(errand, &self.switch).await)
    }

    /// What the relay of the switch said.
    // [SPEC 12.43]
    fn said<T>(&self, outcome: Result<Result<T, Refusal>, NoRelay>) -> Result<T, Failure> {
        outcome.map_err(no_relay)?.map_err(|refusal| {
            let gone = |text| Failure::new(Exit::Refused, "switch_gone", text);
            match (refusal.code, &self.place.whom) {
                (RefusalCode::Unknown | RefusalCode::Destroyed, Whom::Known(_)) => gone(
                    "the relay has no such switch: the code was revoked, or the relay has lost it",
                ),
                // Anybody may say so.
                (RefusalCode::Unknown | RefusalCode::Destroyed, Whom::AsGreeted) => gone(
                    "whoever answers there has no such switch, and may be another relay",
                )
                .hint("give --at the whole address that was shown with the words"),
                (RefusalCode::Full, _) => Failure::new(
                    Exit::Refused,
                    "switch_full",
                    "the switch takes no order any more: somebody who has, or had, the device's files has filled it",
                ),
                _ => refused(refusal),
            }
        })
    }
}

/// What stands beside words: the relay's address, or a host alone, of which whoever answers is believed.
// [SPEC 11.64]
fn place_of(at: Option<&str>) -> Result<Place, Failure> {
    let at = at.ok_or_else(|| {
        bad_code("words need the relay's address beside them")
            .hint("give --at the address that was shown with the words")
    })?;
    if at.contains('/') {
        let address = RelayAddress::parse(at).map_err(bad_address)?;
        return Ok(Place {
            hosts: address.hosts().cloned().collect(),
            whom: Whom::Known(address.identity),
        });
    }
    let (first, others) = parse_hosts(at).map_err(bad_address)?;
    Ok(Place {
        hosts: std::iter::once(first).chain(others).collect(),
        whom: Whom::AsGreeted,
    })
}

fn clock_behind() -> Failure {
    let text =
        "by the relay's time the order would be over already: this machine's clock is behind";
    Failure::new(Exit::Refused, "clock_behind", text)
        .hint("set the clock, then run the command again; nothing was ordered")
}

fn bad_address(fault: AddressFault) -> Failure {
    Failure::new(Exit::Usage, "bad_address", fault.to_string())
}

fn bad_code(text: &str) -> Failure {
    Failure::new(Exit::Usage, "bad_killcode", text)
}

fn no_relay(fault: NoRelay) -> Failure {
    let text = match fault {
        NoRelay::Unreachable => "the relay cannot be reached",
        NoRelay::Wrong => "another relay answers there, or somebody between",
        NoRelay::UpdateNeeded => "the relay speaks only other versions",
        NoRelay::Refused => "the relay refused",
    };
    Failure::new(Exit::Fault, "relay_unreachable", text)
        .hint("nothing was kept: run the command again")
}

fn refused(refusal: Refusal) -> Failure {
    if refusal.code == RefusalCode::BadCode {
        let text = "the relay asks for an access code, and the address has none or another";
        return Failure::new(Exit::Refused, "bad_code", text)
            .hint("give the whole address, with ?code=");
    }
    Failure::new(
        Exit::Fault,
        "relay_unreachable",
        format!("the relay refused: {refusal}"),
    )
    .hint("run the command again later")
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect();
    let digits = Zeroizing::new(digits?);
    let bytes = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(high << 4 | low),
        _ => None,
    });
    bytes.collect::<Option<Vec<u8>>>().map(Zeroizing::new)
}
