//! A relay's store in databases: what an entry costs in batches, next to plain statements on the same server in the same run.

use emptyroom_load::Trouble;
use emptyroom_load::cost::cpu_of;
use emptyroom_load::cpu::spent;
use emptyroom_load::report::Section;
use emptyroom_load::scratch::Scratch;
use emptyroom_relay::store::{Append, NewEntry, NewPlace, Store, StoreOp, StoreReply};
use emptyroom_relayd::postgres::Address;
use emptyroom_relayd::postgres::cluster::Cluster;
use emptyroom_wire::entry::{Aad, Ttl};
use emptyroom_wire::log::{Flags, Header};
use emptyroom_wire::secret::{Private, Secret32};
use emptyroom_wire::time::Wall;
use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::Builder;
use tokio_postgres::NoTls;

/// A database on each of two servers, one address a line: `cargo xtask bench cluster` starts them.
const DATABASES: &str = "EMPTYROOM_DATABASES";
/// The servers' first processes, one a line.
const SERVERS: &str = "EMPTYROOM_DATABASE_SERVERS";

const ENTRY_BYTES: usize = 4_096;
/// Entries in a batch, each of a log of its own.
const TOGETHER: u16 = 128;
/// Connections with plain statements.
const CONNECTIONS: u8 = 16;
const FOR: Duration = Duration::from_secs(4);

/// What was done in a time.
struct Run {
    entries: u64,
    took: Duration,
    /// Of this program, and of the server.
    cpu: Duration,
}

impl Run {
    fn rate(&self) -> f64 {
        self.entries as f64 / self.took.as_secs_f64()
    }

    fn cost_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.entries.max(1) as f64
    }

    fn told(&self) -> String {
        format!(
            "{:.0} entries/s, {:.0} µs CPU each",
            self.rate(),
            self.cost_us()
        )
    }
}

pub(crate) fn measure() -> Result<Section, Trouble> {
    let said = |name: &str| {
        let value = std::env::var(name);
        value.map_err(|_| format!("{name} is not set: run `cargo xtask bench cluster`"))
    };
    let (addresses, servers) = (said(DATABASES)?, said(SERVERS)?);
    let servers: Vec<u32> = servers.lines().map(str::parse).collect::<Result<_, _>>()?;
    let addresses: Vec<&str> = addresses.lines().collect();
    let [first, second] = addresses.as_slice() else {
        return Err("a database on each of two servers is needed".into());
    };
    let mut section = Section::new(
        "One node and its databases",
        format!(
            "Entries of {ENTRY_BYTES} bytes, durable when they are counted; CPU is that of PostgreSQL and this program together, all on this machine. Plain: one \
             INSERT in a transaction, {CONNECTIONS} connections at a time, prepared; then the same with a notification. The relay's store: {TOGETHER} appends in a batch, \
             one batch after the other, each append to a log of its own, with everything that the relay keeps of it."
        ),
    );
    let plain = made(first, "plain")?;
    let inserts = plainly(&plain, false, &servers)?;
    section.row("plain INSERT", inserts.told());
    section.row("INSERT and NOTIFY", plainly(&plain, true, &servers)?.told());
    let one = vec![made(first, "one")?];
    let two = vec![made(first, "two")?, made(second, "two")?];
    for (what, databases) in [("one database", one), ("two databases", two)] {
        let batched = in_batches(&databases, &servers)?;
        let times = batched.rate() / inserts.rate();
        section.aimed(
            format!("the relay's store, {what}"),
            format!("{}: {times:.1} times plain INSERT", batched.told()),
            "at least 10 times",
        );
    }
    Ok(section)
}

/// A new database on the server of another one.
fn made(address: &str, name: &str) -> Result<String, Trouble> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(address, NoTls).await?;
        tokio::spawn(connection);
        client
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await?;
        let (server, _) = address
            .rsplit_once('/')
            .ok_or("an address without a database")?;
        Ok(format!("{server}/{name}"))
    })
}

/// Single statements on several connections.
fn plainly(address: &str, notify: bool, servers: &[u32]) -> Result<Run, Trouble> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let table = if notify { "notified" } else { "plain" };
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(address, NoTls).await?;
        tokio::spawn(connection);
        let table = format!("CREATE TABLE {table} (key bytea PRIMARY KEY, body bytea NOT NULL)");
        client.batch_execute(&table).await
    })?;
    measured(servers, || {
        let until = Instant::now() + FOR;
        let threads: Vec<_> = (0..CONNECTIONS)
            .map(|number| {
                let address = address.to_owned();
                thread::spawn(move || insert_until(&address, table, (number, until), notify))
            })
            .collect();
        let mut entries = 0;
        for thread in threads {
            let outcome = thread.join().map_err(|_| "a thread panicked")?;
            entries += outcome.map_err(|why| why.to_string())?;
        }
        Ok(entries)
    })
}

