//! Wake-ups: what the nodes of a relay tell each other by way of NATS core, so that readers need not wait for the next sweep.
//!
//! A thread of its own keeps one connection. It subscribes to each log that is open here, under a name that changes daily, and
//! publishes what is stored here. Nothing depends on it: NATS may be away at the start or for an hour, lose what it likes, or
//! belong to somebody else. When the connection stands (again), and all subscriptions with it, the relay looks at all open logs.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use emptyroom_relay::store::RowKey;
use emptyroom_wire::op::Push;
use emptyroom_wire::time::Day;
use rand_chacha::ChaCha20Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Builder;
use tokio::select;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep_until, timeout};

use crate::clock;
use crate::entropy;
use crate::log::{Event, log};
use crate::metrics::Metrics;

mod connecting;
pub mod letter;
pub mod protocol;

use connecting::Connection;
pub use connecting::WakeServers;
use letter::{Tag, WakeDay, WakeSecret, day_of};
use protocol::Said;

/// Connecting, and each write, may take so long.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_secs(1);
/// A server that ends one connection after the other is left alone for longer each time, up to this.
const PAUSE_MAX: Duration = Duration::from_secs(16);
/// A connection that lasts so long is a good one.
const LASTING: Duration = Duration::from_secs(60);
/// So often the server is asked whether it is there, and the day looked at.
const TICK: Duration = Duration::from_secs(5);
/// A server that is pinged so often and says nothing for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// News that may wait to be published. Others are found by the others' sweeps.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// What news without an entry take.
const SMALL: usize = 128;
/// Orders that are carried out together.
const ORDERS: usize = 256;
/// What the relay has not taken yet.
const HEARD_MAX: usize = 1_024;
/// Bytes written at once.
const PIECE: usize = 64 << 10;

/// What the relay wants.
enum Order {
    Tell(RowKey, Push),
    Watch(RowKey),
    Unwatch(RowKey),
}

/// What the relay is told.
pub(crate) enum Heard {
    /// By another node.
    News(RowKey, Push),
    /// News of these come from now on.
    Watched(Vec<RowKey>),
    /// News may have been lost.
    Lost,
}

/// The relay's end.
pub(crate) struct Wake {
    orders: mpsc::UnboundedSender<Order>,
    waiting: Arc<AtomicUsize>,
}

impl Wake {
    /// Starts the thread. It ends when this end is dropped.
    ///
    /// # Errors
    /// What the system says where it gives none.
    pub(crate) fn start(
        servers: WakeServers,
        secret: WakeSecret,
        metrics: Arc<Metrics>,
    ) -> io::Result<(Self, mpsc::Receiver<Heard>)> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (orders, to_do) = mpsc::unbounded_channel();
        let (relay, heard) = mpsc::channel(HEARD_MAX);
        let waiting = Arc::new(AtomicUsize::new(0));
        let caller = Caller {
            servers,
            today: secret.day(clock::wall().day()),
            secret,
            to_do,
            waiting: Arc::clone(&waiting),
            relay,
            metrics,
            watched: BTreeSet::new(),
            is_away: false,
            rng: entropy::generator(),
        };
        thread::Builder::new()
            .name("wake".to_owned())
            .spawn(move || runtime.block_on(caller.run()))?;
        Ok((Self { orders, waiting }, heard))
    }

    /// Tells the other nodes, unless too much waits to be told.
    pub(crate) fn tell(&self, log: RowKey, news: Push) {
        let len = weight(&news);
        if self.waiting.fetch_add(len, Ordering::Relaxed) > WAITING_BYTES_MAX {
            self.waiting.fetch_sub(len, Ordering::Relaxed);
            return;
        }
        // Without the thread there are no news, here and below.
        let _ = self.orders.send(Order::Tell(log, news));
    }

    /// Wants news of a log.
    pub(crate) fn watch(&self, log: RowKey) {
        let _ = self.orders.send(Order::Watch(log));
    }

    /// Wants them no more.
    pub(crate) fn unwatch(&self, log: RowKey) {
        let _ = self.orders.send(Order::Unwatch(log));
    }
}

fn weight(news: &Push) -> usize {
    match news {
        Push::Entry(entry) => SMALL + entry.body.len(),
        Push::Cast(cast) => SMALL + cast.bytes.len(),
        Push::CaughtUp(_) | Push::Gone(_) => SMALL,
    }
}

