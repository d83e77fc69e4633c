//! A relay that answers otherwise than it said it would: a real one, in which somebody has put another share in the place of the
//! vault's.

use super::relay::Relay;
use super::*;

/// One of three that lies is named, and opens nothing and keeps nobody out. With another one away it looks like a wrong PIN: then it is
/// said who did not answer, and nothing is lost that the one that is back does not give back.
// [SPEC 11.49] [SPEC 11.51] [SPEC 11.53]
#[test]
fn a_relay_that_lies_is_outvoted_and_named() {
    let mut relays: Vec<Relay> = (0..3).map(|_| Relay::start()).collect();
    let (disk, ways) = (made(), at(PathBuf::from("/nowhere")));
    let here = Here(RefCell::new(open(&disk, SECRET, &ways).unwrap()));
    let to = To {
        mode: Some(Mode::Relays),
        relays: relays.iter().map(|relay| relay.address.clone()).collect(),
    };
    rewrap(&here, &ways, to, |vault| {
        Ok(vault.with_same(&text(SECRET)).unwrap())
    })
    .unwrap();
    let vault = here.0.into_inner();
    let shares = noted::area_of(&vault).shares;
    vault.lock().unwrap();
    let liar = shares
        .iter()
        .position(|at| at.relay == relays[1].address.identity);
    let liar = liar.unwrap();
    relays[1].lie(&shares[liar]);

    relays[2].stop();
    let (opened, asked) = super::asked(&disk, SECRET, &ways);
    assert!(matches!(opened, Err(OpenError::WrongSecret)));
    let doubt = asked.doubt().unwrap();
    let (may_lie, missing) = doubt.split_once("; before you try other PINs").unwrap();
    let name = |relay: &Relay| {
        let hosts: Vec<_> = relay.address.hosts().cloned().collect();
        noted::hosts_text(&hosts)
    };
    assert!(may_lie.contains(&name(&relays[0])) && may_lie.contains(&name(&relays[1])));
    assert!(missing.contains(&name(&relays[2])) && !missing.contains(&name(&relays[0])));
    relays[2].resume();

    let (opened, mut asked) = super::asked(&disk, SECRET, &ways);
    assert!(asked.doubt().is_none());
    let mut vault = opened.unwrap();
    asked.settle(&mut vault);
    assert_eq!(told(&vault).wrong_relays, [name(&relays[1])]);
    assert!(told(&vault).missing_relays.is_empty());

    // What is made anew answers as it should again.
    let (vault, made) = refreshed(vault, &ways);
    made.unwrap();
    vault.lock().unwrap();
    let (opened, mut asked) = super::asked(&disk, SECRET, &ways);
    let mut vault = opened.unwrap();
    asked.settle(&mut vault);
    assert!(told(&vault).wrong_relays.is_empty());
}