fn insert_until(
    address: &str,
    table: &str,
    (thread, until): (u8, Instant),
    notify: bool,
) -> Result<u64, tokio_postgres::Error> {
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else {
        return Ok(0);
    };
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(address, NoTls).await?;
        tokio::spawn(connection);
        let notified = format!(
            "WITH put AS (INSERT INTO {table} VALUES ($1, $2) RETURNING key) SELECT pg_notify('news', encode(key, 'hex')) FROM put"
        );
        let insert = if notify {
            notified
        } else {
            format!("INSERT INTO {table} VALUES ($1, $2)")
        };
        let statement = client.prepare(&insert).await?;
        let body = [thread; ENTRY_BYTES];
        let mut entries = 0_u64;
        while Instant::now() < until {
            let mut key = [thread; 32];
            key[..8].copy_from_slice(&entries.to_be_bytes());
            let values: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
                [&key.as_slice(), &body.as_slice()];
            client.query(&statement, &values).await?;
            entries += 1;
        }
        Ok(entries)
    })
}

/// The relay's store, batch after batch.
fn in_batches(databases: &[String], servers: &[u32]) -> Result<Run, Trouble> {
    let addresses: Result<Vec<Address>, _> = databases
        .iter()
        .map(|address| Address::parse(address))
        .collect();
    let keys = Scratch::new("cluster")?;
    let now = Wall(u64::try_from(
        SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis(),
    )?);
    let seed = Secret32::new([7; 32]);
    let opened = Cluster::open(&addresses?, &seed, &keys.path, now.day());
    let mut cluster = opened.map_err(|refused| format!("{}: {}", refused.address, refused.why))?;
    cluster.expire(now)?;
    let logs: Vec<Header> = (0..TOGETHER).map(header).collect();
    let create = |log: &Header| StoreOp::Create(NewPlace::new(log, None));
    cluster.apply(now, logs.iter().map(create).collect())?;
    let body: Arc<[u8]> = Arc::from(vec![9; ENTRY_BYTES]);
    measured(servers, || {
        let until = Instant::now() + FOR;
        let mut entries = 0;
        while Instant::now() < until {
            let ops = logs.iter().map(|log| append(log, entries, &body)).collect();
            let stored = cluster.apply(now, ops)?.into_iter();
            let stored = stored.filter(|reply| matches!(reply, StoreReply::Appended(_)));
            if stored.count() != logs.len() {
                return Err("an append was refused".into());
            }
            entries += u64::from(TOGETHER);
        }
        Ok(entries)
    })
}

fn header(number: u16) -> Header {
    let mut salt = [7; 32];
    salt[..2].copy_from_slice(&number.to_be_bytes());
    Header {
        salt: Private(salt),
        append_key: None,
        read_key: None,
        owner_key: None,
        flags: Flags::NONE,
    }
}

fn append(log: &Header, number: u64, body: &Arc<[u8]>) -> StoreOp {
    let place = NewPlace::new(log, None).place;
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&number.to_be_bytes());
    let aad = Aad {
        log_id: place.log_id(),
        expect_slots: 0,
        commit: false,
        close: false,
        ttl: Ttl::Day7,
        nonce,
        next_hash: [0; 32],
    };
    let body = Arc::clone(body);
    StoreOp::Append(Append {
        place,
        entry: NewEntry { aad, body },
        next: Vec::new(),
    })
}

fn measured(servers: &[u32], work: impl FnOnce() -> Result<u64, Trouble>) -> Result<Run, Trouble> {
    let (before, since) = (all_cpu(servers)?, Instant::now());
    let entries = work()?;
    let took = since.elapsed();
    // Connections that have ended are counted by the process that began them, as soon as it sees that.
    thread::sleep(Duration::from_millis(200));
    Ok(Run {
        entries,
        took,
        cpu: all_cpu(servers)?.saturating_sub(before),
    })
}

/// CPU time of this program and of the servers with all their processes, also those that have ended.
fn all_cpu(servers: &[u32]) -> Result<Duration, Trouble> {
    let mut sum = spent();
    for process in fs::read_dir("/proc")? {
        let name = process?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else {
            continue;
        };
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let field = |number: usize| fields.split_whitespace().nth(number);
        let parent = field(1).and_then(|parent| parent.parse().ok()).unwrap_or(0);
        if servers.contains(&parent) {
            sum += cpu_of(id).unwrap_or_default();
        } else if servers.contains(&id) {
            let ticks = |number| field(number).and_then(|field| field.parse::<u64>().ok());
            let ended = ticks(13).unwrap_or(0) + ticks(14).unwrap_or(0);
            sum += cpu_of(id)? + Duration::from_millis(ended * 10);
        }
    }
    Ok(sum)
}
