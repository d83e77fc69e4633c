//! A client's view of a relay's stream keys: honest chains, restored relays, two faces.

use emptyroom_wire::codec::DecodeFault;
use emptyroom_wire::limits::{CHAIN_CLAIMS_MAX, CHAIN_RECENT_MAX};
use emptyroom_wire::relay_key::{
    ChainFault, ChainStep, Head, KeyBelow, KeyChain, KeyRecord, RelayIdentity,
};
use emptyroom_wire::secret::Private;
use emptyroom_wire::time::{Day, HOUR_MS, Wall};

use crate::support::{START, rng, secret};

struct Chain {
    identity: RelayIdentity,
    records: Vec<KeyRecord>,
}

impl Chain {
    /// A relay that made `count` keys, one an hour.
    fn new(count: u64) -> Self {
        let mut chain = Chain {
            identity: RelayIdentity::from_seed(&secret(1)),
            records: Vec::new(),
        };
        for hour in 0..count {
            chain.make(START.plus_ms(hour * HOUR_MS), 1);
        }
        chain
    }

    fn make(&mut self, now: Wall, seed: u64) {
        let key = self
            .identity
            .next_stream_key(self.records.last(), now, &mut rng(now.0 ^ seed));
        self.records.push(key.signed().record.clone());
    }

    fn head(&self, place: usize) -> Head {
        let record = &self.records[place];
        Head {
            number: record.number,
            hash: Private(record.hash(&self.identity.hash())),
        }
    }

    fn client(&self) -> KeyChain {
        KeyChain::new(self.identity.hash())
    }

    fn walk(&self, client: &mut KeyChain, records: &[KeyRecord], day: Day) -> Vec<ChainFault> {
        client.walk(&self.identity.verify_key(), records, day)
    }
}

const TODAY: Day = Day(20_833);

/// Whoever knows a head and nothing else refuses keys from long before it, and takes those after it.
// [SPEC 5.6] [SPEC 11.54]
#[test]
fn a_head_is_enough_to_refuse_older_keys() {
    let relay = Chain::new(9);
    let at = |place: usize| KeyChain::at(relay.identity.hash(), Some(relay.head(place)));
    assert_eq!(at(6).step(&relay.records[2]), Err(KeyBelow));
    assert_eq!(at(6).step(&relay.records[6]), Ok(ChainStep::Same));
    assert_eq!(at(6).step(&relay.records[7]), Ok(ChainStep::Linked));
    let after = relay.head(6).number;
    assert_eq!(
        at(6).step(&relay.records[8]),
        Ok(ChainStep::Ahead { after })
    );
    let nothing = KeyChain::at(relay.identity.hash(), None);
    assert_eq!(nothing.step(&relay.records[0]), Ok(ChainStep::First));
}

#[test]
fn a_chain_is_followed_from_its_first_record() {
    let relay = Chain::new(5);
    let mut client = relay.client();
    assert_eq!(
        (client.head(), client.step(&relay.records[0])),
        (None, Ok(ChainStep::First))
    );
    assert_eq!(relay.walk(&mut client, &relay.records[..1], TODAY), []);
    assert_eq!(client.step(&relay.records[0]), Ok(ChainStep::Same));
    assert_eq!(client.step(&relay.records[1]), Ok(ChainStep::Linked));
    let after = relay.records[0].number;
    assert_eq!(
        client.step(&relay.records[3]),
        Ok(ChainStep::Ahead { after })
    );
    assert_eq!(relay.walk(&mut client, &relay.records[1..], TODAY), []);
    assert_eq!(client.head(), Some(relay.head(4)));
    // Asking again is harmless.
    assert_eq!(relay.walk(&mut client, &relay.records, TODAY), []);
    assert_eq!(client.head(), Some(relay.head(4)));
    assert_eq!(
        KeyChain::decode(&client.encode()).unwrap().encode(),
        client.encode()
    );
}

// [SPEC 5.6]
#[test]
fn a_lower_number_is_refused() {
    let relay = Chain::new(5);
    let mut client = relay.client();
    relay.walk(&mut client, &relay.records, TODAY);
    assert_eq!(client.step(&relay.records[1]), Err(KeyBelow));
    relay.walk(&mut client, &relay.records[..2], TODAY);
    assert_eq!(client.head(), Some(relay.head(4)));
    // Two hours below: it may be in use on another node.
    assert_eq!(client.step(&relay.records[2]), Ok(ChainStep::Same));
    let mut newcomer = relay.client();
    relay.walk(&mut newcomer, &relay.records[4..], TODAY);
    assert_eq!(newcomer.step(&relay.records[1]), Err(KeyBelow));
    let after = relay.records[2].number;
    let below = ChainStep::Below { after };
    assert_eq!(newcomer.step(&relay.records[2]), Ok(below));
    relay.walk(&mut newcomer, &relay.records[2..], TODAY);
    assert_eq!(newcomer.head(), Some(relay.head(4)));
}