/// The thread's end.
struct Caller {
    servers: WakeServers,
    secret: WakeSecret,
    /// The keys of the day that names are of.
    today: WakeDay,
    to_do: mpsc::UnboundedReceiver<Order>,
    waiting: Arc<AtomicUsize>,
    relay: mpsc::Sender<Heard>,
    metrics: Arc<Metrics>,
    watched: BTreeSet<RowKey>,
    /// It was said that news do not come.
    is_away: bool,
    rng: ChaCha20Rng,
}

/// Why a connection is over.
enum Over {
    /// The relay wants nothing more.
    Done,
    /// It broke.
    Broken(String),
}

/// What a ping is about.
enum Ping {
    /// Is anybody there?
    Life,
    /// These are subscribed to.
    Some(Vec<RowKey>),
    /// All are.
    All,
}

impl Caller {
    async fn run(mut self) {
        let mut pause = PAUSE;
        self.metrics.set_news(false);
        loop {
            let over = match timeout(PATIENCE, self.servers.connect()).await {
                Ok(Ok(connection)) => {
                    let since = Instant::now();
                    let over = self.keep(connection).await;
                    pause = match since.elapsed() > LASTING {
                        true => PAUSE,
                        false => (pause * 2).min(PAUSE_MAX),
                    };
                    over
                }
                Ok(Err(why)) => {
                    pause = PAUSE;
                    Over::Broken(why)
                }
                Err(_) => Over::Broken("it takes too long".to_owned()),
            };
            self.metrics.set_news(false);
            let Over::Broken(why) = over else {
                return;
            };
            // [SPEC 6.235]
            if !std::mem::replace(&mut self.is_away, true) {
                log(&Event::WakeAway(&why));
            }
            if !self.pause(pause).await {
                return;
            }
        }
    }

    /// Waits before the next attempt. Who wants what is remembered, news are not. False: nothing is wanted any more.
    async fn pause(&mut self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        loop {
            select! {
                () = sleep_until(until) => return true,
                order = self.to_do.recv() => match order {
                    None => return false,
                    Some(Order::Watch(log)) => {
                        self.watched.insert(log);
                    }
                    Some(Order::Unwatch(log)) => {
                        self.watched.remove(&log);
                    }
                    Some(Order::Tell(_, news)) => self.told(&news),
                },
            }
        }
    }

    /// Works on a connection as long as it lasts.
    async fn keep(&mut self, connection: Connection) -> Over {
        let Connection {
            mut reader,
            mut writer,
            mut heard,
        } = connection;
        let mut pings = VecDeque::new();
        let mut out = self.subscribe_all(&mut pings);
        let mut orders = Vec::with_capacity(ORDERS);
        let mut buffer = vec![0; PIECE];
        let mut ticks = interval(TICK);
        let mut heard_at = Instant::now();
        loop {
            if let Err(why) = write(&mut writer, &mut out).await {
                return Over::Broken(why);
            }
            select! {
                read = reader.read(&mut buffer) => {
                    let read = read.unwrap_or(0);
                    if read == 0 {
                        return Over::Broken("it hung up".to_owned());
                    }
                    heard_at = Instant::now();
                    heard.push(buffer.get(..read).unwrap_or_default());
                    if let Err(over) = self.hear(&mut heard, &mut pings, &mut out).await {
                        return over;
                    }
                }
                number = self.to_do.recv_many(&mut orders, ORDERS) => {
                    if number == 0 {
                        return Over::Done;
                    }
                    self.carry_out(&mut orders, &mut pings, &mut out);
                }
                _ = ticks.tick() => {
                    if heard_at.elapsed() > SILENCE_MAX {
                        return Over::Broken("it does not answer".to_owned());
                    }
                    self.turn_day(&mut pings, &mut out);
                    pings.push_back(Ping::Life);
                    protocol::ping(&mut out);
                }
            }
        }
    }

    /// What is to be said so that news of all logs come, in the order of their names: it shows nothing of when each was opened.
    // [SPEC 6.234]
    fn subscribe_all(&mut self, pings: &mut VecDeque<Ping>) -> Vec<u8> {
        let today = clock::wall().day();
        if self.today.day() != today {
            self.today = self.secret.day(today);
        }
        let names: BTreeSet<Tag> = self
            .watched
            .iter()
            .map(|log| self.today.tag(*log))
            .collect();
        let mut out = Vec::new();
        for name in names {
            protocol::subscribe(name, &mut out);
        }
        pings.push_back(Ping::All);
        protocol::ping(&mut out);
        out
    }

