//! Frames on a byte carrier, in pieces of any size.

use emptyroom_wire::framing::{Deframer, FramingFault, framed};
use emptyroom_wire::limits::{CARRIER_FRAME_LEN_MAX, HANDSHAKE_FRAME_LEN_MAX};

#[test]
fn frames_come_out_whole_however_the_bytes_arrive() {
    let frames: Vec<Vec<u8>> = vec![vec![1], vec![2; 300], vec![3; 70_000], vec![4; 5]];
    let bytes: Vec<u8> = frames
        .iter()
        .flat_map(|frame| framed(frame).unwrap())
        .collect();
    for piece in [1, 2, 3, 4, 5, 7, 299, 65_536, bytes.len()] {
        let mut deframer = Deframer::new(70_000);
        let mut out = Vec::new();
        for bytes in bytes.chunks(piece) {
            deframer.push(bytes);
            while let Some(frame) = deframer.next_frame().unwrap() {
                out.push(frame);
            }
        }
        assert_eq!(out, frames, "in pieces of {piece}");
        assert_eq!(deframer.held_len(), 0);
    }
}

// [SPEC 5.16]
#[test]
fn empty_and_long_frames_are_refused_before_they_are_kept() {
    let refused = |len_max: usize, len: u32| {
        let mut deframer = Deframer::new(len_max);
        deframer.push(&len.to_be_bytes());
        deframer.next_frame()
    };
    assert_eq!(
        refused(HANDSHAKE_FRAME_LEN_MAX, 0),
        Err(FramingFault::Empty)
    );
    assert_eq!(refused(HANDSHAKE_FRAME_LEN_MAX, 4_096), Ok(None));
    assert_eq!(
        refused(HANDSHAKE_FRAME_LEN_MAX, 4_097),
        Err(FramingFault::TooLong)
    );
    assert_eq!(refused(CARRIER_FRAME_LEN_MAX, 4_456_464), Ok(None));
    assert_eq!(
        refused(CARRIER_FRAME_LEN_MAX, 4_456_465),
        Err(FramingFault::TooLong)
    );
    assert_eq!(
        refused(CARRIER_FRAME_LEN_MAX, u32::MAX),
        Err(FramingFault::TooLong)
    );
    assert_eq!(framed(&[]), Err(FramingFault::Empty));
    assert_eq!(
        framed(&vec![0; CARRIER_FRAME_LEN_MAX + 1]),
        Err(FramingFault::TooLong)
    );
}

#[test]
fn the_limit_can_be_raised_when_the_stream_is_open() {
    let mut deframer = Deframer::new(10);
    let mut bytes = framed(&[1; 10]).unwrap();
    bytes.extend(framed(&[2; 20]).unwrap());
    deframer.push(&bytes);
    assert_eq!(deframer.next_frame(), Ok(Some(vec![1; 10])));
    deframer.set_len_max(20);
    assert_eq!(deframer.next_frame(), Ok(Some(vec![2; 20])));
}
