use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::secret::Secret32;

use super::super::state::{LogKey, MainLog, Phase, State};
use super::*;
use crate::api::Name;
use crate::store::key::ConversationId;

fn at(next_seq: u64) -> Position {
    Position {
        restart: 0,
        generation: 1,
        next_seq,
    }
}

fn conversation() -> Conversation {
    let key = LogKey::generation(&Secret32::new([1; 32]));
    let main = MainLog::new(key, 0, 1, 0);
    let relay = IdentityHash([2; 32]);
    let state = State::fresh(&Name::unnamed(), relay, Phase::Member, main, 0);
    Conversation::assemble(ConversationId(0), state)
}

// [SPEC 9.29]
#[test]
fn no_gap_is_forgotten_for_another_one() {
    let mut conversation = conversation();
    let gap = |generation, seq| Gap {
        from: Position {
            restart: 0,
            generation,
            next_seq: seq,
        },
        until_seq: seq + 1,
    };
    let last = (UNTOLD_GAPS_MAX as u64 - 1) * 2;
    for seq in (0..=last).step_by(2) {
        conversation.note_gap(gap(1, seq));
    }
    for generation in 2..12 {
        conversation.note_gap(gap(generation, 7));
    }
    let gaps = &conversation.state.receipts.gaps;
    assert_eq!(gaps.len(), UNTOLD_GAPS_MAX);
    let told = |position| gaps.iter().any(|gap| holds(gap, &position));
    for seq in (0..=last).step_by(2) {
        assert!(told(gap(1, seq).from), "{seq}");
    }
    for generation in 2..12 {
        assert!(told(gap(generation, 7).from), "{generation}");
    }
    assert!(
        !told(at(1)),
        "what came is not said to be missing where there is room"
    );
}

// [SPEC 9.8] [SPEC 10.30]
#[test]
fn a_gap_that_grew_under_way_is_told_to_its_end() {
    let mut conversation = conversation();
    let gap = |from, until_seq| Gap {
        from: at(from),
        until_seq,
    };
    conversation.state.receipts.gaps = vec![gap(1, 3), gap(5, 9), gap(12, 14)];
    let told = Receipt {
        delivered: Some(at(7)),
        read: None,
        gaps: vec![gap(1, 3), gap(5, 7)],
    };
    for _ in 0..2 {
        conversation.receipt_sent(&told);
        let receipts = &conversation.state.receipts;
        assert_eq!(receipts.first_untold_gap(), Some(at(7)));
        assert_eq!(receipts.gaps, [gap(1, 3), gap(5, 9), gap(12, 14)]);
    }
}

// [SPEC 9.36]
#[test]
fn the_last_gaps_are_told_again_and_older_ones_are_not() {
    let mut conversation = conversation();
    let gap = |seq| Gap {
        from: at(seq),
        until_seq: seq + 1,
    };
    let gaps: Vec<Gap> = (0..100).map(|n| gap(2 * n)).collect();
    conversation.state.receipts.gaps.clone_from(&gaps);
    let told = Receipt {
        delivered: Some(at(140)),
        read: None,
        gaps: Vec::new(),
    };
    conversation.receipt_sent(&told);
    let left = &conversation.state.receipts.gaps;
    assert_eq!(left, &gaps[70 - TOLD_GAPS_MAX..]);
    for seq in (200..2_000).step_by(2) {
        conversation.note_gap(gap(seq));
    }
    let receipts = &conversation.state.receipts;
    assert_eq!(receipts.gaps.len(), UNTOLD_GAPS_MAX);
    assert_eq!(receipts.first_untold_gap(), Some(at(140)));
}
