//! What messages say: written, read, and refused.

use emptyroom_core::api::{Burn, Text};
use emptyroom_core::content::{
    Body, BodyFault, Content, ContentFault, GAPS_MAX, Gap, IntentId, Receipt, TEXT_LEN_MAX,
    TextMessage, TimerChange,
};
use emptyroom_core::position::{History, KeyHead, LogPoint, Position};

pub(crate) fn history() -> History {
    History {
        here: point(2, 7),
        before: Some(point(1, 1000)),
        relay_key: Some(KeyHead {
            number: 12,
            hash: [3; 32],
        }),
    }
}

fn point(generation: u64, next_seq: u64) -> LogPoint {
    LogPoint {
        position: place(generation, next_seq),
        slots: 3,
        running_hash: [5; 32],
    }
}

fn place(generation: u64, next_seq: u64) -> Position {
    Position {
        restart: 1,
        generation,
        next_seq,
    }
}

pub(crate) fn text(text: &str, burn: Burn) -> Body {
    Body::Text(TextMessage {
        intent: IntentId([1; 16]),
        sent_at_ms: 1_788_000_000_000,
        burn,
        text: Text::from(text),
    })
}

fn written(body: Body) -> Vec<u8> {
    Content {
        history: history(),
        body,
    }
    .encode()
    .unwrap()
}

fn bodies() -> Vec<Body> {
    vec![
        text("hello", Burn::Never),
        text("ünïcode 🕯", Burn::OnRead),
        text(&"x".repeat(TEXT_LEN_MAX), Burn::after_ms(5_000).unwrap()),
        Body::Timer(TimerChange {
            intent: IntentId([2; 16]),
            changed_at_ms: 7,
            burn: Burn::after_ms(Burn::MS_MAX).unwrap(),
        }),
        Body::Receipt(Receipt::default()),
        Body::Receipt(Receipt {
            delivered: Some(place(2, 50)),
            read: Some(place(2, 40)),
            gaps: vec![
                Gap {
                    from: place(1, 3),
                    until_seq: 5,
                },
                Gap {
                    from: place(2, 10),
                    until_seq: 50,
                },
            ],
        }),
        Body::Seen,
    ]
}

// [SPEC 9.2]
#[test]
fn what_is_written_is_read() {
    for body in bodies() {
        let bytes = written(body.clone());
        let content = Content::decode(&bytes).unwrap();
        assert_eq!(content.body, body);
        assert_eq!(content.history, history());
        assert_eq!(content.encode().unwrap(), bytes);
    }
    let first = Content {
        history: History {
            here: LogPoint::default(),
            before: None,
            relay_key: None,
        },
        body: Body::Seen,
    };
    assert_eq!(
        Content::decode(&first.encode().unwrap()).as_ref(),
        Ok(&first)
    );
}

// [SPEC 9.1]
#[test]
fn another_version_and_other_forms_are_refused() {
    let bytes = written(Body::Seen);
    let mut newer = bytes.clone();
    newer[0] = 2;
    assert_eq!(Content::decode(&newer), Err(ContentFault::Version(2)));
    assert_eq!(Content::decode(&[]), Err(ContentFault::Version(0)));
    for len in 1..bytes.len() {
        assert_eq!(Content::decode(&bytes[..len]), Err(ContentFault::Malformed));
    }
    let trailing = [&bytes[..], &[0]].concat();
    assert_eq!(Content::decode(&trailing), Err(ContentFault::Malformed));
}

/// `kind ‖ length ‖ body ‖ length ‖ extensions` behind the history of a message.
fn raw(kind: u16, body: &[u8], extensions: &[u8]) -> Result<Content, ContentFault> {
    let seen = written(Body::Seen);
    let head = &seen[..seen.len() - 4];
    let len = u16::try_from(body.len()).unwrap();
    let len = match len {
        0..64 => vec![u8::try_from(len).unwrap()],
        _ => (len | 0x4000).to_be_bytes().to_vec(),
    };
    let extensions_len = [u8::try_from(extensions.len()).unwrap()];
    let parts = [
        head,
        &kind.to_be_bytes(),
        &len,
        body,
        &extensions_len,
        extensions,
    ];
    Content::decode(&parts.concat())
}

// [SPEC 9.3]
#[test]
fn unknown_types_are_ignored_or_refused_by_their_high_bit() {
    // Values that nobody will ever define, so that programs stay able to ignore.
    for kind in [0x0a0a, 0x1a1a, 0x7a7a, 5, 0] {
        let content = raw(kind, b"whatever", &[]).unwrap();
        assert_eq!(content.body, Body::Ignored(kind));
        assert_eq!(content.encode(), Err(BodyFault::NotSendable));
    }
    assert_eq!(
        raw(0x8a0a, b"whatever", &[]),
        Err(ContentFault::Critical(0x8a0a))
    );
    assert_eq!(raw(4, b"", &[0x0a, 0x0a, 1, 9]).unwrap().body, Body::Seen);
    assert_eq!(
        raw(4, b"", &[0x0a, 0x0a, 0, 0x9a, 0x0a, 0]),
        Err(ContentFault::Critical(0x9a0a))
    );
    assert_eq!(raw(4, b"", &[0x0a, 0x0a, 9]), Err(ContentFault::Malformed));
    assert_eq!(
        raw(4, b"x", &[]),
        Err(ContentFault::Body(BodyFault::Malformed))
    );
}

