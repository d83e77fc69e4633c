//! What an entry and a stream cost the relay.
//!
//! The relay is the real program: TLS, sealed streams, SQLite with a sync per batch, on a disk. Its CPU time is what the system
//! counts for its process. What the sealed stream is of that is measured in this process, on the same frames.

use emptyroom_load::Trouble;
use emptyroom_load::cpu;
use emptyroom_load::program::RelayProgram;
use emptyroom_load::relay::{append, create, header, open};
use emptyroom_load::report::{Section, ratio, share, time};
use emptyroom_load::scratch::Scratch;
use emptyroom_load::wire_client::WireClient;
use emptyroom_wire::address::RelayAddress;
use emptyroom_wire::entry::{RunningHash, Ttl};
use emptyroom_wire::greeting::{Greeting, Terms};
use emptyroom_wire::op::{Answer, Appended, EntryPush, FromClient, FromRelay, Handle, Push};
use emptyroom_wire::relay_key::{KeyChain, RelayIdentity, StreamKey};
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::stream::{ClientStream, Opening, OpeningOutcome, RelayStream};
use emptyroom_wire::time::{Mono, Wall};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::time::Duration;

/// Entries of one log, and logs: no log is filled.
const ENTRIES_PER_LOG: u32 = 2_000;
const LOGS: u32 = 5;
const ENTRIES: u32 = ENTRIES_PER_LOG * LOGS;
/// Appends under way at a time: the relay makes batches of what waits.
const UNDER_WAY: u32 = 16;
/// The smallest class: every message.
const BODY_BYTES: usize = 4 << 10;
const STREAMS: u32 = 300;
const FRAMES: u32 = 5_000;

pub(crate) fn measure() -> Result<Section, Trouble> {
    let mut section = Section::new(
        "An entry and a stream at the relay",
        format!(
            "{ENTRIES} entries of 4 KiB, appended by one client with {UNDER_WAY} under way and delivered to two (itself and another), by the real program \
             with TLS, sealed streams and SQLite on a disk. The part of the sealed stream is the CPU time of opening one such request and sealing its \
             answer and two pushes, measured on its own."
        ),
    );
    let scratch = Scratch::new("relay")?;
    let relay = RelayProgram::start(&scratch.path.join("sqlite"), &["--store", "sqlite"])?;
    let address = RelayAddress::parse(&relay.address)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;

    let whole = runtime.block_on(entry(&relay))?;
    let sealed = stream_part()?;
    let without = whole.saturating_sub(sealed);
    section.row("an entry, appended and delivered to two", time(whole));
    section.row("of that, the sealed stream", time(sealed));
    section.row("the same without the sealed stream", time(without));
    let percent = 100.0 * sealed.as_secs_f64() / without.as_secs_f64();
    section.aimed("the stream adds", format!("{percent:.1} %"), "at most 15 %");
    let segments = RelayProgram::start(&scratch.path.join("segments"), &["--store", "segments"])?;
    let own_log = runtime.block_on(entry(&segments))?;
    drop(segments);
    section.row(
        "an entry with `--store segments`",
        format!("{}: {}", time(own_log), ratio(own_log, whole)),
    );

    let before = relay.cost()?.cpu;
    runtime.block_on(async {
        for seed in 0..STREAMS {
            drop(WireClient::connect(&address, u64::from(seed)).await?);
        }
        Ok::<(), Trouble>(())
    })?;
    let connected = share(relay.cost()?.cpu.saturating_sub(before), STREAMS);
    section.row("a connection: TLS and stream", time(connected));
    section.row("of that, opening the stream", time(opening_part()?));
    section.row(
        "kept per stream, without TLS and handles",
        format!("{} bytes", RelayStream::kept_len()),
    );
    section.row(
        "memory of the program after this",
        format!("{} kB", relay.cost()?.memory_bytes >> 10),
    );
    Ok(section)
}

/// What one entry costs the program.
async fn entry(relay: &RelayProgram) -> Result<Duration, Trouble> {
    let address = RelayAddress::parse(&relay.address)?;
    let before = relay.cost()?.cpu;
    load(&address).await?;
    Ok(share(relay.cost()?.cpu.saturating_sub(before), ENTRIES))
}

/// Appends everything from one client and reads everything at both.
async fn load(address: &RelayAddress) -> Result<(), Trouble> {
    let mut writer = WireClient::connect(address, 1).await?;
    let mut reader = WireClient::connect(address, 2).await?;
    for number in 0..LOGS {
        let header = [header(0, [0, number.into()])];
        create(&mut writer, &header).await?;
        let handles = open(&mut writer, &header).await?;
        let handle = *handles.first().ok_or("no handle")?;
        open(&mut reader, &header).await?;
        append_all(&mut writer, handle).await?;
        let mut read = 0;
        while read < ENTRIES_PER_LOG {
            read += u32::from(matches!(
                reader.next().await?,
                FromRelay::Push(_, Push::Entry(_))
            ));
        }
    }
    Ok(())
}

