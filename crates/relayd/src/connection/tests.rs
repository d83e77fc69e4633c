//! One connection over a pipe: what the engine gets, and when it ends.

use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::*;
use crate::carrier::Carrier;
use crate::carrier::direct::Direct;
use crate::outbox::Round;

/// So short that a test waits for it, so long that a loaded machine does not reach it by mistake.
const SOON: Duration = Duration::from_millis(300);
const NEVER: Duration = Duration::from_secs(600);

fn patient() -> Pace {
    Pace {
        idle: NEVER,
        frame: NEVER,
        frame_bytes_per_second_min: 16 * 1024,
        write: NEVER,
        close: NEVER,
    }
}

struct Bench {
    remote: DuplexStream,
    incoming: mpsc::Receiver<Incoming>,
    written: mpsc::UnboundedReceiver<Written>,
    outbox: Arc<Outbox>,
    task: JoinHandle<()>,
}

impl Bench {
    async fn new(pace: Pace, budgets: &Arc<Budgets>) -> Self {
        let (remote, local) = duplex(1024);
        let (engine, mut incoming) = mpsc::channel(16);
        let (wrote, written) = mpsc::unbounded_channel();
        let lane = Arc::new(Wakes::default());
        let line = Line {
            id: ConnId(7),
            engine,
            written: wrote,
            budgets: Arc::clone(budgets),
            pace,
            lane: Arc::clone(&lane),
        };
        tokio::spawn(lane.pass_on());
        let task = tokio::spawn(carry(local, line));
        let Some(Incoming::Connected(ConnId(7), outbox)) = incoming.recv().await else {
            panic!()
        };
        Self {
            remote,
            incoming,
            written,
            outbox,
            task,
        }
    }

    async fn frame(&mut self) -> Vec<u8> {
        match self.incoming.recv().await {
            Some(Incoming::Frame(ConnId(7), frame, _)) => frame,
            _ => panic!("no frame"),
        }
    }

    /// The connection is over, and the engine was told.
    async fn ended(mut self) {
        let Some(Incoming::Disconnected(ConnId(7))) = self.incoming.recv().await else {
            panic!("not ended")
        };
        self.task.await.unwrap();
    }
}

fn budgets() -> Arc<Budgets> {
    Arc::new(Budgets::new())
}

fn framed(frame: &[u8]) -> Vec<u8> {
    emptyroom_wire::framing::framed(frame).unwrap()
}

