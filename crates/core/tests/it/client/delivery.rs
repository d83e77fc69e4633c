//! What becomes of a message that was sent: gaps in receipts, ends of lives, sending again.

use emptyroom_core::account::{AccountRoot, OwnKeys};
use emptyroom_core::api::{
    Burn, Command, ContactState, Event, FailedWhy, GapKind, Line, LineBody, MessageState, Notice,
    RelayLife,
};
use emptyroom_core::content::{Body, Content, Gap, Receipt};
use emptyroom_core::kind;
use emptyroom_core::mls::Group;
use emptyroom_core::position::{History, Position};
use emptyroom_relay::store::StoreReply;
use emptyroom_wire::op::Answer;
use emptyroom_wire::secret::Secret32;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::raw::{Raw, inspect};
use super::world::{DAY, HOUR, MINUTE, SECOND, World};

const RAN_OUT: MessageState = MessageState::Failed(FailedWhy::RanOut);

fn send(world: &mut World, text: &str, life: RelayLife) {
    let send = Command::Send {
        to: World::peer_name(0),
        text: text.into(),
        burn: Some(Burn::Never),
        life,
    };
    world.command(0, send).unwrap();
}

/// Of how many messages it is remembered where they stood.
fn remembered(world: &World, party: usize) -> usize {
    let sent = |key: &&Vec<u8>| key[0] == b'c' && key[5] == b'p';
    world.parties[party].records.0.keys().filter(sent).count()
}

// [SPEC 9.23] [SPEC 9.27]
#[test]
fn what_ran_out_fails_when_the_receipt_comes() {
    for (life, away) in [
        (RelayLife::Day1, 3 * DAY),
        (RelayLife::Day7, 10 * DAY),
        (RelayLife::Day30, 40 * DAY),
        (RelayLife::Day1, 150 * DAY),
    ] {
        let mut world = World::talk(75);
        world.switch_off(1);
        send(&mut world, "never read", life);
        world.pass(away);
        assert_eq!(world.states(0), [MessageState::Sent], "nobody knows yet");
        world.load(1);
        world.pass(HOUR);
        assert_eq!(world.states(0), [RAN_OUT], "{life:?} {away}");
        assert_eq!(remembered(&world, 0), 0);
    }
}

// [SPEC 9.27]
#[test]
fn where_messages_stood_is_forgotten_one_by_one() {
    let mut world = World::talk(76);
    send(&mut world, "long", RelayLife::Day30);
    send(&mut world, "short", RelayLife::Day1);
    world.pass(HOUR);
    assert_eq!(world.states(0), [MessageState::Delivered; 2]);
    assert_eq!(remembered(&world, 0), 2);
    world.pass(2 * DAY);
    assert_eq!(remembered(&world, 0), 1, "the first one lives longer");
    world.switch_off(1);
    send(&mut world, "unread", RelayLife::Day1);
    send(&mut world, "deleted", RelayLife::Day1);
    world.pass(31 * DAY);
    assert_eq!(remembered(&world, 0), 2);
    let id = world.history(0).last().unwrap().id;
    let name = World::peer_name(0);
    world.command(0, Command::Delete { name, id }).unwrap();
    world.pass(3 * DAY);
    assert_eq!(remembered(&world, 0), 1, "its line is gone");
    world.pass(368 * DAY);
    assert_eq!(remembered(&world, 0), 0, "a year and more");
}

// [SPEC 9.27] [SPEC 10.12]
#[test]
fn what_has_ended_before_a_restart_is_not_sent_again_but_fails() {
    let mut world = World::talk(77);
    world.send(0, "read");
    world.pass(MINUTE);
    world.switch_off(1);
    send(&mut world, "never read", RelayLife::Day1);
    world.pass(3 * DAY);
    send(&mut world, "in time", RelayLife::Day1);
    world.pass(MINUTE);
    world.lose_group(0);
    world.pass(MINUTE);
    world.load(1);
    world.pass(2 * DAY);
    assert_eq!(world.received(1), ["read", "in time"]);
    let delivered = MessageState::Delivered;
    assert_eq!(world.states(0), [delivered, RAN_OUT, delivered]);
}

