//! Connections for HTTP that serve one request after another, or many at once.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::{Rc, Weak};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::{Http2Options, UpstreamProtocol};

use super::body::BoxBody;
use super::connect;
use super::{Blueprint, IDLE_TIMEOUT, UpstreamError};

/// How many idle connections of HTTP/1 are kept for an address.
pub(super) const MAX_IDLE: usize = 128;

/// How many streams a connection of HTTP/2 has at most where the configuration says nothing.
const MAX_STREAMS: usize = 100;

/// The least buffer that the HTTP stack takes.
const MIN_BUFFER: usize = 8192;

/// The connections of a cluster, by address.
#[derive(Default)]
pub(super) struct Pool(RefCell<HashMap<SocketAddr, Rc<Peer>>>);

/// The connections to one address.
#[derive(Default)]
struct Peer {
    idle: RefCell<Vec<Idle>>,
    shared: RefCell<Vec<Rc<Shared>>>,
    /// Held by who opens a connection that others may then share.
    opening: Mutex<()>,
    /// Whether it was seen to choose HTTP/1.
    is_http1: Cell<bool>,
}

/// A connection of HTTP/1 that waits for a request.
struct Idle {
    sender: http1::SendRequest<BoxBody>,
    since: Instant,
}

/// A connection of HTTP/2.
struct Shared {
    sender: http2::SendRequest<BoxBody>,
    streams: Cell<usize>,
    /// How many streams it may have: as many as we, and the endpoint, allow.
    max: Rc<Cell<usize>>,
    idle_since: Cell<Instant>,
}

/// One stream of a shared connection, which counts as long as this lives.
pub(super) struct Seat(Rc<Shared>);

impl Seat {
    fn take(shared: &Rc<Shared>) -> Self {
        shared.streams.set(shared.streams.get() + 1);
        Self(shared.clone())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
        self.0.idle_since.set(Instant::now());
    }
}

/// A connection for one request.
pub(super) enum Client {
    /// The whole of it; and whether it served another request before.
    Http1(http1::SendRequest<BoxBody>, bool),
    /// One stream of it; and whether others were on it before.
    Http2(Seat, bool),
}

/// What the body of an answer holds until its end.
pub(super) enum Lease {
    /// A connection that others may have then.
    Http1(Option<http1::SendRequest<BoxBody>>, Weak<Pool>, SocketAddr),
    /// A stream of a connection.
    Http2 {
        /// It is held, not read.
        _seat: Seat,
    },
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Self::Http1(sender, pool, address) = self
            && let (Some(sender), Some(pool)) = (sender.take(), pool.upgrade())
        {
            pool.peer(*address).put(sender);
        }
    }
}

/// Spawns on this thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, work: F) {
        tokio::task::spawn_local(async move {
            work.await;
        });
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.borrow().keys()).finish()
    }
}

impl Pool {
    /// A connection to an address: one that there is, or a new one.
    pub(super) async fn client(
        &self,
        blueprint: &Blueprint,
        address: SocketAddr,
    ) -> Result<Client, UpstreamError> {
        let peer = self.peer(address);
        if let Some(client) = peer.reuse() {
            return Ok(client);
        }
        if blueprint.cluster.protocol == UpstreamProtocol::Http1 || peer.is_http1.get() {
            return peer.open(blueprint, address).await;
        }
        let wait = blueprint.cluster.connect_timeout;
        let opening = tokio::time::timeout(wait, peer.opening.lock()).await;
        let _opening = opening.map_err(|_| UpstreamError::ConnectTimeout)?;
        match peer.reuse() {
            Some(client) => Ok(client),
            None => peer.open(blueprint, address).await,
        }
    }

    /// A new connection to an address.
    pub(super) async fn fresh(
        &self,
        blueprint: &Blueprint,
        address: SocketAddr,
    ) -> Result<Client, UpstreamError> {
        self.peer(address).open(blueprint, address).await
    }

    /// Closes what was idle for too long, and forgets what is closed.
    pub(super) fn sweep(&self) {
        let peers: Vec<_> = self.0.borrow().values().cloned().collect();
        for peer in peers {
            let old = |since: Instant| since.elapsed() >= IDLE_TIMEOUT;
            let mut idle = peer.idle.borrow_mut();
            idle.retain(|idle| !old(idle.since) && !idle.sender.is_closed());
            let mut shared = peer.shared.borrow_mut();
            shared.retain(|shared| {
                let unused = shared.streams.get() == 0 && old(shared.idle_since.get());
                !unused && !shared.sender.is_closed()
            });
        }
        let unused = |peer: &Rc<Peer>| {
            let empty = peer.idle.borrow().is_empty() && peer.shared.borrow().is_empty();
            empty && Rc::strong_count(peer) == 1
        };
        self.0.borrow_mut().retain(|_, peer| !unused(peer));
    }

