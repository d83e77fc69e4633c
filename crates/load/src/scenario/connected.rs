//! Many clients at once: what an idle one costs, live entries among them, and how they all come back after a kill.

use super::crowd::{Crowd, LOGS_EACH, Outcome, Stage, logs_of};
use super::{ENTRY_LEN, Extent, mib, micros, relay};
use crate::cost::Cost;
use crate::drive::{Aim, Counters, Pace, Plan, Tallied, send_all};
use crate::gate::{Gate, Ticket};
use crate::latency::Latency;
use crate::plot::Picture;
use crate::program::{RelayProgram, Stop};
use crate::relay::{Writer, create, open, source};
use crate::report::{Section, time};
use crate::schedule::{Schedule, on_grid};
use crate::scratch::Scratch;
use crate::wire_client::Dialler;
use crate::{Trouble, cpu, threads};
use emptyroom_wire::address::RelayAddress;
use emptyroom_wire::log::Header;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::spawn_local;
use tokio::time::sleep;

/// Connections of one thread: below what a table of descriptors may hold where limits are low.
const CLIENTS_PER_THREAD: u32 = 15_000;
/// Connections that make the logs; each has many creations under way.
const MAKERS: u64 = 16;
/// Clients whose logs are made by one call.
const MADE_AT_ONCE: u64 = 32;
/// Connections that append, each to logs of many clients.
const WRITERS: u32 = 16;
/// Logs that one of them has open.
const LOGS_OF_WRITER: u32 = 512;
/// Entries appended in a second, by all of them.
const PER_SECOND: f64 = 1_000.0;
/// What docs/self-hosting.md advises where many are expected: then those who come first spread as well.
const CLIENTS_PER_SECOND: u32 = 500;
/// How long an entry may be under way after the last append.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// What the threads share.
struct Shared {
    address: RelayAddress,
    clients: u32,
    threads: u32,
    lasts: Duration,
    gate: Gate,
    counters: Arc<Counters>,
    outcome: Mutex<Outcome>,
    acknowledgement: Mutex<Latency>,
}

pub(super) fn measure(extent: Extent, _: &mut Picture) -> Result<Section, Trouble> {
    let clients = extent.clients;
    let mut section = Section::new(
        "Connected clients",
        format!(
            "{clients} clients at once, each with its own TLS connection, one sealed stream and {LOGS_EACH} open logs of its own. Then {PER_SECOND} entries a second \
             of 4 KiB are appended by {WRITERS} others on a schedule, to {} of these logs, durably, and delivered live. Then the relay is killed \
             and started again, and every client comes back by itself, after a random wait within the time that the relay's terms ask for ({CLIENTS_PER_SECOND} a second, \
             set as docs/self-hosting.md advises): \
             TLS, one round trip for the stream, one for a single `open` of all its logs. Memory is the relay's resident memory.",
            WRITERS * LOGS_OF_WRITER
        ),
    );
    let scratch = Scratch::new("connected")?;
    let config = scratch.path.join("relay.toml");
    let spread_s = clients.div_ceil(CLIENTS_PER_SECOND);
    fs::write(
        &config,
        format!("[limits]\nreconnect-spread-s = {spread_s}\n"),
    )?;
    let config = config.display().to_string();
    let more = [
        "--threads",
        "4",
        "--descriptors-per-thread",
        "--config",
        &config,
    ];
    let mut program = relay(&scratch.path, &more)?;
    let address = RelayAddress::parse(&program.address)?;
    make_logs(&mut section, &program, &address, clients)?;
    program.stop(Stop::Terminate)?;
    let start = program.start_again()?;
    section.row("a start with these logs, until it serves", time(start));
    let threads = clients.div_ceil(CLIENTS_PER_THREAD).max(2);
    let shared = Shared {
        address,
        clients,
        threads,
        lasts: extent.lasts * 2,
        gate: Gate::new(usize::try_from(threads)? + 2),
        counters: Arc::default(),
        outcome: Mutex::default(),
        acknowledgement: Mutex::default(),
    };
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let shared = &shared;
            scope.spawn(move || on_own_table(&shared.gate, || threads::run(crowd(shared, thread))));
        }
        scope.spawn(|| on_own_table(&shared.gate, || threads::run(write(&shared))));
        let outcome = stages(&mut section, &mut program, &shared);
        if let Err(why) = &outcome {
            shared.gate.fail(&why.to_string());
        }
        outcome
    })?;
    Ok(section)
}

