//! A raw client: TLS, the sealed stream, one request after the other. It believes everything it is told
//! once, and checks what it is told twice.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use emptyroom_wire::address::RelayAddress;
use emptyroom_wire::entry::{self, Ttl};
use emptyroom_wire::greeting::Terms;
use emptyroom_wire::op::{
    AccessCode, Answer, Append, Appended, Create, EntryPush, FromClient, FromRelay, Handle, NewLog,
    Open, OpenLog, OpenOutcome, OpenedLog, Push, RefusalCode, Request, Trim,
};
use emptyroom_wire::proof::sign_trim;
use emptyroom_wire::relay_key::{IdentityHash, KeyChain};
use emptyroom_wire::stream::{ClientStream, OpeningOutcome};
use emptyroom_wire::time::Mono;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

pub use dialling::{Tls, TlsSettings, dial_tcp, dial_tls, read_frame, spki_hash, write_frame};
pub use log::Log;

mod dialling;
mod log;

/// Long enough for a loaded machine, short enough to see what hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// One sealed stream.
pub struct Client {
    tls: Tls,
    stream: ClientStream,
    start: Instant,
    relay: IdentityHash,
    next_id: u32,
    pushes: VecDeque<(Handle, Push)>,
    rng: ChaCha20Rng,
    pub terms: Terms,
}

impl Client {
    pub fn connect(address: &RelayAddress) -> Self {
        Self::try_connect(address).unwrap()
    }

    pub fn try_connect(address: &RelayAddress) -> io::Result<Self> {
        let mut rng = generator();
        let mut tls = dial_tls(address, TlsSettings::default())?;
        let start = Instant::now();
        let chain = KeyChain::new(address.identity);
        let greeting = read_frame(&mut tls)?;
        let spki = spki_hash(&tls);
        let (mut opening, mut frame) =
            emptyroom_wire::stream::Opening::start(&greeting, Some(&spki), &chain, &mut rng)
                .unwrap();
        loop {
            write_frame(&mut tls, &frame)?;
            let answer = read_frame(&mut tls)?;
            match opening.answer(&answer, &chain, Mono(0), &mut rng).unwrap() {
                OpeningOutcome::Again(again, next) => (opening, frame) = (again, next),
                OpeningOutcome::Open(opened) => {
                    return Ok(Self {
                        tls,
                        stream: opened.stream,
                        start,
                        relay: address.identity,
                        next_id: 0,
                        pushes: VecDeque::new(),
                        rng,
                        terms: opened.terms,
                    });
                }
            }
        }
    }

    fn now(&self) -> Mono {
        Mono(u64::try_from(self.start.elapsed().as_millis()).unwrap())
    }

    /// Sends without waiting for the answer.
    pub fn send(&mut self, request: Request) -> io::Result<u32> {
        self.next_id += 1;
        let message = FromClient {
            id: self.next_id,
            request,
        }
        .encode()
        .unwrap();
        let now = self.now();
        let frame = self.stream.seal(now, &message).unwrap();
        write_frame(&mut self.tls, &frame)?;
        Ok(self.next_id)
    }

    /// A frame as it is, sealed or not.
    pub fn write_raw(&mut self, frame: &[u8]) -> io::Result<()> {
        write_frame(&mut self.tls, frame)
    }

    /// Bytes sealed as they are; the code if they were refused.
    pub fn send_message(&mut self, message: &[u8]) -> io::Result<Option<RefusalCode>> {
        let now = self.now();
        let frame = self.stream.seal(now, message).unwrap();
        self.write_raw(&frame)?;
        match self.receive()? {
            FromRelay::Answer(_, Answer::Refused(refusal)) => Ok(Some(refusal.code)),
            _ => Ok(None),
        }
    }

    /// Whether the relay ends the stream, perhaps with a last refusal.
    pub fn is_over(&mut self) -> bool {
        loop {
            match self.receive() {
                Ok(FromRelay::Answer(_, Answer::Refused(_))) => {}
                Ok(_) => return false,
                Err(e) => {
                    return !matches!(
                        e.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    );
                }
            }
        }
    }

    fn receive(&mut self) -> io::Result<FromRelay> {
        loop {
            let frame = read_frame(&mut self.tls)?;
            let now = self.now();
            if let Some(message) = self.stream.open(now, &frame).unwrap() {
                return Ok(FromRelay::decode(&message).unwrap());
            }
        }
    }

    /// The answer to a request; pushes that come before are kept.
    pub fn answer(&mut self, to: u32) -> io::Result<Answer> {
        loop {
            match self.receive()? {
                FromRelay::Answer(id, answer) if id == to => return Ok(answer),
                FromRelay::Answer(id, _) => panic!("an answer to {id}, not to {to}"),
                FromRelay::Push(handle, push) => self.pushes.push_back((handle, push)),
            }
        }
    }

