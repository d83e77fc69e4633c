//! What is noted and what areas name, as bytes and as words.

use super::*;

/// Behind what a vault with a TPM names come random bytes; and from an area that does not say what there is nobody concludes that
/// there is nothing.
// [SPEC 11.46] [SPEC 12.44]
#[test]
fn what_an_area_names_is_read_whatever_follows() {
    let Some(swtpm) = software("what_an_area_names_is_read_whatever_follows") else {
        return;
    };
    let ways = at(swtpm.socket());
    let disk = with_tpm(&ways);
    let vault = open(&disk, SECRET, &ways).unwrap();
    let mut area = vault.area().to_vec();
    let named = noted::Area::decode(&area).unwrap();
    let len = named.encode().len();
    for rest in [0x00, 0x01, 0xff] {
        area[len..].fill(rest);
        assert_eq!(noted::Area::decode(&area).unwrap().place(), named.place());
    }
    area[..2].fill(0xff);
    assert!(noted::Area::decode(&area).is_none());
    assert_eq!(ways.destroy_named(&area).len(), 1);
}

/// What a vault left that the panic PIN ended is not told, and what a change left is.
// [SPEC 12.42] [SPEC 12.50]
#[test]
fn what_is_left_is_told_but_not_of_a_vault_that_is_gone() {
    let place = Place::from_number(0x0180_0007).unwrap();
    let noted = Noted {
        places: vec![NotedPlace {
            place,
            reset: None,
            tpm: None,
        }],
        errands: Errands {
            places: vec![Place::from_number(0x0180_0008).unwrap()],
            ..Errands::default()
        },
        ..Noted::default()
    };
    let told = ["index 0x01800007 of the TPM".to_owned()];
    assert_eq!(noted.left(&Area::default()), told);
    assert!(noted.has_something());
}

/// Which relay answered wrongly shows by what the vault knows of its share, and is told until the next opening.
// [SPEC 11.53]
#[test]
fn a_relay_that_answers_wrongly_is_named() {
    let vault = open(&made(), SECRET, &at(PathBuf::from("/nowhere")));
    let mut vault = vault.unwrap();
    let noted = Noted {
        shares: (1..4)
            .map(|n| NotedShare {
                at: share_at(n),
                noted_ms: 1,
                answers: [n; 16],
                left: 10,
                needed: 2,
            })
            .collect(),
        ..Noted::default()
    };
    noted.write(&mut vault).unwrap();
    let area = Area {
        shares: (1..4).map(share_at).collect(),
        ..Area::default()
    };
    let asked = |heard: Vec<(usize, [u8; 16])>| Asked {
        heard: heard.into_iter().map(|(n, begin)| (n, begin, 9)).collect(),
        area: area.clone(),
        ..Asked::default()
    };
    asked(vec![(0, [1; 16]), (1, [9; 16]), (2, [3; 16])]).settle(&mut vault);
    assert_eq!(told(&vault).wrong_relays, ["relay-2:443"]);
    // Whoever tried chose whom he asked: three times the first and the second, of which the vault knew these uses.
    let mut noted = Noted::read(&vault).unwrap();
    for (share, left) in noted.shares.iter_mut().zip([7, 10, 7]) {
        share.left = left;
    }
    noted.write(&mut vault).unwrap();
    let mut uneven = Asked {
        heard: vec![(0, [1; 16], 3), (1, [9; 16], 6), (2, [3; 16], 6)],
        area: area.clone(),
        ..Asked::default()
    };
    uneven.settle(&mut vault);
    assert_eq!(uneven.wrong_before().map(|before| before.wrong), Some(3));
    // Nobody was asked, as with the recovery words: nothing is known.
    asked(Vec::new()).settle(&mut vault);
    assert_eq!(told(&vault).wrong_relays.len(), 1);
    asked(vec![(0, [1; 16]), (1, [2; 16])]).settle(&mut vault);
    assert!(told(&vault).wrong_relays.is_empty());
}

