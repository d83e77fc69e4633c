//! What a relay starts with: what its data directory and its store give.

use std::sync::Arc;
use std::{io, thread};

use emptyroom_relay::store::StoreFailure;
use emptyroom_relay::{Config, Nodes, Relay};
use emptyroom_wire::op::AccessCode;
use emptyroom_wire::relay_key::{KeyRecord, RelayIdentity};
use emptyroom_wire::time::{DAY_MS, Wall};
use tokio::sync::mpsc;

use super::{Options, StartError};
use crate::chain::KeptChain;
use crate::clock::{self, Clock};
use crate::committer::{CLOCK_JUMP_MAX_MS, Committer};
use crate::data::{DataDir, access, chain::Chain, identity};
use crate::entropy;
use crate::medium::{Choice, Keeper, MediumError};
use crate::metrics::Metrics;
use crate::postgres::chain::SharedChain;
use crate::postgres::cluster::Refused;
use crate::postgres::{Address, Unusable};
use crate::wake::letter::WakeSecret;
use crate::wake::{self, Wake};

/// What a data directory gives to a relay that starts.
pub(super) struct Disk {
    pub(super) data: DataDir,
    pub(super) identity: RelayIdentity,
    wake_secret: Option<WakeSecret>,
    chain: KeptChain,
    /// Those of the chain.
    records: Vec<KeyRecord>,
    pub(super) code: Option<AccessCode>,
    store: Keeper,
}

impl Disk {
    pub(super) fn open(data: DataDir, options: &Options) -> Result<Self, StartError> {
        let seed = identity::load_or_make(&data)?;
        let identity = RelayIdentity::from_seed(&seed);
        let own = Chain::load(&data, &identity.verify_key())?;
        let now = clock::wall();
        let first = match &options.store.choice {
            Some(Choice::Databases(addresses)) => addresses.first(),
            Some(Choice::Here(_)) | None => None,
        };
        // What a node has of its own is of the day on which it came to the others.
        if first.is_none() && !options.clock_is_right {
            check_clock(own.records(), now)?;
        }
        let code = access::load(&data, &options.access)?;
        let store = Keeper::open(&data, &seed, &options.store, now.day());
        let store = store.map_err(StartError::Store)?;
        let mut records = own.records().to_vec();
        let chain = if let Some(address) = first {
            let (mut chain, shared) = open_chain(address, &identity, &records)?;
            chain.heed(store.standing());
            records = shared;
            KeptChain::Shared(Box::new(chain))
        } else {
            KeptChain::Own(own)
        };
        if first.is_some() && !options.clock_is_right {
            check_clock(&records, now)?;
        }
        Ok(Self {
            data,
            identity,
            wake_secret: Some(WakeSecret::of(&seed)),
            chain,
            records,
            code,
            store,
        })
    }

    /// The way to other nodes, if there is one; else nothing ever comes from it.
    pub(super) fn wake(
        &mut self,
        options: &Options,
        metrics: &Arc<Metrics>,
    ) -> io::Result<(Option<Wake>, mpsc::Receiver<wake::Heard>)> {
        let (Some(servers), Some(secret)) = (&options.wake, self.wake_secret.take()) else {
            return Ok((None, mpsc::channel(1).1));
        };
        let (wake, heard) = Wake::start(servers.clone(), secret, Arc::clone(metrics))?;
        Ok((Some(wake), heard))
    }

    /// The two that work with it: the pure relay, and who writes what it decides; and the directory.
    pub(super) fn begin(
        self,
        clock: &Clock,
        spki_hash: [u8; 32],
        options: &Options,
        metrics: &Arc<Metrics>,
    ) -> (Relay, Committer, DataDir) {
        let now = clock.now();
        let config = Config {
            access_code: self.code,
            spki_hash: Some(spki_hash),
            reconnect_spread_s: options.reconnect_spread_s,
            limits: options.limits,
            nodes: match self.chain {
                KeptChain::Shared(_) => Some(Nodes::default()),
                KeptChain::Own(_) => None,
            },
        };
        let last_ran = KeptChain::last_ran(&self.records);
        let rng = Box::new(entropy::generator());
        let relay = Relay::new(now, self.identity, self.records, config, rng);
        let mut store = self.store;
        metrics.set_rows(store.count());
        metrics.set_databases(store.standing());
        let committer = Committer {
            store,
            // A machine without a clock of its own starts in the past, and is set right soon after.
            latest: last_ran.map_or(now.wall, |ran| ran.max(now.wall)),
            chain: self.chain,
            metrics: Arc::clone(metrics),
        };
        (relay, committer, self.data)
    }
}

/// The chain in a database, with its records.
fn open_chain(
    address: &Address,
    identity: &RelayIdentity,
    before: &[KeyRecord],
) -> Result<(SharedChain, Vec<KeyRecord>), StartError> {
    let key = identity.verify_key();
    // Not in a thread where other futures run: it waits.
    let opened = thread::scope(|scope| {
        let open = || SharedChain::open(address, key, before);
        scope.spawn(open).join()
    });
    let bug = StoreFailure::Broken("a bug in opening the database");
    opened.unwrap_or(Err(bug)).map_err(|failure| {
        StartError::Store(MediumError::Database(Refused {
            address: address.to_string(),
            why: Unusable::Failed(failure),
        }))
    })
}

/// A clock that is far ahead makes everything run out, and its numbers stay in the chain of key records for ever.
pub(crate) fn check_clock(records: &[KeyRecord], now: Wall) -> Result<(), StartError> {
    // [SPEC 6.82]
    let last_ran = KeptChain::last_ran(records);
    let away_ms = last_ran.map_or(0, |last| now.ms_since(last));
    if away_ms > CLOCK_JUMP_MAX_MS {
        return Err(StartError::LongAway(away_ms / DAY_MS));
    }
    Ok(())
}
