//! The bodies of answers: text that is there, and one that lasts as long as somebody reads it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::mpsc::Sender;
use std::task::{Context, Poll};

use http_body_util::Full;
use hyper::body::{Bytes, Frame, SizeHint};

/// What the holder of the store reads first.
pub(crate) const HELD: &str = "held\n";

pub(crate) enum Body {
    Whole(Full<Bytes>),
    Held {
        first: Option<Bytes>,
        /// Dropped with the connection, which lets the store go on.
        _guard: Sender<Infallible>,
    },
}

impl Body {
    pub(crate) fn whole(text: String) -> Self {
        Self::Whole(Full::new(Bytes::from(text)))
    }

    pub(crate) fn held(guard: Sender<Infallible>) -> Self {
        Self::Held {
            first: Some(Bytes::from_static(HELD.as_bytes())),
            _guard: guard,
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(text) => Pin::new(text).poll_frame(context),
            Self::Held { first, .. } => match first.take() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                // The connection's end, which hyper watches for, is the only thing to come.
                None => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(text) => text.is_end_stream(),
            Self::Held { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(text) => text.size_hint(),
            Self::Held { .. } => SizeHint::default(),
        }
    }
}