#[tokio::test]
async fn frames_come_whole_however_they_were_cut() {
    let mut bench = Bench::new(patient(), &budgets()).await;
    for byte in framed(b"opening") {
        bench.remote.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(bench.frame().await, b"opening");
    let long: Vec<u8> = (0..300_000_u32)
        .map(|number| number.to_le_bytes()[0])
        .collect();
    let both = [framed(b"two"), framed(&long), framed(b"three")].concat();
    let (result, ()) = tokio::join!(bench.remote.write_all(&both), async {
        for expected in [&b"two"[..], &long, b"three"] {
            let Some(Incoming::Frame(_, frame, _)) = bench.incoming.recv().await else {
                panic!()
            };
            assert!(frame == expected);
        }
    });
    result.unwrap();
    drop(bench.remote);
    let Some(Incoming::Disconnected(_)) = bench.incoming.recv().await else {
        panic!()
    };
}

#[tokio::test]
async fn answers_reach_the_other_side_and_are_reported() {
    let mut bench = Bench::new(patient(), &budgets()).await;
    let frames = [vec![1; 3], vec![2; 200_000], vec![3; 1]];
    let mut round = Round::default();
    for frame in &frames {
        bench.outbox.push(frame.clone(), &mut round);
    }
    bench.outbox.hang_up(&mut round);
    round.end();
    let mut all = Vec::new();
    bench.remote.read_to_end(&mut all).await.unwrap();
    assert!(
        all == frames
            .iter()
            .flat_map(|frame| framed(frame))
            .collect::<Vec<_>>()
    );
    let mut reported = 0;
    while let Ok(Written(_, bytes)) = bench.written.try_recv() {
        reported += bytes;
    }
    assert_eq!(reported, 200_004);
    bench.ended().await;
}

// [SPEC 6.74]
#[tokio::test]
async fn whoever_says_nothing_is_let_go() {
    let mut bench = Bench::new(
        Pace {
            idle: SOON,
            ..patient()
        },
        &budgets(),
    )
    .await;
    bench.remote.write_all(&framed(b"opening")).await.unwrap();
    assert_eq!(bench.frame().await, b"opening");
    bench.ended().await;
}

// [SPEC 6.74]
#[tokio::test]
async fn listening_counts_but_not_in_the_middle_of_a_frame() {
    let mut reader = Reader::new(Pace::default());
    let at_first = reader.deadline;
    reader.wrote();
    assert!(reader.deadline > at_first);
    reader
        .read(&mut &[0_u8][..], &Budgets::new())
        .await
        .ok()
        .unwrap();
    let of_frame = reader.deadline;
    assert!(of_frame < at_first);
    reader.wrote();
    assert!(reader.deadline == of_frame);
}

// [SPEC 6.74]
#[tokio::test]
async fn a_length_alone_earns_no_time() {
    let budgets = Budgets::new();
    let mut reader = Reader::new(Pace::default());
    reader.first = false;
    let length = u32::try_from(CARRIER_FRAME_LEN_MAX).unwrap().to_be_bytes();
    let sent = [&length[..], &[0; 64 << 10]].concat();
    let mut bytes = &sent[..];
    let mut left = async |reader: &mut Reader| {
        reader.read(&mut bytes, &budgets).await.ok().unwrap();
        reader.deadline - Instant::now()
    };
    let seconds = Duration::from_secs;
    // Its share may take a while; then it has its time, and more for what comes.
    assert!(left(&mut reader).await > seconds(200));
    assert!(left(&mut reader).await <= seconds(20));
    let after = left(&mut reader).await;
    assert!(after <= seconds(24), "{after:?}");
    assert!(reader.deadline >= Instant::now() + seconds(4) - seconds(1));
}

// [SPEC 6.74]
#[tokio::test]
async fn a_frame_that_takes_too_long_is_not_waited_for() {
    for begun in [vec![0], framed(&[1; 100])[..50].to_vec()] {
        let mut bench = Bench::new(
            Pace {
                frame: SOON,
                ..patient()
            },
            &budgets(),
        )
        .await;
        bench.remote.write_all(&begun).await.unwrap();
        bench.ended().await;
    }
}

// [SPEC 6.74]
#[tokio::test]
async fn whoever_does_not_read_is_let_go() {
    let bench = Bench::new(
        Pace {
            write: SOON,
            ..patient()
        },
        &budgets(),
    )
    .await;
    let mut round = Round::default();
    bench.outbox.push(vec![1; 100_000], &mut round);
    round.end();
    bench.ended().await;
}

// [SPEC 6.75]
#[tokio::test]
async fn lengths_are_bounded_before_anything_is_kept() {
    let first = |length: usize| u32::try_from(length).unwrap().to_be_bytes();
    for length in [
        0,
        HANDSHAKE_FRAME_LEN_MAX + 1,
        CARRIER_FRAME_LEN_MAX,
        u32::MAX as usize,
    ] {
        let mut bench = Bench::new(patient(), &budgets()).await;
        bench.remote.write_all(&first(length)).await.unwrap();
        bench.ended().await;
    }
    for length in [0, CARRIER_FRAME_LEN_MAX + 1] {
        let mut bench = Bench::new(patient(), &budgets()).await;
        bench
            .remote
            .write_all(&framed(&[1; HANDSHAKE_FRAME_LEN_MAX]))
            .await
            .unwrap();
        bench.frame().await;
        bench.remote.write_all(&first(length)).await.unwrap();
        bench.ended().await;
    }
}

// [SPEC 6.76]
#[tokio::test]
async fn large_frames_share_a_budget_and_small_ones_do_not_wait_for_it() {
    let budgets = Arc::new(Budgets::of_kib(100));
    let mut holder = Bench::new(patient(), &budgets).await;
    holder.remote.write_all(&framed(b"opening")).await.unwrap();
    holder.frame().await;
    // Takes 90 KiB of the budget, and goes on as slowly as it may.
    holder
        .remote
        .write_all(&framed(&[1; 90 << 10])[..500])
        .await
        .unwrap();
    let mut waiting = Bench::new(
        Pace {
            frame: SOON,
            ..patient()
        },
        &budgets,
    )
    .await;
    waiting.remote.write_all(&framed(b"opening")).await.unwrap();
    waiting.frame().await;
    waiting
        .remote
        .write_all(&framed(&[2; 60 << 10])[..500])
        .await
        .unwrap();
    let mut small = Bench::new(patient(), &budgets).await;
    for _ in 0..2 {
        small.remote.write_all(&framed(&[3; 4_000])).await.unwrap();
        small.frame().await;
    }
    assert!(budgets.large.available_permits() < 60);
    drop(holder);
    // With the holder gone the budget is there again, for whoever comes then.
    let mut later = Bench::new(patient(), &budgets).await;
    later.remote.write_all(&framed(b"opening")).await.unwrap();
    later.frame().await;
    let (large, frame) = (framed(&[4; 60 << 10]), later.incoming.recv());
    let (_, frame) = tokio::join!(later.remote.write_all(&large), frame);
    assert!(matches!(frame, Some(Incoming::Frame(_, frame, _)) if frame.len() == 60 << 10));
    waiting.ended().await;
}

/// Tens of thousands of them wait for something at the same time.
#[test]
fn the_task_of_a_connection_is_small() {
    fn size<A, B, F: Future>(_: impl FnOnce(A, B) -> F) -> usize {
        size_of::<F>()
    }
    let carried = size(carry::<<Direct as Carrier>::Bytes>);
    assert!(carried <= 1_200, "{carried} bytes");
}
