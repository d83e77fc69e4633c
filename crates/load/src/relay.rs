//! The relay as a system under load: one log for each pair of sender and recipient, as each conversation has its own.

use crate::Trouble;
use crate::system::{Recipient, Sender, System};
use crate::wire_client::{Dialler, WireClient};
use emptyroom_wire::address::RelayAddress;
use emptyroom_wire::entry::Ttl;
use emptyroom_wire::limits::OPEN_LOGS_MAX;
use emptyroom_wire::log::{Flags, Header};
use emptyroom_wire::op::{
    Answer, Append, Create, FromRelay, Handle, NewLog, Open, OpenLog, OpenOutcome, Push, Request,
};
use emptyroom_wire::secret::Private;
use std::net::{IpAddr, Ipv4Addr};

/// Creations of one connection that are not answered yet.
const CREATING: usize = 60;
/// Addresses of the loopback network that clients come from: a relay bounds what comes from one.
const ADDRESSES: u64 = 500;

/// Which logs there are between senders and recipients.
#[derive(Clone, Copy)]
pub enum Logs {
    /// Sender n writes to recipient n, in so many logs by turns: one log holds 4,096 entries.
    Pairs(u64),
    /// Each of so many senders has one log with each recipient.
    Mesh(u32),
}

/// A relay that runs elsewhere.
pub struct Relay {
    /// One for each of its nodes.
    diallers: Vec<Dialler>,
    processes: Vec<u32>,
    name: String,
    logs: Logs,
    /// Makes its logs others than those of another run on the same relay.
    run: u32,
}

impl Relay {
    /// Under this address and process number; `run` makes its logs others than another run's.
    ///
    /// # Errors
    /// When the address names no IP address.
    pub fn new(
        address: RelayAddress,
        (name, process): (&str, u32),
        logs: Logs,
        run: u32,
    ) -> Result<Relay, Trouble> {
        Relay::on_nodes(vec![address], (name, vec![process]), logs, run)
    }

    /// The same on several nodes: each log is written to through one, and read through the next.
    ///
    /// # Errors
    /// As [`Relay::new`].
    pub fn on_nodes(
        addresses: Vec<RelayAddress>,
        (name, processes): (&str, Vec<u32>),
        logs: Logs,
        run: u32,
    ) -> Result<Relay, Trouble> {
        let diallers: Result<_, _> = addresses.into_iter().map(Dialler::new).collect();
        Ok(Relay {
            diallers: diallers?,
            processes,
            name: name.to_owned(),
            logs,
            run,
        })
    }

    async fn dial(&self, node: u32, seed: u64) -> Result<WireClient, Trouble> {
        let at = usize::try_from(node)? % self.diallers.len().max(1);
        let dialler = self.diallers.get(at).ok_or("a relay without nodes")?;
        dialler.connect(Some(source(seed)), seed).await
    }

    /// The logs in which a sender writes to a recipient.
    fn between(&self, sender: u32, recipient: u32) -> Vec<Header> {
        let pair = u64::from(sender) << 32 | u64::from(recipient);
        match self.logs {
            Logs::Pairs(turns) => (0..turns)
                .map(|turn| header(self.run, [pair, turn]))
                .collect(),
            Logs::Mesh(_) => vec![header(self.run, [pair, 0])],
        }
    }
}

impl System for Relay {
    type Sender = Writer;
    type Recipient = Reader;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn promise(&self) -> &'static str {
        "synced to disk"
    }

    fn processes(&self) -> Vec<u32> {
        self.processes.clone()
    }

    async fn recipient(&self, number: u32) -> Result<Reader, Trouble> {
        let headers: Vec<Header> = match self.logs {
            Logs::Pairs(_) => self.between(number, number),
            Logs::Mesh(senders) => (0..senders)
                .flat_map(|sender| self.between(sender, number))
                .collect(),
        };
        let mut client = self.dial(number + 1, number.into()).await?;
        create(&mut client, &headers).await?;
        open(&mut client, &headers).await?;
        Ok(Reader { client })
    }

    async fn sender(&self, number: u32, recipients: u32) -> Result<Writer, Trouble> {
        let (headers, turns): (Vec<Header>, u64) = match self.logs {
            Logs::Pairs(turns) => (self.between(number, number), turns),
            Logs::Mesh(_) => {
                let to = 0..recipients;
                (to.flat_map(|to| self.between(number, to)).collect(), 0)
            }
        };
        let seed = 1 << 32 | u64::from(number);
        let mut client = self.dial(number, seed).await?;
        let handles = open(&mut client, &headers).await?;
        Ok(Writer {
            client,
            handles,
            turns,
            sent: 0,
            number: number.into(),
        })
    }
}

/// Appends.
pub struct Writer {
    client: WireClient,
    handles: Vec<Handle>,
    /// Logs that take turns; 0 where the recipient chooses the log.
    turns: u64,
    sent: u64,
    /// Part of its nonces: several may write to one log.
    number: u64,
}