    /// The next answer, and to what it is.
    pub fn any_answer(&mut self) -> io::Result<(u32, Answer)> {
        loop {
            match self.receive()? {
                FromRelay::Answer(id, answer) => return Ok((id, answer)),
                FromRelay::Push(handle, push) => self.pushes.push_back((handle, push)),
            }
        }
    }

    pub fn try_call(&mut self, request: Request) -> io::Result<Answer> {
        let id = self.send(request)?;
        self.answer(id)
    }

    pub fn call(&mut self, request: Request) -> Answer {
        self.try_call(request).unwrap()
    }

    pub fn push(&mut self) -> (Handle, Push) {
        self.try_push().unwrap()
    }

    pub fn try_push(&mut self) -> io::Result<(Handle, Push)> {
        if let Some(push) = self.pushes.pop_front() {
            return Ok(push);
        }
        match self.receive()? {
            FromRelay::Push(handle, push) => Ok((handle, push)),
            FromRelay::Answer(id, _) => panic!("an answer to {id} that nobody waits for"),
        }
    }

    pub fn create(&mut self, log: &Log, code: Option<AccessCode>) -> Answer {
        let new = NewLog {
            header: log.header.clone(),
            first: None,
        };
        self.call(Request::Create(Create { new, code }))
    }

    pub fn try_create(&mut self, log: &Log) -> io::Result<Answer> {
        let new = NewLog {
            header: log.header.clone(),
            first: None,
        };
        self.try_call(Request::Create(Create { new, code: None }))
    }

    /// Opens a log and reads what is stored.
    pub fn open(
        &mut self,
        log: &Log,
        from: u64,
    ) -> Result<(OpenedLog, Vec<EntryPush>), RefusalCode> {
        self.try_open(log, from).unwrap()
    }

    pub fn try_open(
        &mut self,
        log: &Log,
        from: u64,
    ) -> io::Result<Result<(OpenedLog, Vec<EntryPush>), RefusalCode>> {
        let logs = vec![OpenLog {
            capability: log.capability(),
            from,
            proof: None,
        }];
        let opened = match self.try_call(Request::Open(Open { logs }))? {
            Answer::Opened(opened) => opened,
            Answer::Refused(refusal) => return Ok(Err(refusal.code)),
            _ => panic!("not opened"),
        };
        let opened = match &opened.logs[0] {
            OpenOutcome::Open(opened) => opened.clone(),
            OpenOutcome::Refused(refusal) => return Ok(Err(refusal.code)),
        };
        let mut entries = Vec::new();
        loop {
            match self.try_push()? {
                (handle, Push::Entry(entry)) if handle == opened.handle => entries.push(entry),
                (handle, Push::CaughtUp(_)) if handle == opened.handle => {
                    return Ok(Ok((opened, entries)));
                }
                _ => panic!("something else was pushed"),
            }
        }
    }

    pub fn append_request(&mut self, handle: Handle, log: &Log, text: &[u8], ttl: Ttl) -> Append {
        let mut nonce = [0; 16];
        self.rng.fill_bytes(&mut nonce);
        let aad = log.aad(nonce, ttl);
        let body = entry::seal(&log.outer, &aad, 1, text, &mut self.rng).unwrap();
        Append {
            handle,
            expect_slots: 0,
            commit: false,
            close: false,
            ttl,
            nonce,
            body,
            next: vec![],
            proof: None,
        }
    }

    pub fn append(&mut self, handle: Handle, log: &Log, text: &[u8], ttl: Ttl) -> Appended {
        let append = self.append_request(handle, log, text, ttl);
        match self.call(Request::Append(append)) {
            Answer::Appended(appended) => appended,
            answer => panic!("not appended: {}", name(&answer)),
        }
    }

    pub fn trim(&mut self, handle: Handle, log: &Log, up_to: u64) -> Answer {
        self.try_trim(handle, log, up_to).unwrap()
    }

    pub fn try_trim(&mut self, handle: Handle, log: &Log, up_to: u64) -> io::Result<Answer> {
        let signature = sign_trim(&log.owner, &self.relay, log.capability().log_id(), up_to);
        self.try_call(Request::Trim(Trim {
            handle,
            up_to,
            signature,
        }))
    }
}

/// What an answer is, for messages.
pub fn name(answer: &Answer) -> String {
    match answer {
        Answer::Done => "done".to_owned(),
        Answer::Refused(refusal) => format!("refused: {}", refusal.code.name()),
        Answer::Created => "created".to_owned(),
        Answer::Opened(_) => "opened".to_owned(),
        Answer::Appended(_) => "appended".to_owned(),
        Answer::Stale(_) => "stale".to_owned(),
        Answer::KeyRecords(_) => "key records".to_owned(),
        Answer::Evaluated(_) => "evaluated".to_owned(),
        Answer::Wiped(_) => "wiped".to_owned(),
    }
}

pub fn generator() -> ChaCha20Rng {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).unwrap();
    ChaCha20Rng::from_seed(seed)
}