/// Runs a thread's work with descriptors of its own; what goes wrong stops all.
fn on_own_table(gate: &Gate, work: impl FnOnce() -> Result<(), Trouble>) {
    if let Err(why) = threads::own_descriptors().and_then(|()| work()) {
        gate.fail(&why.to_string());
    }
}

/// Creates everybody's logs through the protocol.
fn make_logs(
    section: &mut Section,
    program: &RelayProgram,
    address: &RelayAddress,
    clients: u32,
) -> Result<(), Trouble> {
    let start = Instant::now();
    let before = program.cost()?;
    let next = AtomicU64::new(0);
    let clients = u64::from(clients);
    let make = async {
        let mut tasks = Vec::new();
        for maker in 0..MAKERS {
            let mut client = Dialler::new(address.clone())?
                .connect(Some(source(maker)), maker)
                .await?;
            let next = &next;
            tasks.push(async move {
                loop {
                    let first = next.fetch_add(MADE_AT_ONCE, Ordering::Relaxed);
                    if first >= clients {
                        return Ok::<(), Trouble>(());
                    }
                    let numbers = first..clients.min(first + MADE_AT_ONCE);
                    let headers: Vec<Header> = numbers.flat_map(logs_of).collect();
                    create(&mut client, &headers).await?;
                }
            });
        }
        Ok::<_, Trouble>(tasks)
    };
    std::thread::scope(|scope| {
        let made = scope.spawn(|| {
            threads::run(async {
                let tasks = make.await?;
                all(tasks).await
            })
        });
        let mut told = Instant::now();
        while !made.is_finished() {
            std::thread::sleep(Duration::from_millis(20));
            if told.elapsed() > TELL_EVERY {
                told = Instant::now();
                let clients = next.load(Ordering::Relaxed).min(clients);
                eprintln!("  logs made for {clients} clients");
            }
        }
        made.join()
            .map_err(|_| "a thread of the generator panicked")?
    })?;
    let logs = (clients * LOGS_EACH as u64).max(1);
    let took = start.elapsed();
    let cost = program.cost()?.since(&before);
    section.row(
        format!("{logs} logs created, one request each, on {MAKERS} streams"),
        format!(
            "{}: {:.0} a second, relay CPU {} each",
            time(took),
            logs as f64 / took.as_secs_f64(),
            micros(cost.cpu.as_secs_f64() * 1e6 / logs as f64)
        ),
    );
    Ok(())
}

const TELL_EVERY: Duration = Duration::from_secs(5);

/// Polls futures of this thread until all are done.
async fn all(futures: Vec<impl Future<Output = Result<(), Trouble>>>) -> Result<(), Trouble> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    std::future::poll_fn(move |context| {
        let mut failed = None;
        futures.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Pending => true,
            std::task::Poll::Ready(outcome) => {
                failed = failed.take().or(outcome.err());
                false
            }
        });
        match failed {
            Some(why) => std::task::Poll::Ready(Err(why)),
            None if futures.is_empty() => std::task::Poll::Ready(Ok(())),
            None => std::task::Poll::Pending,
        }
    })
    .await
}

/// This thread's part: reads the costs between the stages.
fn stages(
    section: &mut Section,
    program: &mut RelayProgram,
    shared: &Shared,
) -> Result<(), Trouble> {
    let clients = f64::from(shared.clients);
    let mut ticket = shared.gate.ticket();
    ticket.pass_blocking()?;
    let empty = program.cost()?;
    let connected = stage(&mut ticket, shared, "connected")?;
    let idle = program.cost()?;
    section.row("memory without clients", mib(empty.memory_bytes));
    connections(section, &idle, &empty, connected, clients);
    let opened = stage(&mut ticket, shared, "with all logs open")?;
    let open = program.cost()?;
    let handles = clients * LOGS_EACH as f64;
    handles_opened(section, &open, &idle, opened, (handles, clients));
    // Live entries.
    ticket.pass_blocking()?;
    let (before, generator) = (program.cost()?, cpu::spent());
    ticket.pass_blocking()?;
    live(
        section,
        shared,
        &program.cost()?.since(&before),
        cpu::spent().saturating_sub(generator),
    )?;
    // Everybody expects the relay to go.
    ticket.pass_blocking()?;
    program.stop(Stop::Kill)?;
    let killed = Instant::now();
    let start = program.start_again()?;
    let (started, generator) = (program.cost()?, cpu::spent());
    section.row("kill -9, then a start until it serves", time(start));
    stage(&mut ticket, shared, "back")?;
    let away = killed.elapsed();
    let cost = program.cost()?.since(&started);
    ticket.pass_blocking()?;
    back(
        section,
        shared,
        &cost,
        (away, cpu::spent().saturating_sub(generator)),
    )
}