impl Writer {
    /// A client that has opened logs: recipient n is the log with the n-th of these handles.
    #[must_use]
    pub fn over(client: WireClient, handles: Vec<Handle>, number: u64) -> Writer {
        Writer {
            client,
            handles,
            turns: 0,
            sent: 0,
            number,
        }
    }
}

impl Sender for Writer {
    async fn send(&mut self, to: u32, payload: &[u8]) -> Result<u64, Trouble> {
        let at = match self.turns {
            0 => u64::from(to),
            turns => self.sent % turns,
        };
        let handle = self.handles.get(usize::try_from(at)?);
        let handle = *handle.ok_or("no log for this recipient")?;
        self.sent += 1;
        let nonce = u128::from(self.number) << 64 | u128::from(self.sent);
        let id = self.client.send(append(handle, nonce, payload)).await?;
        Ok(id.into())
    }

    async fn acknowledged(&mut self) -> Result<u64, Trouble> {
        loop {
            match self.client.next().await? {
                FromRelay::Answer(id, Answer::Appended(_)) => return Ok(id.into()),
                FromRelay::Answer(_, answer) => {
                    return Err(format!("an append was answered: {answer:?}").into());
                }
                FromRelay::Push(..) => {}
            }
        }
    }
}

/// Reads what is pushed.
pub struct Reader {
    client: WireClient,
}

impl Recipient for Reader {
    async fn receive(&mut self) -> Result<Vec<u8>, Trouble> {
        loop {
            if let FromRelay::Push(_, Push::Entry(entry)) = self.client.next().await? {
                return Ok(entry.body);
            }
        }
    }
}

/// The address that client `number` comes from: one of many of this machine.
#[must_use]
pub fn source(number: u64) -> IpAddr {
    let at = u8::try_from(number % ADDRESSES / 250).unwrap_or(0);
    let low = u8::try_from(number % 250).unwrap_or(0);
    IpAddr::V4(Ipv4Addr::new(127, 0, 1 + at, 1 + low))
}

/// The header of a log that a number names, without keys.
#[must_use]
pub fn header(run: u32, number: [u64; 2]) -> Header {
    let [high, low] = number;
    let mut salt = [0; 32];
    let bytes = run.to_be_bytes().into_iter();
    let bytes = bytes.chain(high.to_be_bytes()).chain(low.to_be_bytes());
    salt.iter_mut()
        .zip(bytes)
        .for_each(|(salt, byte)| *salt = byte);
    Header {
        salt: Private(salt),
        append_key: None,
        read_key: None,
        owner_key: None,
        flags: Flags::NONE,
    }
}

/// An append of a message.
#[must_use]
pub fn append(handle: Handle, nonce: u128, body: &[u8]) -> Request {
    Request::Append(Append {
        handle,
        expect_slots: 0,
        commit: false,
        close: false,
        ttl: Ttl::Day30,
        nonce: nonce.to_be_bytes(),
        body: body.to_vec(),
        next: Vec::new(),
        proof: None,
    })
}

/// Creates logs, many at a time.
///
/// # Errors
/// When one is refused.
pub async fn create(client: &mut WireClient, headers: &[Header]) -> Result<(), Trouble> {
    let mut rest = headers.iter();
    let mut waiting = 0;
    loop {
        while waiting < CREATING {
            let Some(header) = rest.next() else { break };
            let new = NewLog {
                header: header.clone(),
                first: None,
            };
            client
                .send(Request::Create(Create { new, code: None }))
                .await?;
            waiting += 1;
        }
        if waiting == 0 {
            return Ok(());
        }
        match client.answer().await? {
            Answer::Created => waiting -= 1,
            answer => return Err(format!("no log was created: {answer:?}").into()),
        }
    }
}

/// Opens logs from their beginnings.
///
/// # Errors
/// When one is refused.
pub async fn open(client: &mut WireClient, headers: &[Header]) -> Result<Vec<Handle>, Trouble> {
    let mut handles = Vec::new();
    for some in headers.chunks(OPEN_LOGS_MAX) {
        client
            .send(opening(some.iter().map(|header| (header, 0))))
            .await?;
        handles.extend(opened(&client.answer().await?)?);
    }
    Ok(handles)
}

/// The request to open logs, each from a number on.
#[must_use]
pub fn opening<'a>(logs: impl Iterator<Item = (&'a Header, u64)>) -> Request {
    let log = |(header, from): (&Header, u64)| OpenLog {
        capability: header.capability(),
        from,
        proof: None,
    };
    Request::Open(Open {
        logs: logs.map(log).collect(),
    })
}

/// The handles that an answer to `open` gives.
///
/// # Errors
/// When a log was not opened.
pub fn opened(answer: &Answer) -> Result<Vec<Handle>, Trouble> {
    let Answer::Opened(opened) = answer else {
        return Err(format!("logs were not opened: {answer:?}").into());
    };
    let handle = |outcome: &OpenOutcome| match outcome {
        OpenOutcome::Open(log) => Ok(log.handle),
        OpenOutcome::Refused(why) => Err(format!("a log was not opened: {why}").into()),
    };
    opened.logs.iter().map(handle).collect()
}