// [SPEC 5.21]
#[test]
fn a_key_below_the_head_must_lead_to_it() {
    let mut relay = Chain::new(1);
    for minute in 61..=70 {
        relay.make(START.plus_ms(minute * 60_000), 1);
    }
    let mut client = relay.client();
    relay.walk(&mut client, &relay.records[9..10], TODAY);
    let identity = relay.identity.verify_key();
    let used = relay.records[3].clone();
    let trail = || client.trail(&used).unwrap();
    // In pages, and with what came after the head.
    let mut whole = trail();
    assert_eq!(whole.follow(&identity, &relay.records[4..6]), Ok(false));
    assert_eq!(whole.follow(&identity, &relay.records[6..]), Ok(true));
    // One left out; the head left out; another one than the client's under its number.
    let not_linked = |number| Err(ChainFault::NotLinked { number });
    let after_gap = relay.records[6].number;
    let skipped = trail().follow(&identity, &relay.records[6..]);
    assert_eq!(skipped, not_linked(after_gap));
    let mut short = trail();
    assert_eq!(short.follow(&identity, &relay.records[4..9]), Ok(false));
    let number = relay.records[9].number;
    assert_eq!(
        Err(short.cut_short()),
        not_linked(number) as Result<bool, _>
    );
    let honest = relay.records.clone();
    relay.records.truncate(9);
    relay.make(START.plus_ms(69 * 60_000), 2);
    assert_eq!(
        trail().follow(&identity, &relay.records[4..]),
        not_linked(number)
    );
    // A key that was made for this client alone has its place in no chain.
    relay.records.truncate(3);
    relay.make(START.plus_ms(63 * 60_000), 3);
    let special = relay.records[3].clone();
    let below = ChainStep::Below {
        after: special.number,
    };
    assert_eq!(client.step(&special), Ok(below));
    let mut astray = client.trail(&special).unwrap();
    let number = honest[4].number;
    assert_eq!(astray.follow(&identity, &honest[4..]), not_linked(number));
}

// [SPEC 5.7]
#[test]
fn a_restored_relay_is_reported_once_and_followed() {
    let mut relay = Chain::new(30);
    let mut client = relay.client();
    relay.walk(&mut client, &relay.records, TODAY);
    // Yesterday's copy goes on from its own last record, two hours later.
    relay.records.truncate(6);
    relay.make(START.plus_ms(32 * HOUR_MS), 2);
    let number = relay.records[6].number;
    let faults = relay.walk(&mut client, &relay.records[6..], TODAY);
    assert_eq!(faults, [ChainFault::NotLinked { number }]);
    assert_eq!(client.head(), Some(relay.head(6)));
    assert_eq!(relay.walk(&mut client, &relay.records[6..], TODAY), []);
    relay.make(START.plus_ms(33 * HOUR_MS), 2);
    assert_eq!(relay.walk(&mut client, &relay.records[7..], TODAY), []);
}

// [SPEC 5.7]
#[test]
fn a_key_made_for_one_client_shows() {
    let mut relay = Chain::new(3);
    let mut client = relay.client();
    relay.walk(&mut client, &relay.records, TODAY);
    let honest = relay.records.clone();
    // Under the same number, then back to the records that everybody else sees.
    relay.records.truncate(2);
    relay.make(START.plus_ms(2 * HOUR_MS), 7);
    let special = relay.records[2].clone();
    assert_eq!(special.number, honest[2].number);
    assert_eq!(client.step(&special), Ok(ChainStep::Conflict));
    let faults = relay.walk(&mut client, &[special], TODAY);
    assert_eq!(
        faults,
        [ChainFault::NotLinked {
            number: honest[2].number
        }]
    );
    relay.records = honest;
    relay.make(START.plus_ms(3 * HOUR_MS), 1);
    let number = relay.records[3].number;
    let faults = relay.walk(&mut client, &relay.records[3..], TODAY);
    assert_eq!(faults, [ChainFault::NotLinked { number }]);
}

// [SPEC 5.7]
#[test]
fn records_left_out_show_unless_one_was_away_for_a_month() {
    let relay = Chain::new(4);
    let mut client = relay.client();
    relay.walk(&mut client, &relay.records[..1], TODAY);
    let missing = &relay.records[2..];
    let number = missing[0].number;
    let mut away = client.clone();
    let faults = relay.walk(&mut client, missing, TODAY.plus(28));
    assert_eq!(faults, [ChainFault::NotLinked { number }]);
    assert_eq!(relay.walk(&mut away, missing, TODAY.plus(29)), []);
    assert_eq!(away.head(), Some(relay.head(3)));
    // Only the first step is forgiven.
    let mut gap = relay.client();
    relay.walk(&mut gap, &relay.records[..1], TODAY);
    let skipped = [relay.records[1].clone(), relay.records[3].clone()];
    let faults = relay.walk(&mut gap, &skipped, TODAY.plus(29));
    assert_eq!(
        faults,
        [ChainFault::NotLinked {
            number: relay.records[3].number
        }]
    );
}