// [SPEC 9.27]
#[test]
fn restarts_give_a_message_no_longer_life() {
    let mut world = World::talk(770);
    // Alice never learns that it came.
    let receipts = Command::SetReceipts {
        name: World::peer_name(1),
        delivered: false,
        read: false,
    };
    world.command(1, receipts).unwrap();
    send(&mut world, "for a day", RelayLife::Day1);
    world.pass(20 * HOUR);
    let again = |world: &mut World| {
        world.events(0);
        world.lose_group(1);
        world.pass(HOUR);
        let queued = |event: &Event| matches!(event, Event::MessageState { state, .. } if *state == MessageState::Queued);
        world.events(0).iter().any(queued)
    };
    assert!(again(&mut world));
    assert!(again(&mut world));
    world.pass(3 * HOUR);
    assert!(!again(&mut world), "its day is over");
    assert_eq!(world.received(1), ["for a day"]);
    assert_eq!(world.contact(0).state, ContactState::Active);
}

// [SPEC 9.29]
#[test]
fn every_gap_is_told_however_many_there_are() {
    let mut world = World::talk(78);
    world.switch_off(1);
    let lives = [RelayLife::Day1, RelayLife::Day30];
    for n in 0..150 {
        send(&mut world, &format!("{n}"), lives[n % 2]);
        if n % 30 == 0 {
            world.pass(MINUTE);
        }
    }
    world.pass(3 * DAY);
    world.load(1);
    world.pass(HOUR);
    assert_eq!(world.received(1).len(), 75);
    for (n, state) in world.states(0).into_iter().enumerate() {
        let expected = [RAN_OUT, MessageState::Delivered][n % 2];
        assert_eq!(state, expected, "{n}");
    }
}

// [SPEC 9.29]
#[test]
fn nothing_that_never_came_was_read() {
    let mut world = World::talk(79);
    let receipts = Command::SetReceipts {
        name: World::peer_name(1),
        delivered: false,
        read: true,
    };
    world.command(1, receipts).unwrap();
    world.switch_off(1);
    send(&mut world, "never read", RelayLife::Day1);
    send(&mut world, "read", RelayLife::Day30);
    world.pass(3 * DAY);
    world.load(1);
    world.pass(HOUR);
    assert_eq!(world.states(0), [MessageState::Sent; 2]);
    world.read_all(1);
    world.pass(MINUTE);
    assert_eq!(world.states(0), [RAN_OUT, MessageState::Read]);
}

/// Bob's device in the hands of somebody who writes receipts as he likes.
struct Liar {
    keys: OwnKeys,
    group: Group,
    rng: ChaCha20Rng,
}

impl Liar {
    fn new(world: &mut World) -> Self {
        let records = world.parties[1].records.clone();
        world.switch_off(1);
        let part = |tag: u8| {
            let mut found = records.0.iter();
            let found = found.find(|(key, _)| key[0] == b'c' && key[5] == tag);
            found.map(|(_, value)| value.clone()).unwrap()
        };
        let root: [u8; 32] = records.0[&b"a"[..]][2..].try_into().unwrap();
        let root = AccountRoot::from_secret(Secret32::new(root));
        Self {
            keys: OwnKeys::load(&root, &part(b'k')).unwrap(),
            group: Group::load_with(&part(b'm'), &part(b'j')).unwrap(),
            rng: ChaCha20Rng::seed_from_u64(78),
        }
    }

    fn says(&mut self, world: &mut World, raw: &mut Raw, receipt: Receipt) {
        let here = inspect(world, 0).point.unwrap();
        let history = History {
            here,
            before: None,
            relay_key: None,
        };
        let body = Body::Receipt(receipt);
        let content = Content { history, body }.encode().unwrap();
        let message = self.group.encrypt(&self.keys, &content, &mut self.rng);
        let access = inspect(world, 0).main.unwrap();
        let entry = (kind::MLS, &message.unwrap()[..]);
        let answer = raw.append(world, &access, entry, (false, false), Vec::new());
        assert!(matches!(answer, Answer::Appended(_)), "{answer:?}");
        world.pass(MINUTE);
    }
}

// [SPEC 9.26] [SPEC 9.28]
#[test]
fn gaps_that_alternate_with_receipts_cost_each_message_one_repetition() {
    let mut world = World::talk(79);
    for text in ["one", "two", "three"] {
        world.send(0, text);
    }
    world.pass(MINUTE);
    assert_eq!(world.states(0), [MessageState::Delivered; 3]);
    let mut liar = Liar::new(&mut world);
    let mut raw = Raw::connect(&mut world);
    let mut lens = Vec::new();
    for _ in 0..4 {
        let end = inspect(&world, 0).point.unwrap().position;
        let start = Position { next_seq: 0, ..end };
        let gap = Gap {
            from: start,
            until_seq: end.next_seq,
        };
        for gaps in [Vec::new(), vec![gap]] {
            let receipt = Receipt {
                delivered: Some(end),
                read: None,
                gaps,
            };
            liar.says(&mut world, &mut raw, receipt);
        }
        let now = inspect(&world, 0).point.unwrap().position;
        lens.push(now.next_seq - end.next_seq - 2);
    }
    assert_eq!(lens, [3, 0, 0, 0], "entries of Alice after each claim");
}