fn raw_text(burn: u32, text: &[u8]) -> Result<Content, ContentFault> {
    let len = u16::try_from(text.len()).unwrap();
    let len = match len {
        0..64 => vec![u8::try_from(len).unwrap()],
        64..0x4000 => (len | 0x4000).to_be_bytes().to_vec(),
        _ => (u32::from(len) | 0x8000_0000).to_be_bytes().to_vec(),
    };
    let parts = [
        &[1; 16][..],
        &7u64.to_be_bytes(),
        &burn.to_be_bytes(),
        &len,
        text,
    ];
    let body = parts.concat();
    let seen = written(Body::Seen);
    let head = &seen[..seen.len() - 4];
    let body_len = (u32::try_from(body.len()).unwrap() | 0x8000_0000).to_be_bytes();
    let body_len = match body.len() {
        0..64 => vec![u8::try_from(body.len()).unwrap()],
        64..0x4000 => (u16::try_from(body.len()).unwrap() | 0x4000)
            .to_be_bytes()
            .to_vec(),
        _ => body_len.to_vec(),
    };
    Content::decode(&[head, &[0, 1], &body_len, &body, &[0]].concat())
}

// [SPEC 9.5]
#[test]
fn texts_have_text_of_limited_length() {
    assert!(raw_text(0, b"fine").is_ok());
    let fault = |text: &[u8]| match raw_text(0, text) {
        Err(ContentFault::Body(fault)) => fault,
        other => panic!("expected a fault, got {other:?}"),
    };
    assert_eq!(fault(b""), BodyFault::TextEmpty);
    assert_eq!(fault(&[b'x'; TEXT_LEN_MAX + 1]), BodyFault::TextTooLong);
    assert_eq!(fault(&[0xff, 0xfe]), BodyFault::TextNotUtf8);
    let too_long = Content {
        history: history(),
        body: text(&"x".repeat(TEXT_LEN_MAX + 1), Burn::Never),
    };
    assert_eq!(too_long.encode(), Err(BodyFault::TextTooLong));
}

// [SPEC 9.6]
#[test]
fn timers_have_bounds() {
    for burn in [0, 1, 5_000, 2_419_200_000] {
        assert!(raw_text(burn, b"x").is_ok(), "{burn}");
    }
    for burn in [2, 4_999, 2_419_200_001, u32::MAX] {
        assert_eq!(
            raw_text(burn, b"x"),
            Err(ContentFault::Body(BodyFault::Timer)),
            "{burn}"
        );
    }
}

// [SPEC 9.8]
#[test]
fn receipts_report_possible_gaps_only() {
    let receipt = |gaps: Vec<Gap>| Content {
        history: history(),
        body: Body::Receipt(Receipt {
            delivered: Some(place(2, 50)),
            read: None,
            gaps,
        }),
    };
    let gap = |generation, from, until_seq| Gap {
        from: place(generation, from),
        until_seq,
    };
    let many: Vec<Gap> = (0..=GAPS_MAX as u64)
        .map(|n| gap(1, n * 3, n * 3 + 1))
        .collect();
    let impossible = [
        vec![gap(2, 5, 5)],
        vec![gap(2, 6, 5)],
        vec![gap(2, 40, 51)],
        vec![gap(3, 0, 1)],
        vec![gap(2, 5, 9), gap(2, 8, 10)],
        vec![gap(2, 5, 9), gap(2, 9, 10)],
        vec![gap(2, 5, 9), gap(1, 1, 2)],
        many.clone(),
    ];
    for gaps in impossible {
        assert_eq!(receipt(gaps).encode(), Err(BodyFault::Gaps));
    }
    assert!(receipt(many[..GAPS_MAX].to_vec()).encode().is_ok());
    let only_read = |gap| Content {
        history: history(),
        body: Body::Receipt(Receipt {
            delivered: None,
            read: Some(place(2, 50)),
            gaps: vec![gap],
        }),
    };
    assert!(only_read(gap(2, 40, 50)).encode().is_ok());
    let above = only_read(gap(2, 40, 51)).encode();
    assert_eq!(above, Err(BodyFault::Gaps));

    // Read as strictly as written: one gap, with its end before its beginning.
    let bytes = receipt(vec![gap(2, 5, 6)]).encode().unwrap();
    let mut changed = bytes.clone();
    let end = changed.len() - 2;
    assert_eq!(changed[end], 6);
    changed[end] = 5;
    assert_eq!(
        Content::decode(&changed),
        Err(ContentFault::Body(BodyFault::Gaps))
    );
}

// [SPEC 9.4]
#[test]
fn messages_fit_their_entries() {
    let overhead =
        |text_len: usize| written(text(&"x".repeat(text_len), Burn::OnRead)).len() - text_len;
    // What MLS adds to a message is 146 bytes and an entry 47 (3.3): 3.6 KiB of text go into 4 KiB.
    assert!(overhead(3_600) + 146 + 47 + 3_600 <= 4 << 10);
    assert!(overhead(TEXT_LEN_MAX) + 150 + 47 + TEXT_LEN_MAX <= 64 << 10);
}
