//! A stream as its filters see it: headers, trailers, the body at hand, and what can be asked of it.

use std::cell::{Cell, OnceCell, Ref, RefCell, RefMut};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;

use crate::body::Body;
use crate::chain::Place;
use crate::filter::{Direction, Verdict};
use crate::handle::{Event, StreamHandle};
use crate::headers::Headers;
use crate::mailbox::Mailbox;
use crate::surroundings::Surroundings;
use crate::worker::Worker;

/// What is known of a stream beside what passes on it.
#[derive(Clone, Debug, Default)]
pub struct StreamInfo {
    /// A number of the stream's connection, of its own within the process.
    pub connection: u64,
    /// The protocol as it is written in logs, such as `HTTP/1.1`; `TCP` where there is none above.
    pub protocol: &'static str,
    /// The client's address.
    pub source: Option<SocketAddr>,
    /// The address that the client connected to.
    pub destination: Option<SocketAddr>,
    /// The client's side of TLS, where there is TLS.
    pub tls: Option<TlsInfo>,
    /// The listener's name.
    pub listener: String,
    /// The route's name, once a route was chosen.
    pub route: String,
    /// The virtual host's name, once a route was chosen.
    pub virtual_host: String,
    /// The cluster that the stream goes to, once a route was chosen.
    pub cluster: String,
    /// The server's address, once there is one.
    pub upstream: Option<SocketAddr>,
    /// The server's address that a filter asks for in the place of the cluster's choice.
    pub upstream_override: Option<UpstreamOverride>,
    /// When the stream began, in nanoseconds since 1970.
    pub start: u64,
    /// The status of the response, once there is one.
    pub status: u16,
    /// The words behind the status of HTTP/1, where a filter chose them.
    pub reason: Option<String>,
    /// Why the proxy itself answered, where it did.
    pub details: String,
    /// What went wrong, where something did.
    pub flag: Option<ResponseFlag>,
    /// Bytes of the request's body that arrived.
    pub received: u64,
    /// Bytes of the response's body that were sent.
    pub sent: u64,
    /// Whether a filter asks for the connection's end behind this stream.
    pub drain: bool,
    /// What proxy-wasm filters read in the place of what is known here, by a property's path: for who plays a server.
    pub attributes: BTreeMap<Vec<u8>, Bytes>,
}

/// What went wrong with a stream, as Envoy's access logs and filters name it; the number is the place of its bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFlag {
    /// There was no server to ask.
    NoHealthyUpstream = 1,
    /// The server did not answer in time.
    UpstreamRequestTimeout = 2,
    /// There was no connection to the server.
    UpstreamConnectionFailure = 5,
    /// The server broke the connection off.
    UpstreamConnectionTermination = 6,
    /// There was no route.
    NoRouteFound = 8,
    /// The client left.
    DownstreamConnectionTermination = 14,
    /// Nothing moved for too long.
    StreamIdleTimeout = 16,
    /// The route's cluster is not there.
    NoClusterFound = 24,
}

impl ResponseFlag {
    /// Its letters in an access log.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoHealthyUpstream => "UH",
            Self::UpstreamRequestTimeout => "UT",
            Self::UpstreamConnectionFailure => "UF",
            Self::UpstreamConnectionTermination => "UC",
            Self::NoRouteFound => "NR",
            Self::DownstreamConnectionTermination => "DC",
            Self::StreamIdleTimeout => "SI",
            Self::NoClusterFound => "NC",
        }
    }

    /// Its bit, as filters read it.
    pub fn bit(self) -> u64 {
        1 << self as u32
    }
}

/// A server's address that a filter asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamOverride {
    /// An address of IP, with or without a port.
    pub host: String,
    /// Whether no other server will do: where this one cannot be had, the request fails with 503.
    pub strict: bool,
}

/// What is known of a connection with TLS.
#[derive(Clone, Debug, Default)]
pub struct TlsInfo {
    /// The version, such as `TLSv1.3`.
    pub version: String,
    /// The server's name that the client asked for.
    pub server_name: String,
    /// Whether the client showed a certificate, which was checked.
    pub mutual: bool,
    /// The client's certificate in DER, where it showed one.
    pub peer: Option<Bytes>,
}

