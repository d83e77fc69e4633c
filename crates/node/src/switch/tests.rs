//! Switch logs at a real relay, and what somebody who should not writes into them.

mod untold;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use emptyroom_relayd::server::{Options, Server};
use emptyroom_vault::os::OsDirectory;
use emptyroom_wire::address::RelayAddress;
use emptyroom_wire::kill::{KillCode, Left};
use emptyroom_wire::op::{Answer, Create, Handle, NewLog, Request};
use emptyroom_wire::rng;
use emptyroom_wire::secret::Private;
use emptyroom_wire::sign::SignKey;
use emptyroom_wire::wipe::{ACTION_WIPE, OrderBody, OrderHash};
use rand_chacha::ChaCha20Rng;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use tokio::runtime::Runtime;

use super::holder::{Wiped, receipts, wipe};
use super::ordered::note_left;
use super::*;
use crate::api::{Exit, SecretText};
use crate::deadman::start;
use crate::home::{Kdf, create_vault, holds_vault};
use crate::session::{direct, runtime};

const DAY_MS: u64 = 86_400_000;

/// What only something that hangs reaches.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// A relay, and a code whose switch it carries.
pub(super) struct Stage {
    pub(super) runtime: Runtime,
    server: Option<Server>,
    address: RelayAddress,
    data: PathBuf,
    pub(super) code: KillCode,
    random: ChaCha20Rng,
}

impl Stage {
    pub(super) fn new(name: &str) -> Self {
        let data =
            std::env::temp_dir().join(format!("emptyroom-switch-{}-{name}", std::process::id()));
        let runtime = runtime().unwrap();
        let options = Options::new(data.clone(), "127.0.0.1:0".parse().unwrap());
        let started = runtime.block_on(Server::start(options));
        let server = started.unwrap_or_else(|_| panic!("the relay does not start"));
        let address = RelayAddress::parse(&server.address().with_code()).unwrap();
        let mut random = seed::generator().unwrap();
        let code = KillCode::generate(&mut random);
        let mut stage = Self {
            runtime,
            server: Some(server),
            address,
            data,
            code,
            random,
        };
        stage.create(&stage.watched());
        stage
    }

    pub(super) fn watched(&self) -> Watched {
        self.watched_by(&self.code)
    }

    fn watched_by(&self, code: &KillCode) -> Watched {
        code.watched(
            self.address.hosts().cloned().collect(),
            self.address.identity,
        )
    }

    /// The code as text, as its holder has it.
    pub(super) fn text(&self) -> SecretText {
        let link = emptyroom_wire::kill::KillLink {
            hosts: self.address.hosts().cloned().collect(),
            relay: self.address.identity,
            code: KillCode::new(*self.code.expose()),
        };
        SecretText::new(link.to_text().unwrap())
    }

    fn dial(&mut self) -> Errand {
        let hosts: Vec<_> = self.address.hosts().cloned().collect();
        let whom = Whom::Known(self.address.identity);
        let carrier = direct().unwrap();
        let dialled = Errand::dial(&carrier, &hosts, &whom, &mut self.random);
        self.runtime.block_on(dialled).unwrap()
    }

    fn create(&mut self, watched: &Watched) {
        let mut errand = self.dial();
        let create = Request::Create(Create {
            new: NewLog {
                header: watched.switch().header.clone(),
                first: None,
            },
            code: self.address.code.clone(),
        });
        let created = self.runtime.block_on(errand.ask(create)).unwrap();
        assert!(matches!(created, Answer::Created));
    }

    /// As whoever has what lies outside of the vault.
    pub(super) fn append(&mut self, watched: &Watched, said: impl IntoIterator<Item = Said>) {
        let switch = watched.switch();
        let mut errand = self.dial();
        let Self {
            runtime, random, ..
        } = self;
        runtime.block_on(async {
            let handle: Handle = log::open(&mut errand, &switch).await.unwrap().unwrap();
            for said in said {
                let appended = log::append(&mut errand, &switch, handle, &said, random).await;
                assert!(appended.unwrap().is_ok());
            }
        });
    }