    /// New names on a new day.
    fn turn_day(&mut self, pings: &mut VecDeque<Ping>, out: &mut Vec<u8>) {
        if self.today.day() == clock::wall().day() {
            return;
        }
        let names: BTreeSet<Tag> = self
            .watched
            .iter()
            .map(|log| self.today.tag(*log))
            .collect();
        for name in names {
            protocol::unsubscribe(name, out);
        }
        out.extend(self.subscribe_all(pings));
    }

    fn carry_out(
        &mut self,
        orders: &mut Vec<Order>,
        pings: &mut VecDeque<Ping>,
        out: &mut Vec<u8>,
    ) {
        let mut new = Vec::new();
        for order in orders.drain(..) {
            match order {
                Order::Watch(log) => {
                    self.watched.insert(log);
                    protocol::subscribe(self.today.tag(log), out);
                    new.push(log);
                }
                Order::Unwatch(log) => {
                    self.watched.remove(&log);
                    protocol::unsubscribe(self.today.tag(log), out);
                }
                Order::Tell(log, news) => {
                    self.told(&news);
                    if let Some(letter) = self.today.seal(log, &news, &mut self.rng) {
                        protocol::publish(self.today.tag(log), &letter, out);
                    }
                }
            }
        }
        if !new.is_empty() {
            pings.push_back(Ping::Some(new));
            protocol::ping(out);
        }
    }

    /// It waits no more.
    fn told(&self, news: &Push) {
        self.waiting.fetch_sub(weight(news), Ordering::Relaxed);
    }

    /// Passes on what the server said.
    async fn hear(
        &mut self,
        heard: &mut protocol::Heard,
        pings: &mut VecDeque<Ping>,
        out: &mut Vec<u8>,
    ) -> Result<(), Over> {
        loop {
            let said = heard
                .next_said()
                .map_err(|_| Over::Broken("it is no NATS server".to_owned()))?;
            let to_relay = match said {
                None => return Ok(()),
                Some(Said::Message(Some(tag), mut letter)) => self
                    .open(tag, &mut letter)
                    .map(|(log, news)| Heard::News(log, news)),
                Some(Said::Pong) => match pings.pop_front() {
                    Some(Ping::Some(logs)) => Some(Heard::Watched(logs)),
                    Some(Ping::All) => {
                        self.news_come();
                        Some(Heard::Lost)
                    }
                    Some(Ping::Life) | None => None,
                },
                Some(Said::Ping) => {
                    protocol::pong(out);
                    None
                }
                Some(Said::Error(why)) => return Err(Over::Broken(why)),
                Some(Said::Message(None, _) | Said::Info(_) | Said::Ok) => None,
            };
            if let Some(to_relay) = to_relay {
                self.relay.send(to_relay).await.map_err(|_| Over::Done)?;
            }
        }
    }

    /// All subscriptions stand.
    // [SPEC 6.235]
    fn news_come(&mut self) {
        self.metrics.set_news(true);
        if std::mem::take(&mut self.is_away) {
            log(&Event::WakeBack);
        }
    }

    /// A letter of today, or of the day before or after where clocks differ.
    fn open(&self, tag: Tag, letter: &mut [u8]) -> Option<(RowKey, Push)> {
        let (day, today) = (day_of(letter)?, self.today.day());
        if day == today {
            return self.today.open(tag, letter);
        }
        let near = day == today.plus(1) || today == Day(day.0.saturating_add(1));
        near.then(|| self.secret.day(day).open(tag, letter))?
    }
}

async fn write(writer: &mut (impl AsyncWriteExt + Unpin), out: &mut Vec<u8>) -> Result<(), String> {
    for piece in out.chunks(PIECE) {
        match timeout(PATIENCE, writer.write_all(piece)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("it takes nothing".to_owned()),
        }
    }
    if !out.is_empty() {
        writer.flush().await.map_err(|error| error.to_string())?;
    }
    out.clear();
    out.shrink_to(PIECE);
    Ok(())
}