/// One stage of all clients, told while it lasts; how long it took.
fn stage(ticket: &mut Ticket<'_>, shared: &Shared, what: &str) -> Result<Duration, Trouble> {
    let start = Instant::now();
    let so_far = || shared.counters.acknowledged.load(Ordering::Relaxed);
    ticket.pass_telling(TELL_EVERY, || {
        eprintln!(
            "  {} of {} clients {what}",
            so_far().min(shared.clients.into()),
            shared.clients
        );
    })?;
    shared.counters.acknowledged.store(0, Ordering::Relaxed);
    Ok(start.elapsed())
}

fn connections(section: &mut Section, idle: &Cost, empty: &Cost, took: Duration, clients: f64) {
    let cost = idle.since(empty);
    section.row(
        "all connected, TLS and stream",
        format!(
            "{}, relay CPU {} each",
            time(took),
            micros(cost.cpu.as_secs_f64() * 1e6 / clients)
        ),
    );
    section.aimed(
        "memory of an idle client without open logs",
        format!("{:.1} KiB", grown(idle, empty) / clients / 1_024.0),
        "under 12 KiB",
    );
}

fn handles_opened(
    section: &mut Section,
    open: &Cost,
    idle: &Cost,
    took: Duration,
    (handles, clients): (f64, f64),
) {
    let cost = open.since(idle);
    section.row(
        "all logs opened, one request of each client",
        format!(
            "{}, relay CPU {} a client",
            time(took),
            micros(cost.cpu.as_secs_f64() * 1e6 / clients)
        ),
    );
    section.aimed(
        "memory of an open log",
        format!("{:.0} bytes", grown(open, idle) / handles),
        "200 bytes",
    );
    section.row("memory with everything open", mib(open.memory_bytes));
}

fn grown(after: &Cost, before: &Cost) -> f64 {
    after.memory_bytes as f64 - before.memory_bytes as f64
}

fn live(
    section: &mut Section,
    shared: &Shared,
    cost: &Cost,
    generator: Duration,
) -> Result<(), Trouble> {
    let acknowledgement = shared.acknowledgement.lock().map_err(|_| PANICKED)?;
    let outcome = shared.outcome.lock().map_err(|_| PANICKED)?;
    let (sent, arrived) = (acknowledgement.count(), outcome.delivery.count());
    let each = |spent: Duration| micros(spent.as_secs_f64() * 1e6 / sent.max(1) as f64);
    section.aimed(
        "entries appended, and delivered live",
        format!("{sent} and {arrived}"),
        "all",
    );
    section.row(
        "acknowledged, p50 / p99 / p999",
        format!("{} ms", acknowledgement.shown()),
    );
    section.row(
        "delivered, p50 / p99 / p999",
        format!("{} ms", outcome.delivery.shown()),
    );
    section.row(
        "CPU for one entry",
        format!("relay {}, generator {}", each(cost.cpu), each(generator)),
    );
    section.row("connections that ended meanwhile", outcome.lost.to_string());
    Ok(())
}

fn back(
    section: &mut Section,
    shared: &Shared,
    cost: &Cost,
    (away, generator): (Duration, Duration),
) -> Result<(), Trouble> {
    let outcome = shared.outcome.lock().map_err(|_| PANICKED)?;
    section.row(
        format!(
            "all back, spread over {} s, from the kill on",
            outcome.spread_s
        ),
        time(away),
    );
    section.aimed(
        "CPU for that (after the start)",
        format!("relay {}, generator {}", time(cost.cpu), time(generator)),
        "relay at most 60 s for 60,000",
    );
    section.row(
        "one client, from its dialling until caught up, p50 / p99 / p999",
        format!("{} ms, two round trips after TLS", outcome.back.shown()),
    );
    let [before, after] = outcome.failed;
    section.row(
        "tries that failed",
        format!("{before} before the kill, {after} after it"),
    );
    section.aimed(
        "logs that came back shorter than they were read",
        outcome.rolled_back.to_string(),
        "none",
    );
    Ok(())
}

const PANICKED: &str = "a thread of the generator panicked";