async fn append_all(writer: &mut WireClient, handle: Handle) -> Result<(), Trouble> {
    let (mut sent, mut answered, mut pushed) = (0, 0, 0);
    while answered < ENTRIES_PER_LOG || pushed < ENTRIES_PER_LOG {
        if sent < ENTRIES_PER_LOG && sent < answered + UNDER_WAY {
            let request = append(handle, sent.into(), &[0x5a; BODY_BYTES]);
            writer.send(request).await?;
            sent += 1;
            continue;
        }
        match writer.next().await? {
            FromRelay::Answer(_, Answer::Appended(_)) => answered += 1,
            FromRelay::Push(_, Push::Entry(_)) => pushed += 1,
            FromRelay::Answer(_, Answer::Refused(refusal)) => {
                return Err(format!("refused: {refusal}").into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// CPU time of one request opened, its answer and two pushes sealed.
fn stream_part() -> Result<Duration, Trouble> {
    let (mut client, mut relay) = stream_pair()?;
    let now = Mono(1);
    let request = FromClient {
        id: 1,
        request: append(Handle(1), 0, &[0x5a; BODY_BYTES]),
    };
    let appended = Appended {
        seq: 0,
        running_hash: RunningHash([0; 32]),
    };
    let answer = FromRelay::Answer(1, Answer::Appended(appended)).encode()?;
    let push = FromRelay::Push(Handle(1), Push::Entry(pushed())).encode()?;
    let request = request.encode()?;
    let frames = (0..FRAMES)
        .map(|_| client.seal(now, &request))
        .collect::<Result<Vec<_>, _>>()?;
    let (spent, result) = cpu::of(|| {
        for frame in &frames {
            relay.open(now, frame)?;
            relay.seal(now, &answer)?;
            relay.seal(now, &push)?;
            relay.seal(now, &push)?;
        }
        Ok::<(), Trouble>(())
    });
    result?;
    Ok(share(spent, FRAMES))
}

fn pushed() -> EntryPush {
    EntryPush {
        seq: 0,
        before: RunningHash([0; 32]),
        expect_slots: 0,
        commit: false,
        close: false,
        ttl: Ttl::Day30,
        nonce: [0; 16],
        next_hash: [0; 32],
        body: vec![0x5a; BODY_BYTES],
    }
}

/// CPU time of accepting one opening.
fn opening_part() -> Result<Duration, Trouble> {
    let mut ends = Ends::new();
    let openings = (0..STREAMS)
        .map(|_| ends.opening())
        .collect::<Result<Vec<_>, _>>()?;
    let (spent, result) = cpu::of(|| {
        openings
            .iter()
            .try_for_each(|(_, frame)| ends.accept(frame).map(drop))
    });
    result?;
    Ok(share(spent, STREAMS))
}

/// Both ends of one stream, in this process.
fn stream_pair() -> Result<(ClientStream, RelayStream), Trouble> {
    let mut ends = Ends::new();
    let (opening, frame) = ends.opening()?;
    let (relay, answer) = ends.accept(&frame)?;
    match opening.answer(&answer, &ends.chain, Mono(0), &mut ends.rng)? {
        OpeningOutcome::Open(opened) => Ok((opened.stream, relay)),
        OpeningOutcome::Again(..) => Err("the relay does not know its key".into()),
    }
}

/// What both ends of a stream need.
struct Ends {
    rng: ChaCha20Rng,
    identity: RelayIdentity,
    key: StreamKey,
    chain: KeyChain,
}

impl Ends {
    fn new() -> Ends {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let identity = RelayIdentity::from_seed(&Secret32::new([9; 32]));
        let key = identity.next_stream_key(None, Wall(0), &mut rng);
        let chain = KeyChain::new(identity.hash());
        Ends {
            rng,
            identity,
            key,
            chain,
        }
    }

    fn opening(&mut self) -> Result<(Opening, Vec<u8>), Trouble> {
        let greeting = Greeting::new(&self.identity, &self.key, None).encode();
        Ok(Opening::start(&greeting, None, &self.chain, &mut self.rng)?)
    }

    fn accept(&mut self, opening: &[u8]) -> Result<(RelayStream, Vec<u8>), Trouble> {
        let terms = Terms {
            time_ms: 0,
            reconnect_spread_s: 0,
            entry_len_max: 0,
            handles_max: 0,
            requests_max: 0,
            code_needed: false,
        };
        let relay = self.identity.hash();
        let accepted =
            RelayStream::accept(opening, &self.key, &relay, (&terms, Mono(0)), &mut self.rng);
        accepted.map_err(|fault| format!("the opening was not accepted: {fault:?}").into())
    }
}