/// An answer that a filter gives in the server's place.
#[derive(Clone, Debug, Default)]
pub struct LocalReply {
    /// The status.
    pub status: u16,
    /// Headers beside `:status` and the content's length.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
    /// A status of gRPC, for clients that speak it.
    pub grpc_status: Option<u32>,
    /// Why, in a word or two, for the access log.
    pub details: String,
}

impl LocalReply {
    /// An answer with a body of text.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        let mut headers = Headers::default();
        headers.add("content-type", "text/plain");
        Self {
            status,
            headers,
            body: Bytes::from(body.into()),
            ..Self::default()
        }
    }

    /// With these words for the access log.
    pub fn because(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }
}

/// What belongs to one stream, shared by its chain and whoever serves its filters.
pub(crate) struct Inner {
    pub(crate) tcp: bool,
    /// By direction: headers, then trailers.
    pub(crate) headers: [RefCell<Option<Headers>>; 2],
    pub(crate) trailers: [RefCell<Option<Headers>>; 2],
    /// What each filter holds, by direction.
    pub(crate) slots: Box<[[Place; 2]]>,
    pub(crate) info: RefCell<StreamInfo>,
    /// A local reply, and the filter that gives it, where that is not about a response as one tells it.
    pub(crate) reply: RefCell<Option<(LocalReply, Option<usize>)>>,
    /// A filter is told of the response.
    pub(crate) responding: Cell<bool>,
    pub(crate) closing: Cell<bool>,
    pub(crate) route_stale: Cell<bool>,
    pub(crate) metadata: RefCell<BTreeMap<String, BTreeMap<String, Bytes>>>,
    pub(crate) properties: RefCell<BTreeMap<Vec<u8>, Bytes>>,
    pub(crate) events: Mailbox,
    pub(crate) surroundings: OnceCell<Rc<dyn Surroundings>>,
    pub(crate) worker: Rc<dyn Worker>,
}

/// A stream as one filter of it sees it; cheap to clone, and kept as long as the filter likes.
#[derive(Clone)]
pub struct StreamRef {
    pub(crate) inner: Rc<Inner>,
    /// The filter's place in the chain; none where the chain itself looks.
    pub(crate) filter: Option<usize>,
}

impl fmt::Debug for StreamRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamRef")
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}

