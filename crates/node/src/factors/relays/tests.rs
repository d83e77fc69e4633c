//! A stream that is open, and that somebody stops.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, ReadBuf};

use super::*;
use crate::carrier::{Dialled, Direct, Target};
use crate::factors::tests::relay::Relay;
use crate::session::direct;

/// A road whose first connection can be stopped: nothing comes any more, and it does not end.
struct Road {
    direct: Direct,
    is_stopped: Arc<AtomicBool>,
    dialled: AtomicU32,
}

struct Stops(Box<dyn AsyncRead + Send + Unpin>, Arc<AtomicBool>);

impl AsyncRead for Stops {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.1.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Carrier for Road {
    fn dial(&self, target: Target) -> Dialled<'_> {
        let is_first = self.dialled.fetch_add(1, Ordering::Relaxed) == 0;
        Box::pin(async move {
            let mut connection = self.direct.dial(target).await?;
            if is_first {
                connection.reader = Box::new(Stops(connection.reader, self.is_stopped.clone()));
            }
            Ok(connection)
        })
    }
}

/// Whoever lets the new share through and nothing after it does not keep the old one from being deleted.
// [SPEC 11.52]
#[test]
fn a_stream_that_was_stopped_is_dialled_anew() {
    let relay = Relay::start();
    let at = At {
        hosts: relay.address.hosts().cloned().collect(),
        relay: relay.address.identity,
        // Of one that nobody made it says that it is gone.
        id: ShareId::new([5; 32]),
        head: None,
    };
    let road = Arc::new(Road {
        direct: direct().unwrap(),
        is_stopped: Arc::default(),
        dialled: AtomicU32::new(0),
    });
    let carrier: Arc<dyn Carrier> = road.clone();
    for is_stopped in [false, true] {
        road.dialled.store(0, Ordering::Relaxed);
        road.is_stopped.store(false, Ordering::Relaxed);
        let sockets = Sockets::new().unwrap();
        let whom = Whom::of(&at);
        let errand = sockets.handle.block_on(dial(&carrier, &whom));
        let errand = errand.unwrap_or_else(|_| panic!("it is there"));
        let open = Open {
            errands: vec![(at.relay, errand)],
            _sockets: sockets,
        };
        road.is_stopped.store(is_stopped, Ordering::Relaxed);
        let orders = vec![order(&[2; 32], &at)];
        let since = Instant::now();
        let gone = delete(&carrier, (orders, &[at.relay]), Some(open), &|| false).unwrap();
        assert!(gone == [at.id.clone()], "stopped: {is_stopped}");
        let dialled = road.dialled.load(Ordering::Relaxed);
        match is_stopped {
            true => assert_eq!(dialled, 2),
            // One that is slow is given up, too.
            false => assert!(dialled == 1 || since.elapsed() > Duration::from_secs(2)),
        }
    }
}