    fn body(&mut self) -> OrderBody {
        let now_ms = clock::now().wall.0;
        OrderBody {
            switch_id: self.code.switch().id,
            order_id: Private(rng::bytes(&mut self.random)),
            action: ACTION_WIPE,
            issued_ms: now_ms,
            not_after_ms: now_ms + DAY_MS,
        }
    }

    /// Begins to watch; gives what it comes to.
    fn watch(
        &self,
        switch: &watch::Sender<Option<Watched>>,
        heard: &Heard,
    ) -> tokio::task::JoinHandle<Ordered> {
        let (mut switch, heard) = (switch.subscribe(), heard.clone());
        let carrier = Arc::new(direct().unwrap());
        self.runtime
            .spawn(async move { watch(&mut switch, &*carrier, &heard).await })
    }

    fn come<T>(&self, of: tokio::task::JoinHandle<T>) -> T {
        self.runtime
            .block_on(async { tokio::time::timeout(LONG, of).await })
            .unwrap()
            .unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            let _ = self.runtime.block_on(server.stop());
        }
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

/// An order of a code, always the same.
pub(crate) fn order(code: &KillCode) -> WipeOrder {
    let body = OrderBody {
        switch_id: code.switch().id,
        order_id: Private([7; 16]),
        action: ACTION_WIPE,
        issued_ms: 1,
        not_after_ms: u64::MAX,
    };
    let signatures = vec![body.sign(0, &code.kill_key())];
    WipeOrder { body, signatures }
}

/// `outside`, kept elsewhere while a directory is in its place: nobody can read it.
pub(crate) fn take_away(home: &Path) {
    std::fs::rename(home.join("outside"), home.join("kept")).unwrap();
    std::fs::create_dir(home.join("outside")).unwrap();
}

/// At once: there is no moment in which nothing lies there.
pub(crate) fn give_back(home: &Path) {
    let (kept, outside) = (home.join("kept"), home.join("outside"));
    renameat_with(CWD, &kept, CWD, &outside, RenameFlags::EXCHANGE).unwrap();
    std::fs::remove_dir(kept).unwrap();
}

fn signed(body: OrderBody, by: &SignKey) -> Said {
    let signatures = vec![body.sign(0, by)];
    Said::Order(WipeOrder { body, signatures })
}

fn until(what: impl Fn() -> bool) {
    let since = std::time::Instant::now();
    while !what() {
        assert!(since.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Strangers, thieves with all that the device has, and the relay itself write what they like; then the code's holder orders.
// [SPEC 11.66]
#[test]
fn only_an_order_of_the_code_wipes_whatever_else_lies_in_the_log() {
    let mut stage = Stage::new("hostile");
    let (watched, kill) = (stage.watched(), stage.code.kill_key());
    let switch = watched.switch();
    let mut hostile = Vec::new();
    for _ in 0..100 {
        let stranger = KillCode::generate(&mut stage.random);
        let mut aimed = stage.body();
        hostile.push(signed(aimed.clone(), &stranger.kill_key()));
        aimed.switch_id = stranger.switch().id;
        hostile.push(signed(aimed, &stranger.kill_key()));
    }
    for key in [&switch.append, &switch.read] {
        let body = stage.body();
        hostile.push(signed(body, key));
    }
    // Of the right hand, and for another switch, over, or of an unknown kind.
    let right = stage.body();
    let other = KillCode::generate(&mut stage.random).switch().id;
    hostile.push(signed(
        OrderBody {
            switch_id: other,
            ..right.clone()
        },
        &kill,
    ));
    let over = right.issued_ms.saturating_sub(1_000);
    hostile.push(signed(
        OrderBody {
            not_after_ms: over,
            ..right.clone()
        },
        &kill,
    ));
    hostile.push(signed(
        OrderBody {
            action: 2,
            ..right.clone()
        },
        &kill,
    ));
    let unsigned = WipeOrder {
        body: right.clone(),
        signatures: Vec::new(),
    };
    hostile.push(Said::Order(unsigned));
    hostile.push(Said::Receipt(switch.receipt(right.hash(), 5)));
    stage.append(&watched, hostile);

    let (held, heard) = (watch::Sender::new(Some(watched.clone())), Heard::default());
    let watching = stage.watch(&held, &heard);
    // All of it was read, and the log renewed.
    until(|| heard.at_ms().is_some());
    assert!(!watching.is_finished());
    stage.append(&watched, [signed(right.clone(), &kill)]);
    let ordered = stage.come(watching);
    assert!(ordered.order.body == right && ordered.watched == watched);
}

/// An order that stands there counts for nothing when its code was revoked, and a code that is made later is watched at once.
// [SPEC 11.69]
#[test]
fn a_watch_goes_over_to_another_code() {
    let mut stage = Stage::new("another");
    let (old, old_key) = (stage.watched(), stage.code.kill_key());
    let (held, heard) = (watch::Sender::new(Some(old.clone())), Heard::default());
    let watching = stage.watch(&held, &heard);
    until(|| heard.at_ms().is_some());
    let body = stage.body();
    held.send_replace(None);
    stage.append(&old, [signed(body, &old_key)]);
    stage.code = KillCode::generate(&mut stage.random);
    let (new, kill) = (stage.watched(), stage.code.kill_key());
    stage.create(&new);
    held.send_replace(Some(new.clone()));
    let body = stage.body();
    stage.append(&new, [signed(body.clone(), &kill)]);
    let ordered = stage.come(watching);
    assert!(ordered.watched == new && ordered.order.body == body);
}

/// What lies outside of a vault destroys no switch; where it is gone that is noticed.
// [SPEC 11.62, 11.69]
#[test]
fn a_switch_that_is_gone_is_noticed_and_only_its_owner_destroys_it() {
    let stage = Stage::new("gone");
    let watched = stage.watched();
    let carrier = direct().unwrap();
    let destroy = |key: &SignKey| {
        stage
            .runtime
            .block_on(log::destroy(&carrier, &watched, key))
    };
    let (held, heard) = (watch::Sender::new(Some(watched.clone())), Heard::default());
    let watching = stage.watch(&held, &heard);
    until(|| heard.at_ms().is_some());
    for key in [
        watched.switch().append,
        watched.switch().read,
        stage.code.kill_key(),
    ] {
        assert!(!destroy(&key));
    }
    assert_eq!(heard.gone_ms(), None);
    assert!(destroy(&SignKey::from_seed(&stage.code.owner_seed())));
    until(|| heard.gone_ms().is_some());
    assert!(!watching.is_finished());
    watching.abort();
}

/// By the relay's clock it would be over: no device would obey.
// [SPEC 11.66]
#[test]
fn an_order_that_no_device_would_obey_is_not_given() {
    let stage = Stage::new("over-already");
    let refused = wipe(&stage.text(), None, Duration::ZERO, LONG).unwrap_err();
    assert_eq!(
        (refused.exit, &*refused.error),
        (Exit::Refused, "clock_behind")
    );
    assert_eq!(receipts(&stage.text(), None).unwrap().orders, 0);
}

/// Who has the device's files fills the log: the owner hears of it long before nothing more goes in, and whoever opens the vault next.
// [SPEC 11.60, 11.95]
#[test]
fn a_switch_that_somebody_fills_is_noticed() {
    let mut stage = Stage::new("filled");
    let home = home("filled");
    let watched = stage.watched();
    let nothing = |n| {
        let receipt = watched.switch().receipt(OrderHash([n; 32]), 1);
        Said::Receipt(receipt)
    };
    stage.append(&watched, (0..=255).map(nothing));
    let (held, heard) = (watch::Sender::new(Some(watched.clone())), Heard::default());
    let watching = stage.watch(&held, &heard);
    until(|| heard.at_ms().is_some());
    assert_eq!(heard.filled_ms(), None, "as many as may be");
    watching.abort();
    stage.append(&watched, [nothing(0)]);
    let watching = stage.watch(&held, &heard);
    until(|| heard.filled_ms().is_some());
    watching.abort();
    heard.store(&OsDirectory::at(&home));
    let left = Outside::read(&OsDirectory::at(&home)).unwrap().unwrap();
    assert_eq!(Heard::new(&left).filled_ms(), heard.filled_ms());
    std::fs::remove_dir_all(&home).unwrap();
}

/// Somebody who has the device's files says what was never ordered.
// [SPEC 11.68]
#[test]
fn a_receipt_counts_for_an_order_of_the_code_alone() {
    let mut stage = Stage::new("receipts");
    let (watched, text) = (stage.watched(), stage.text());
    let switch = watched.switch();
    let stranger = KillCode::generate(&mut stage.random);
    let forged = stage.body();
    let invented = switch.receipt(OrderHash([7; 32]), 1);
    let answered = switch.receipt(forged.hash(), 2);
    let entries = [
        Said::Receipt(invented),
        signed(forged, &stranger.kill_key()),
        Said::Receipt(answered),
    ];
    stage.append(&watched, entries);
    let nothing = Wiped {
        orders: 0,
        device_at: None,
        left: None,
        until: None,
        relay_checked: true,
        clocks_agree: true,
    };
    assert_eq!(receipts(&text, None), Ok(nothing));
    // The device obeyed the first order, whose receipt a second one finds.
    let body = stage.body();
    let told = switch.receipt(body.hash(), 3);
    let kill = stage.code.kill_key();
    stage.append(&watched, [signed(body, &kill), Said::Receipt(told)]);
    let again = wipe(&text, None, Duration::from_secs(86_400), LONG).unwrap();
    assert_eq!((again.orders, again.device_at), (1, Some(3)));
    assert_eq!(receipts(&text, None).unwrap().orders, 2);
}

/// It belongs to a receipt; and a device that says it twice, after a backup was taken back, says both.
// [SPEC 11.116]
#[test]
fn what_is_left_is_shown_with_a_receipt() {
    let mut stage = Stage::new("remains");
    let (watched, text, kill) = (stage.watched(), stage.text(), stage.code.kill_key());
    let switch = watched.switch();
    let (body, stranger) = (stage.body(), KillCode::generate(&mut stage.random));
    let hash = body.hash();
    let remains = |order, left| Said::Remains(switch.remains(order, Left(left)));
    let entries = [
        remains(hash, 1),
        signed(body, &kill),
        remains(OrderHash([7; 32]), 1),
        Said::Remains(stranger.switch().remains(hash, Left(1))),
    ];
    stage.append(&watched, entries);
    assert_eq!(receipts(&text, None).unwrap().left, None);
    stage.append(&watched, [Said::Receipt(switch.receipt(hash, 3))]);
    let told = receipts(&text, None).unwrap();
    // As of a device whose program does not know it.
    assert_eq!((told.device_at, told.left), (Some(3), None));
    for (said, left) in [
        (0, Left(0)),
        (2, Left::RELAYS),
        (0, Left::RELAYS),
        (0x40, Left(6)),
    ] {
        stage.append(&watched, [remains(hash, said)]);
        assert_eq!(receipts(&text, None).unwrap().left, Some(left));
    }
}

/// What one vault's receipt says is not what another's does not say.
// [SPEC 11.116]
#[test]
fn nothing_left_of_one_vault_is_not_nothing_left_of_two() {
    let mut stage = Stage::new("remains-two");
    let (watched, text, kill) = (stage.watched(), stage.text(), stage.code.kill_key());
    let switch = watched.switch();
    let (first, mut second) = (stage.body(), stage.body());
    second.order_id.0 = [9; 16];
    let (old, new) = (first.hash(), second.hash());
    let said = [
        signed(first, &kill),
        signed(second, &kill),
        Said::Receipt(switch.receipt(old, 3)),
        Said::Remains(switch.remains(new, Left::UNSEEN)),
        Said::Receipt(switch.receipt(new, 4)),
    ];
    stage.append(&watched, said);
    let left = || receipts(&text, None).unwrap().left;
    assert_eq!(left(), None);
    let remains = Said::Remains(switch.remains(new, Left::TPM));
    stage.append(&watched, [remains]);
    assert_eq!(left(), Some(Left::TPM.and(Left::UNSEEN)));
    let remains = Said::Remains(switch.remains(old, Left::default()));
    stage.append(&watched, [remains]);
    assert_eq!(left(), Some(Left::TPM.and(Left::UNSEEN)));
}

fn home(name: &str) -> PathBuf {
    let home = std::env::temp_dir().join(format!("emptyroom-node-{}-{name}", std::process::id()));
    let pin = SecretText::new("a pin of this test".to_owned());
    drop(create_vault(&home, &pin, Kdf::Minimum).unwrap());
    home
}