#[test]
fn records_of_somebody_else_are_passed_over() {
    let relay = Chain::new(2);
    let mut client = relay.client();
    relay.walk(&mut client, &relay.records[..1], TODAY);
    let mut forged = relay.records[1].clone();
    forged.number += 5;
    assert_eq!(relay.walk(&mut client, &[forged], TODAY), []);
    assert_eq!(client.head(), Some(relay.head(0)));
}

// [SPEC 5.8]
#[test]
fn heads_of_peers_are_compared_at_once_or_later() {
    let relay = Chain::new(5);
    let mut client = relay.client();
    relay.walk(&mut client, &relay.records[..3], TODAY);
    assert_eq!(client.claim(relay.head(1)), None);
    assert_eq!(client.claim(relay.head(4)), None);
    let lie = |place: usize| Head {
        hash: Private([7; 32]),
        ..relay.head(place)
    };
    let fault = |place: usize| {
        Some(ChainFault::TwoHeads {
            number: relay.head(place).number,
        })
    };
    assert_eq!(client.claim(lie(1)), fault(1));
    assert_eq!(client.claim(lie(1)), None, "reported once");
    // One that is ahead is kept and compared when the client comes there, also after a restart.
    assert_eq!(client.claim(lie(3)), None);
    let passed_over = Head {
        number: relay.head(3).number + 1,
        hash: Private([7; 32]),
    };
    assert_eq!(client.claim(passed_over), None);
    let mut client = KeyChain::decode(&client.encode()).unwrap();
    let faults = relay.walk(&mut client, &relay.records[3..], TODAY);
    let expected = [
        fault(3).unwrap(),
        ChainFault::TwoHeads {
            number: passed_over.number,
        },
    ];
    assert_eq!(faults, expected);
}

#[test]
fn what_is_kept_is_bounded() {
    let relay = Chain::new(100);
    let mut client = relay.client();
    relay.walk(&mut client, &relay.records, TODAY);
    for number in 0..1_000 {
        client.claim(Head {
            number: u64::MAX - number,
            hash: Private([1; 32]),
        });
    }
    let most = 32 + 4 + 3 + CHAIN_RECENT_MAX * 40 + 3 + CHAIN_CLAIMS_MAX * 40 + 8;
    assert_eq!(client.encode().len(), most);
    // A liar's far numbers do not push out what can be compared soon.
    assert_eq!(
        client.claim(Head {
            number: relay.head(99).number + 1,
            hash: Private([2; 32])
        }),
        None
    );
    assert_eq!(client.encode().len(), most);
    assert_eq!(
        KeyChain::decode(&[1; 20]).err(),
        Some(DecodeFault::Truncated)
    );
}

/// Three nodes make keys each hour, by clocks that are this far apart, and one client goes from one to another.
// [SPEC 5.4] [SPEC 5.21]
#[test]
fn nodes_whose_clocks_differ_make_one_chain() {
    const MINUTE_MS: u64 = 60_000;
    for apart in [0, 10, 55] {
        let mut relay = Chain::new(0);
        let mut client = relay.client();
        let identity = relay.identity.verify_key();
        let mut live = [0; 3];
        for minute in 0..1_000_u64 {
            for (node, made) in (0..3).zip(&mut live) {
                if minute % 60 == node * 17 {
                    let clock = START.plus_ms((minute + node * apart / 2) * MINUTE_MS);
                    relay.make(clock, node);
                    *made = relay.records.len() - 1;
                }
            }
            if minute < 60 {
                continue;
            }
            let used = relay.records[live[minute as usize * 7 % 3]].clone();
            let served = |after| {
                let at = relay
                    .records
                    .partition_point(|record| record.number <= after);
                &relay.records[at..]
            };
            match client.step(&used).unwrap() {
                ChainStep::Same => {}
                ChainStep::First | ChainStep::Linked => {
                    assert_eq!(relay.walk(&mut client, &[used], TODAY), []);
                }
                ChainStep::Ahead { after } => {
                    assert_eq!(relay.walk(&mut client, served(after), TODAY), []);
                }
                ChainStep::Below { after } => {
                    let mut trail = client.trail(&used).unwrap();
                    assert_eq!(trail.follow(&identity, served(after)), Ok(true));
                    assert_eq!(relay.walk(&mut client, served(after), TODAY), []);
                }
                ChainStep::Conflict => panic!("two records with one number"),
            }
        }
        let numbers: Vec<u64> = relay.records.iter().map(|record| record.number).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{apart} minutes");
    }
}