// [SPEC 10.31]
#[test]
fn many_small_gaps_are_one_line_that_is_seldom_told() {
    let mut world = World::talk(80);
    let access = inspect(&world, 0).main.unwrap();
    world.switch_off(1);
    let mut raw = Raw::connect(&mut world);
    for _ in 0..200 {
        let rubbish = (kind::MLS, &b"rubbish"[..]);
        raw.append(&mut world, &access, rubbish, (false, false), Vec::new());
    }
    world.lie = Some(Box::new(|reply| {
        if let StoreReply::Read(batch) = reply {
            batch.entries.retain(|entry| entry.seq % 2 == 1);
        }
    }));
    world.events(1);
    world.load(1);
    world.pass(MINUTE);
    let gaps = |body: &LineBody| match body {
        LineBody::Notice(Notice::Gap { entries, kind }) => Some((*entries, *kind)),
        _ => None,
    };
    let history = world.history(1);
    let shown: Vec<_> = history.iter().filter_map(|line| gaps(&line.body)).collect();
    let [(entries, GapKind::Loss)] = shown[..] else {
        panic!("{shown:?}");
    };
    assert!((99..=101).contains(&entries), "{entries}");
    let told =
        |event: &Event| matches!(event, Event::Noticed { line, .. } if gaps(&line.body).is_some());
    let told = world.events(1).iter().filter(|event| told(event)).count();
    assert!((2..=7).contains(&told), "told {told} times");
}

// [SPEC 10.31]
#[test]
fn a_gap_after_one_that_was_read_is_a_line_of_its_own() {
    let mut world = World::talk(81);
    let access = inspect(&world, 0).main.unwrap();
    let mut raw = Raw::connect(&mut world);
    world.read_all(1);
    for round in 1..=2 {
        world.switch_off(1);
        for _ in 0..4 {
            let rubbish = (kind::MLS, &b"rubbish"[..]);
            raw.append(&mut world, &access, rubbish, (false, false), Vec::new());
        }
        let end = inspect(&world, 0).point.unwrap().position.next_seq;
        world.lie = Some(Box::new(move |reply| {
            if let StoreReply::Read(batch) = reply {
                batch.entries.retain(|entry| entry.seq + 1 >= end);
            }
        }));
        world.load(1);
        world.pass(SECOND);
        let gap = |line: &Line| matches!(line.body, LineBody::Notice(Notice::Gap { .. }));
        let gaps = world.history(1).iter().filter(|line| gap(line)).count();
        assert_eq!(gaps, round);
        assert_eq!(world.contact(1).unread, 1, "{round}");
        world.read_all(1);
    }
}

// [SPEC 9.36]
#[test]
fn a_relay_that_withholds_the_receipt_that_told_a_gap_makes_nothing_delivered() {
    let mut world = World::talk(82);
    world.pass(MINUTE);
    let hide = |world: &mut World, seq: u64| {
        world.lie = Some(Box::new(move |reply| {
            if let StoreReply::Read(batch) = reply {
                batch.entries.retain(|entry| entry.seq != seq);
            }
        }));
    };
    let next_seq = |world: &World| inspect(world, 1).point.unwrap().position.next_seq;
    world.switch_off(1);
    let withheld = next_seq(&world);
    world.send(0, "withheld");
    world.send(0, "arrives");
    world.switch_off(0);
    hide(&mut world, withheld);
    world.load(1);
    world.pass(MINUTE);
    assert_eq!(world.received(1), ["arrives"]);
    let receipt = next_seq(&world) - 1;
    assert!(receipt > withheld + 1, "it was receipted");
    hide(&mut world, receipt);
    world.load(0);
    world.pass(MINUTE);
    assert_eq!(world.states(0), [MessageState::Sent; 2]);
    world.lie = None;
    world.send(0, "later");
    world.pass(MINUTE);
    let delivered = MessageState::Delivered;
    assert_eq!(world.states(0), [RAN_OUT, delivered, delivered]);
}