/// One thread of clients, stage by stage.
async fn crowd(shared: &Shared, thread: u32) -> Result<(), Trouble> {
    let mut ticket = shared.gate.ticket();
    ticket.pass().await?;
    let step = usize::try_from(shared.threads)?;
    let numbers = (u64::from(thread)..shared.clients.into()).step_by(step);
    let mine = numbers.clone().count();
    let dialler = Dialler::new(shared.address.clone())?;
    let crowd = Crowd::start(dialler, Arc::clone(&shared.counters), numbers);
    crowd.done(mine, &shared.gate).await?;
    ticket.pass().await?;
    crowd.begin(Stage::Open);
    crowd.done(mine, &shared.gate).await?;
    ticket.pass().await?;
    // Entries come.
    ticket.pass().await?;
    merge(shared, &crowd, &mut ticket).await?;
    crowd.begin(Stage::Return);
    ticket.pass().await?;
    crowd.done(mine, &shared.gate).await?;
    ticket.pass().await?;
    merge(shared, &crowd, &mut ticket).await
}

/// Waits for the writers to be done, hands over what this thread counted, and passes.
async fn merge(shared: &Shared, crowd: &Crowd, ticket: &mut Ticket<'_>) -> Result<(), Trouble> {
    while shared.counters.sending.load(Ordering::Acquire) > 0 {
        shared.gate.check()?;
        sleep(Duration::from_millis(5)).await;
    }
    let mine = crowd.outcome.take();
    shared.outcome.lock().map_err(|_| PANICKED)?.add(&mine);
    ticket.pass().await
}

/// The thread of those who append.
async fn write(shared: &Shared) -> Result<(), Trouble> {
    let mut ticket = shared.gate.ticket();
    ticket.pass().await?;
    ticket.pass().await?;
    ticket.pass().await?;
    // Only now: a relay ends connections that say nothing for minutes, and many clients take as long.
    let dialler = Dialler::new(shared.address.clone())?;
    let mut senders = Vec::new();
    for number in 0..WRITERS {
        let seed = u64::from(shared.clients + number);
        let mut client = dialler.connect(Some(source(seed)), seed).await?;
        let logs: Vec<Header> = (0..LOGS_OF_WRITER)
            .filter_map(|log| log_of_writer(shared.clients, number, log))
            .collect();
        let handles = open(&mut client, &logs).await?;
        senders.push(Writer::over(client, handles, number.into()));
    }
    let writers = usize::try_from(WRITERS)?;
    shared.counters.sending.store(writers, Ordering::Release);
    ticket.pass().await?;
    let tally = Tallied::default();
    let begin = on_grid().await;
    let mut tasks = Vec::new();
    for (number, mut sender) in (0..).zip(senders) {
        let share = (number, WRITERS);
        let plan = Plan {
            pace: Pace::Scheduled(Schedule::new(begin, shared.lasts, PER_SECOND, share)),
            aim: Aim::All(LOGS_OF_WRITER),
            payload_len: ENTRY_LEN,
            number,
        };
        let (counters, tally) = (Arc::clone(&shared.counters), Tallied::clone(&tally));
        tasks.push(spawn_local(async move {
            send_all(&mut sender, plan, &counters, &tally).await
        }));
    }
    for task in tasks {
        task.await??;
    }
    let acknowledgement = std::mem::take(&mut tally.borrow_mut().acknowledgement);
    arrived(shared, acknowledgement.count()).await?;
    *shared.acknowledgement.lock().map_err(|_| PANICKED)? = acknowledgement;
    shared.counters.acknowledged.store(0, Ordering::Relaxed);
    shared.counters.sending.store(0, Ordering::Release);
    // The costs are read, the relay is killed, and the clients come back.
    for _ in 0..4 {
        ticket.pass().await?;
    }
    Ok(())
}

/// Waits until the clients have what was appended, or nothing more comes.
async fn arrived(shared: &Shared, sent: u64) -> Result<(), Trouble> {
    let deadline = Instant::now() + DRAIN_MAX;
    while shared.counters.delivered.load(Ordering::Acquire) < sent && Instant::now() < deadline {
        shared.gate.check()?;
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// A log of some client, another for each number as long as there are enough.
fn log_of_writer(clients: u32, writer: u32, log: u32) -> Option<Header> {
    let number = u64::from(writer * LOGS_OF_WRITER + log);
    let client = number * 7_919 % u64::from(clients);
    let which = number / u64::from(clients) % LOGS_EACH as u64;
    logs_of(client)
        .into_iter()
        .nth(usize::try_from(which).ok()?)
}