    fn peer(&self, address: SocketAddr) -> Rc<Peer> {
        self.0.borrow_mut().entry(address).or_default().clone()
    }
}

impl Peer {
    /// A connection that takes a request at once.
    fn reuse(&self) -> Option<Client> {
        let mut shared = self.shared.borrow_mut();
        shared.retain(|shared| !shared.sender.is_closed());
        let free = |shared: &&Rc<Shared>| shared.streams.get() < shared.max.get();
        if let Some(shared) = shared.iter().find(free) {
            return Some(Client::Http2(Seat::take(shared), true));
        }
        let mut idle = self.idle.borrow_mut();
        idle.retain(|idle| !idle.sender.is_closed());
        // The one that was used last is the least likely to be closed.
        let ready = idle.iter().rposition(|idle| idle.sender.is_ready())?;
        Some(Client::Http1(idle.remove(ready).sender, true))
    }

    /// Keeps a connection, whose answer was read, for others.
    fn put(&self, sender: http1::SendRequest<BoxBody>) {
        let mut idle = self.idle.borrow_mut();
        if !sender.is_closed() {
            if idle.len() == MAX_IDLE {
                idle.remove(0);
            }
            let since = Instant::now();
            idle.push(Idle { sender, since });
        }
    }

    /// Opens a connection.
    async fn open(
        &self,
        blueprint: &Blueprint,
        address: SocketAddr,
    ) -> Result<Client, UpstreamError> {
        let stream = connect::open(blueprint, address).await?;
        let options = match blueprint.cluster.protocol {
            UpstreamProtocol::Http1 => None,
            UpstreamProtocol::Http2(options) => Some(options),
            UpstreamProtocol::Alpn(options) => stream.chose_http2().then_some(options),
        };
        let broken = |error: hyper::Error| UpstreamError::Connect(words(&error));
        let limit = (blueprint.cluster.buffer_limit as usize).max(MIN_BUFFER);
        let Some(options) = options else {
            self.is_http1.set(true);
            let (sender, connection) = http1::Builder::new()
                .max_buf_size(limit)
                .handshake(TokioIo::new(stream))
                .await
                .map_err(broken)?;
            tokio::task::spawn_local(connection);
            return Ok(Client::Http1(sender, false));
        };
        let handshake = builder(&options, limit).handshake(TokioIo::new(stream));
        let (sender, mut connection) = handshake.await.map_err(broken)?;
        let ours = options.max_concurrent_streams;
        let ours = ours.map_or(MAX_STREAMS, |max| max.max(1) as usize);
        let max = Rc::new(Cell::new(ours));
        let allowed = max.clone();
        tokio::task::spawn_local(std::future::poll_fn(move |cx| {
            let end = Pin::new(&mut connection).poll(cx);
            if end.is_pending() {
                allowed.set(ours.min(connection.current_max_send_streams().max(1)));
            }
            end
        }));
        let shared = Rc::new(Shared {
            sender,
            streams: Cell::new(0),
            max,
            idle_since: Cell::new(Instant::now()),
        });
        self.shared.borrow_mut().push(shared.clone());
        Ok(Client::Http2(Seat::take(&shared), false))
    }
}

fn builder(options: &Http2Options, buffer: usize) -> http2::Builder<Local> {
    let mut builder = http2::Builder::new(Local);
    builder
        .timer(TokioTimer::new())
        .max_send_buf_size(buffer)
        .initial_stream_window_size(options.initial_stream_window_size)
        .initial_connection_window_size(options.initial_connection_window_size);
    builder
}

impl Client {
    pub(super) fn is_http2(&self) -> bool {
        matches!(self, Self::Http2(..))
    }

    /// Whether the connection was there before.
    pub(super) fn is_reused(&self) -> bool {
        match self {
            Self::Http1(_, reused) | Self::Http2(_, reused) => *reused,
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// Why there is no answer, and the request where nothing of it was sent.
    pub(super) async fn send(
        &mut self,
        request: Request<BoxBody>,
    ) -> Result<Response<Incoming>, (String, Option<Request<BoxBody>>)> {
        let sent = match self {
            Self::Http1(sender, _) => sender.try_send_request(request).await,
            Self::Http2(seat, _) => seat.0.sender.clone().try_send_request(request).await,
        };
        sent.map_err(|mut error: TrySendError<_>| {
            let unsent = error.take_message();
            (words(error.error()), unsent)
        })
    }

    /// What keeps the connection, or the stream, as long as the answer is read.
    pub(super) fn lease(self, pool: &Rc<Pool>, address: SocketAddr) -> Lease {
        match self {
            Self::Http1(sender, _) => Lease::Http1(Some(sender), Rc::downgrade(pool), address),
            Self::Http2(seat, _) => Lease::Http2 { _seat: seat },
        }
    }
}

/// An error with what it comes from.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words = format!("{words}: {error}");
        source = error.source();
    }
    words
}