impl StreamRef {
    /// The headers of a direction, once they arrived.
    ///
    /// Like every borrow of a stream, it must not be held across another call of the stream's.
    pub fn headers(&self, direction: Direction) -> Option<RefMut<'_, Headers>> {
        some(&self.inner.headers[direction as usize])
    }

    /// The trailers of a direction, once they arrived.
    pub fn trailers(&self, direction: Direction) -> Option<RefMut<'_, Headers>> {
        some(&self.inner.trailers[direction as usize])
    }

    /// Puts trailers behind a direction that has none yet. They go out behind its last data, as long as its end is not out;
    /// filters that the end comes to are told of them.
    ///
    /// HTTP/1.1 carries them behind a body without a `content-length`, where the header `trailer` names them, and to clients
    /// that say `te: trailers`. What stands behind a response is gone where a local reply takes its place.
    pub fn set_trailers(&self, direction: Direction, trailers: Headers) {
        *self.inner.trailers[direction as usize].borrow_mut() = Some(trailers);
    }

    /// The body of a direction as far as the filter was told of it and has not let it pass.
    pub fn body(&self, direction: Direction) -> Option<RefMut<'_, Body>> {
        let slot = self.inner.slots.get(self.filter?)?;
        let slot = slot[direction as usize].try_borrow_mut().ok()?;
        Some(RefMut::map(slot, |slot| &mut slot.told))
    }

    /// Lets a direction that this filter holds go on: what the filter was told of goes to the next filter, and what
    /// arrived since is told to this one. Nothing happens where it holds nothing.
    pub fn resume(&self, direction: Direction) {
        let slot = self.filter.and_then(|filter| self.inner.slots.get(filter));
        // A second wish says nothing more than the first, and a guest could make them pile up.
        if slot.is_some_and(|slot| !slot[direction as usize].resuming.replace(true)) {
            self.resume_with(direction, Verdict::Continue);
        }
    }

    /// Gives another verdict on what this filter holds of a direction, as a callback would have given it; the callback
    /// that it asks for comes where there is something to tell. Nothing happens where the filter holds nothing.
    pub fn resume_with(&self, direction: Direction, verdict: Verdict) {
        if let Some(filter) = self.filter {
            self.send(Event::Resume(filter, direction, verdict));
        }
    }

    /// Whether this filter holds a direction, and has not let it go on.
    pub fn is_held(&self, direction: Direction) -> bool {
        let slot = self.filter.and_then(|filter| self.inner.slots.get(filter));
        slot.map(|slot| &slot[direction as usize])
            .is_some_and(|place| place.borrow().is_held() && !place.resuming.get())
    }

    /// Whether this filter let the headers of a direction pass.
    pub(crate) fn is_flowing(&self, direction: Direction) -> bool {
        let slot = self.filter.and_then(|filter| self.inner.slots.get(filter));
        slot.is_some_and(|slot| slot[direction as usize].borrow().is_flowing())
    }

    /// Answers in the server's place. The first answer counts.
    ///
    /// While the request is on its way, the answer passes the filters as a response; once a response has begun to pass
    /// them, it goes straight to the client; once one has begun to go to the client, the stream is broken off. Where that
    /// one is such an answer itself and its end is not out, only a filter that holds it or is told of it, or who serves the
    /// stream, breaks it off; from anybody else, and behind its end, a further answer changes nothing.
    pub fn local_reply(&self, reply: LocalReply) {
        let mut place = self.inner.reply.borrow_mut();
        if place.is_none() {
            let by = self.filter.filter(|_| !self.inner.responding.get());
            *place = Some((reply, by));
            self.send(Event::Wake);
        }
    }

    /// Breaks the stream off.
    pub fn close(&self) {
        if !self.inner.closing.replace(true) {
            self.send(Event::Wake);
        }
    }

    /// Lets the proxy choose a route anew for changed headers, as long as the request has not left: before the next filter
    /// is told of them, or before it leaves.
    pub fn clear_route_cache(&self) {
        self.inner.route_stale.set(true);
    }

    /// Whether this is a TCP connection and not a request.
    pub fn is_tcp(&self) -> bool {
        self.inner.tcp
    }

    /// What is known of the stream.
    pub fn info(&self) -> Ref<'_, StreamInfo> {
        self.inner.info.borrow()
    }

    /// What is known of the stream, for who finds out more.
    pub fn info_mut(&self) -> RefMut<'_, StreamInfo> {
        self.inner.info.borrow_mut()
    }

    /// What filters tell one another and the access log, by a filter's name and a key; values are JSON.
    pub fn metadata(&self) -> RefMut<'_, BTreeMap<String, BTreeMap<String, Bytes>>> {
        self.inner.metadata.borrow_mut()
    }

    /// Properties that filters gave the stream, by their paths.
    pub fn properties(&self) -> RefMut<'_, BTreeMap<Vec<u8>, Bytes>> {
        self.inner.properties.borrow_mut()
    }

    /// What the stream's thread offers.
    pub fn worker(&self) -> &Rc<dyn Worker> {
        &self.inner.worker
    }

    /// Where the stream is served, where somebody said it.
    pub fn surroundings(&self) -> Option<&Rc<dyn Surroundings>> {
        self.inner.surroundings.get()
    }

    /// The filter's handle for other threads; none for the chain's own reference.
    pub fn handle(&self) -> Option<StreamHandle> {
        Some(StreamHandle {
            filter: self.filter?,
            events: self.inner.events.clone(),
        })
    }

    fn send(&self, event: Event) {
        // A stream that is over takes nothing more.
        let _ = self.inner.events.send(event);
    }
}

fn some(place: &RefCell<Option<Headers>>) -> Option<RefMut<'_, Headers>> {
    RefMut::filter_map(place.borrow_mut(), Option::as_mut).ok()
}