/// What is noted comes back, also of a vault that noted less; the relays that were chosen last count with the header that names
/// their share.
// [SPEC 11.52]
#[test]
fn what_is_noted_comes_back() {
    let address = |n: u8| RelayAddress {
        host: host(&format!("relay-{n}:443")),
        others: Vec::new(),
        identity: IdentityHash([n; 32]),
        code: None,
    };
    let vault = open(&made(), SECRET, &at(PathBuf::from("/nowhere")));
    let mut vault = vault.unwrap();
    let with_head = At {
        head: Some(Head {
            number: 7,
            hash: Private([7; 32]),
        }),
        ..share_at(1)
    };
    let noted = Noted {
        shares: vec![NotedShare {
            at: with_head.clone(),
            noted_ms: 5,
            answers: [6; 16],
            left: 4,
            needed: 3,
        }],
        relays: vec![address(1)],
        chosen: Some((ShareId::new([2; 32]), vec![address(2)])),
        failed: Some(Failed {
            since_ms: 9,
            error: "e".into(),
            text: "t".into(),
        }),
        wrong: vec!["w".into()],
        ..Noted::default()
    };
    noted.write(&mut vault).unwrap();
    let read = Noted::read(&vault).unwrap();
    assert!(read.shares[0].at == with_head && read.shares[0].at.head == with_head.head);
    assert_eq!(
        (read.shares[0].noted_ms, read.shares[0].answers),
        (5, [6; 16])
    );
    assert_eq!((read.shares[0].left, read.shares[0].needed), (4, 3));
    assert!(read.failed == noted.failed);
    assert_eq!(read.wrong, noted.wrong);
    let names = |n: u8| Area {
        shares: vec![share_at(n)],
        ..Area::default()
    };
    assert!(read.relays_of(&names(1)) == noted.relays);
    assert!(read.relays_of(&names(2)) == noted.chosen.unwrap().1);
    // The header names it: it stays. Others go, and after their lease nobody is asked.
    assert_eq!(read.unused(&names(1)).count(), 0);
    assert_eq!(read.unused(&names(4)).count(), 1);
    // Of one refresh, as many as open a copy; fewer open none.
    let old_of = |noted_ms: [u64; 3], (used, needed): (u8, u8), is_left_in_tpm: bool| {
        let shares = (1..4).zip(noted_ms).map(|(n, noted_ms)| NotedShare {
            at: share_at(n),
            noted_ms,
            answers: [0; 16],
            left: 10,
            needed,
        });
        let noted = Noted {
            shares: shares.collect(),
            ..Noted::default()
        };
        noted.old_shares(&names(used), is_left_in_tpm)
    };
    let old = |noted_ms, used, needed| old_of(noted_ms, (used, needed), false);
    assert_eq!(old([5, 5, 5], 3, 2), ["relay-1:443", "relay-2:443"]);
    assert!(old([5, 6, 5], 3, 2).is_empty() && old([5, 6, 7], 9, 2).is_empty());
    // Nor those that no header named; and one alone is enough where one was.
    assert!(old([5, 5, 5], 9, 0).is_empty());
    assert_eq!(old([5, 6, 7], 3, 1), ["relay-1:443", "relay-2:443"]);
    // Nor where a key in the TPM is needed with them, which is gone.
    assert!(old([5, 5, 5], 3, 2 | noted::TPM_TOO).is_empty());
    let with_key = old_of([5, 5, 5], (3, 2 | noted::TPM_TOO), true);
    assert_eq!(with_key, ["relay-1:443", "relay-2:443"]);
    // [SPEC 11.121]
    let noted_ms = 1_800_000_000_000;
    let mut late = read.clone();
    late.shares[0].noted_ms = noted_ms;
    let over = |now_ms: Option<u64>| (read.over(now_ms).len(), late.over(now_ms).len());
    let end_ms = noted_ms + 800 * emptyroom_wire::time::DAY_MS;
    let overs = [None, Some(end_ms), Some(end_ms + 1)].map(over);
    assert_eq!(overs, [(0, 0), (0, 0), (0, 1)]);
}

/// A relay does not see by their owner keys which shares belong together.
// [SPEC 11.54]
#[test]
fn every_share_has_its_own_owner_key() {
    let key = |relay: u8, id: u8| {
        let (relay, id) = (IdentityHash([relay; 32]), ShareId::new([id; 32]));
        super::super::relays::owner(&[1; 32], &relay, &id)
            .verify_key()
            .0
    };
    let keys = [key(1, 1), key(1, 2), key(2, 1)];
    assert!(keys[0] != keys[1] && keys[0] != keys[2] && keys[1] != keys[2]);
}

/// The longest area that can be has its place in a header, and so has what an empty vault must remember.
// [SPEC 11.46]
// [SPEC 11.57]
#[test]
fn areas_and_errands_are_what_they_were() {
    let hosts = vec![host(&format!(
        "{}.{}:65535",
        "a".repeat(50),
        "b".repeat(50)
    ))];
    let at = |n: u8| At {
        hosts: hosts.clone(),
        relay: IdentityHash([n; 32]),
        id: ShareId::new([n; 32]),
        head: Some(Head {
            number: u64::from(n),
            hash: Private([n; 32]),
        }),
    };
    let area = Area {
        enrolment: None,
        needed: 3,
        shares: (1..6).map(at).collect(),
        masked: [1, 2, 3, 4].map(|n| vec![[n; 32]; 5]),
    };
    let encoded = area.encode();
    assert!(encoded.len() + emptyroom_tpm::ENROLMENT_LEN_MAX <= 2_750);
    let longest = HOSTS_LEN_MAX - noted::hosts_text(&hosts).len();
    assert!(encoded.len() + 5 * longest + emptyroom_tpm::ENROLMENT_LEN_MAX <= 2_758);
    let read = Area::decode(&[&encoded[..], &[7; 500]].concat()).unwrap();
    assert!(read.encode() == encoded && read.to_ask().is_some());
    for len in 0..encoded.len() {
        assert!(Area::decode(&encoded[..len]).is_none(), "{len}");
    }
    for data in [&[0xff; 2_800][..], &[0; 2_800], &[]] {
        noted::fuzz_area(data);
    }
    let numbers = [0x0180_0000, 0x01bf_ffff];
    let errands = Errands {
        places: numbers.into_iter().filter_map(Place::from_number).collect(),
        deletes: (0..5)
            .map(|n| super::super::relays::order(&[n; 32], &at(n)))
            .collect(),
        ..Errands::default()
    };
    let encoded = errands.encode();
    assert!(encoded.len() <= 2_700);
    assert!(Errands::decode(&encoded).unwrap() == errands);
    assert!(Errands::decode(&encoded[1..]).is_none());
    // [SPEC 11.122]
    let pause = Pause {
        count: 2,
        last_ms: 9,
    };
    let paused = Errands { pause, ..errands };
    assert_eq!(paused.encode().len(), encoded.len() + 9);
    assert!(Errands::decode(&paused.encode()).unwrap() == paused);
}
