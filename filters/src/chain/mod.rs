//! The filters of one stream in a row: what is put in, what comes out, and local replies.

mod pass;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;

use bytes::Bytes;
use tokio::task::coop::cooperative;

use crate::filter::{Direction, EndReason, Filter, Verdict};
use crate::handle::Event;
use crate::headers::Headers;
use crate::mailbox::Mailbox;
use crate::panics::{self, Panic};
use crate::stream::{Inner, LocalReply, StreamInfo, StreamRef};
use crate::surroundings::Surroundings;
use crate::worker::{Level, Worker};

pub(crate) use pass::Place;

/// What a chain holds at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of a body that one filter may hold in one direction; what one chunk is beyond it may be there for a moment.
    pub limit: usize,
}

impl Default for Settings {
    /// 1 MiB.
    fn default() -> Self {
        Self { limit: 1 << 20 }
    }
}

/// What comes out of a chain. Headers and trailers are the [stream's](Chain::stream).
#[derive(Clone, Debug)]
pub enum Part {
    /// The headers, and nothing behind them where `end` is set. Of a TCP stream: the connection to the server may be made.
    Headers {
        /// Whether there is neither body nor trailers.
        end: bool,
    },
    /// A piece of the body, the last of all where `end` is set.
    Data {
        /// The bytes; none where this is only the end.
        data: Bytes,
        /// Whether nothing follows.
        end: bool,
    },
    /// The trailers. Nothing follows.
    Trailers,
}

/// What is known of a body's length when its headers go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// No filter has changed it so far.
    AsBefore,
    /// A filter has changed it, and more is to come.
    Changed,
    /// All of it is there, so many bytes.
    Known(u64),
}

/// The filters of one stream.
pub struct Chain {
    inner: Rc<Inner>,
    /// None where a filter has panicked: whatever comes passes its place.
    filters: Vec<Option<Box<dyn Filter>>>,
    settings: Settings,
    /// By direction: no more callbacks.
    cut: [bool; 2],
    /// The answer is the chain's own.
    answered: bool,
    /// A response has begun to pass the filters.
    begun: bool,
    /// A response has come out.
    sent: bool,
    /// A response has come out to its end.
    ended: bool,
    finished: bool,
    out: [VecDeque<Part>; 2],
    out_bytes: [usize; 2],
    /// By direction: a filter has let another number of bytes pass than it was told of.
    changed: [bool; 2],
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain")
            .field("filters", &self.filters.len())
            .field("answered", &self.answered)
            .field("begun", &self.begun)
            .finish_non_exhaustive()
    }
}

impl Chain {
    /// A chain for a new stream of HTTP.
    pub fn new(
        filters: Vec<Box<dyn Filter>>,
        info: StreamInfo,
        settings: Settings,
        worker: Rc<dyn Worker>,
    ) -> Self {
        Self::of(filters, info, settings, worker, false)
    }

    fn of(
        filters: Vec<Box<dyn Filter>>,
        info: StreamInfo,
        settings: Settings,
        worker: Rc<dyn Worker>,
        tcp: bool,
    ) -> Self {
        let slots = filters.iter().map(|_| Default::default()).collect();
        let inner = Rc::new(Inner {
            tcp,
            headers: Default::default(),
            trailers: Default::default(),
            slots,
            info: RefCell::new(info),
            reply: RefCell::default(),
            responding: Cell::default(),
            closing: Cell::default(),
            route_stale: Cell::default(),
            metadata: RefCell::default(),
            properties: RefCell::default(),
            events: Mailbox::default(),
            surroundings: OnceCell::new(),
            worker,
        });
        Self {
            inner,
            filters: filters.into_iter().map(Some).collect(),
            settings,
            cut: [false; 2],
            answered: false,
            begun: false,
            sent: false,
            ended: false,
            finished: false,
            out: Default::default(),
            out_bytes: [0; 2],
            changed: [false; 2],
        }
    }

    /// A chain for a new TCP connection: it begins with [`Chain::connection`] and has data alone.
    pub fn tcp(
        filters: Vec<Box<dyn Filter>>,
        info: StreamInfo,
        settings: Settings,
        worker: Rc<dyn Worker>,
    ) -> Self {
        let chain = Self::of(filters, info, settings, worker, true);
        for slot in &chain.inner.slots {
            slot[Direction::Response as usize]
                .borrow_mut()
                .pass_headers();
        }
        chain
    }

    /// The stream, as who serves it sees it.
    pub fn stream(&self) -> StreamRef {
        StreamRef {
            inner: Rc::clone(&self.inner),
            filter: None,
        }
    }

    /// Says where the stream is served; the first word counts.
    pub fn surround(&mut self, surroundings: Rc<dyn Surroundings>) {
        let _ = self.inner.surroundings.set(surroundings);
    }

    /// A TCP connection was made.
    pub fn connection(&mut self) {
        self.arrive(Direction::Request, self.first(Direction::Request), false);
        self.pump();
    }

    /// Headers arrived from outside.
    pub fn headers(&mut self, direction: Direction, headers: Headers, end: bool) {
        if direction == Direction::Response {
            // A response that comes behind an answer of our own is for nobody.
            if std::mem::replace(&mut self.begun, true) {
                return;
            }
            self.inner.info.borrow_mut().status = status(&headers);
        }
        *self.inner.headers[direction as usize].borrow_mut() = Some(headers);
        self.arrive(direction, self.first(direction), end);
        self.pump();
    }

    /// Data arrived from outside.
    pub fn data(&mut self, direction: Direction, data: Bytes, end: bool) {
        if direction == Direction::Request {
            self.inner.info.borrow_mut().received += data.len() as u64;
        }
        if !self.is_ignored(direction) {
            self.flow(direction, self.first(direction), data, end);
            self.pump();
        }
    }

    /// Trailers arrived from outside.
    pub fn trailers(&mut self, direction: Direction, trailers: Headers) {
        if !self.is_ignored(direction) {
            *self.inner.trailers[direction as usize].borrow_mut() = Some(trailers);
            self.trail(direction, self.first(direction));
            self.pump();
        }
    }

    /// One side of a TCP connection was closed.
    pub fn closed(&mut self, direction: Direction, by_us: bool) {
        for filter in 0..self.filters.len() {
            self.visit(filter, |filter, stream| {
                filter.on_close(stream, direction, by_us);
            });
        }
        self.pump();
    }

    /// Waits until somebody asks something of the stream from outside of its callbacks, and does it.
    pub async fn event(&mut self) {
        let taken = poll_fn(|context| self.inner.events.poll_take(context));
        // However much is asked for, the thread's other tasks have their turn.
        let event = cooperative(taken).await;
        self.perform(event);
        self.pump();
    }

    /// Does whatever is asked of the stream by now.
    pub fn pump(&mut self) {
        self.settle();
        while let Some(event) = self.inner.events.take() {
            self.perform(event);
            self.settle();
        }
    }

    /// Takes what came out.
    pub fn take(&mut self, direction: Direction) -> Option<Part> {
        let part = self.out[direction as usize].pop_front()?;
        if let Part::Data { data, .. } = &part {
            self.out_bytes[direction as usize] -= data.len();
            if direction == Direction::Response {
                self.inner.info.borrow_mut().sent += data.len() as u64;
            }
        }
        Some(part)
    }

    /// Whether a filter may have changed what passes.
    pub fn has_filters(&self) -> bool {
        !self.filters.is_empty()
    }

    /// What is known of the length of a body whose headers were taken just now.
    pub fn length(&self, direction: Direction) -> Length {
        let out = &self.out[direction as usize];
        match out.back() {
            Some(Part::Data { end: true, .. } | Part::Trailers) => {
                Length::Known(self.out_bytes[direction as usize] as u64)
            }
            _ if self.changed[direction as usize] => Length::Changed,
            _ => Length::AsBefore,
        }
    }

    /// Whether the sender of a direction should wait: a filter holds as much as it may, or what came out is not taken.
    pub fn is_full(&self, direction: Direction) -> bool {
        let limit = self.settings.limit;
        let full = |slot: &[Place; 2]| slot[direction as usize].borrow().is_full(limit);
        self.out_bytes[direction as usize] >= limit || self.inner.slots.iter().any(full)
    }

    /// Whether a filter holds something of a direction, or what may still come of it.
    pub fn is_held(&self, direction: Direction) -> bool {
        let held = |slot: &[Place; 2]| slot[direction as usize].borrow().is_held();
        self.inner.slots.iter().any(held)
    }

    /// Whether the answer is the chain's own: nothing more goes to the server, and nothing of it is taken.
    pub fn is_answered(&self) -> bool {
        self.answered
    }

    /// Whether the stream is to be broken off.
    pub fn is_closing(&self) -> bool {
        self.inner.closing.get()
    }

    /// Whether a filter asked since the last time for a new choice of the route.
    pub fn take_route_stale(&self) -> bool {
        self.inner.route_stale.take()
    }

    /// Ends the stream: its filters may log it, and are gone then.
    pub fn finish(&mut self, reason: EndReason) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.cut = [true; 2];
        for filter in 0..self.filters.len() {
            self.visit(filter, |filter, stream| filter.on_log(stream));
        }
        for filter in 0..self.filters.len() {
            self.visit(filter, |filter, stream| filter.on_destroy(stream, reason));
        }
        for filter in &mut self.filters {
            let gone = filter.take();
            // Nothing is left to answer for its panic.
            let _ = panics::catch(move || drop(gone));
        }
        let events = &self.inner.events;
        events.close();
        // Who waits for a turn that does not come learns of it now.
        while let Some(event) = events.take() {
            let _ = panics::catch(move || drop(event));
        }
    }

    /// Has the route chosen anew where a filter asked for it; the filters from a place on, which know nothing of the stream
    /// yet, become what the route makes of them.
    fn reroute(&mut self, from: usize) {
        let Some(surroundings) = self.inner.surroundings.get().map(Rc::clone) else {
            return;
        };
        if self.take_route_stale() {
            let filters = surroundings.reroute(&self.stream(), from);
            for (place, filter) in self.filters[from..].iter_mut().zip(filters) {
                *place = Some(filter);
            }
        }
    }

    fn perform(&mut self, event: Event) {
        match event {
            Event::Wake => {}
            Event::Resume(filter, direction, verdict) => {
                let place = &self.inner.slots[filter][direction as usize];
                place.resuming.set(false);
                self.resume(direction, filter, verdict);
            }
            Event::Visit(filter, visit) => self.visit(filter, visit),
        }
    }

    /// Calls a filter for something that has no verdict.
    fn visit(&mut self, place: usize, run: impl FnOnce(&mut dyn Filter, &StreamRef)) {
        let stream = self.stream_of(place);
        if let Some(Some(filter)) = self.filters.get_mut(place)
            && let Err(panic) = panics::catch(|| run(&mut **filter, &stream))
        {
            self.broke(place, panic);
        }
    }

    /// Calls a filter for its verdict; none where the direction is cut off by what it did.
    fn ask(
        &mut self,
        direction: Direction,
        place: usize,
        run: impl FnOnce(&mut dyn Filter, &StreamRef) -> Verdict,
    ) -> Option<Verdict> {
        if self.cut[direction as usize] {
            return None;
        }
        let stream = self.stream_of(place);
        let verdict = match &mut self.filters[place] {
            None => Verdict::Continue,
            Some(filter) => {
                let responding = direction == Direction::Response;
                self.inner.responding.set(responding);
                let verdict = panics::catch(|| run(&mut **filter, &stream));
                let verdict = verdict.unwrap_or_else(|panic| {
                    self.broke(place, panic);
                    Verdict::Continue
                });
                self.inner.responding.set(false);
                verdict
            }
        };
        self.settle();
        (!self.cut[direction as usize]).then_some(verdict)
    }

    /// A filter panicked: it is never called again, and its stream is answered for.
    fn broke(&mut self, place: usize, Panic(seen): Panic) {
        let filter = self.filters[place].take();
        let _ = panics::catch(move || drop(filter));
        let worker = &self.inner.worker;
        worker.metrics().count("filters_panics_total");
        let line = format!("filter {place} of the chain panicked: {seen}");
        worker.log(Level::Error, "filters", &line);
        if !self.finished {
            let reply = LocalReply::text(500, "Internal Server Error").because("filter_panic");
            self.stream_of(place).local_reply(reply);
        }
    }

    /// Acts on a local reply and on a wish to close.
    fn settle(&mut self) {
        if self.inner.closing.get() {
            self.cut = [true; 2];
            return;
        }
        if self.inner.reply.borrow().is_some()
            && let Some((reply, by)) = self.inner.reply.take()
        {
            self.answer(reply, by);
        }
    }

    fn answer(&mut self, reply: LocalReply, by: Option<usize>) {
        if self.answered && self.sent {
            // A second answer says nothing new, unless it comes from who keeps the first one from its end.
            let waits = |by| self.stream_of(by).is_held(Direction::Response);
            if self.ended || !by.is_none_or(waits) {
                return;
            }
        }
        self.cut_off(Direction::Request);
        self.answered = true;
        if self.inner.tcp || self.sent {
            self.inner.closing.set(true);
            self.cut = [true; 2];
            return;
        }
        let (headers, body) = self.response(&reply);
        {
            let mut info = self.inner.info.borrow_mut();
            info.status = status(&headers);
            info.details = reply.details;
        }
        *self.inner.headers[Direction::Response as usize].borrow_mut() = Some(headers);
        // Those of a server's response are not this one's.
        self.inner.trailers[Direction::Response as usize].take();
        let end = body.is_empty();
        let direction = Direction::Response;
        let way = if std::mem::replace(&mut self.begun, true) {
            // A response is with the filters already: what they have of it is worth nothing any more.
            self.cut_off(direction);
            None
        } else {
            self.first(direction)
        };
        self.arrive(direction, way, end);
        if !end {
            self.flow(direction, way, body, true);
        }
    }

    /// A reply's headers and body, in gRPC's form for who speaks it.
    fn response(&self, reply: &LocalReply) -> (Headers, Bytes) {
        let request = self.inner.headers[Direction::Request as usize].borrow();
        let content = request
            .as_ref()
            .and_then(|headers| headers.get("content-type"));
        let is_grpc = content.is_some_and(|content| content.starts_with(b"application/grpc"));
        let mut headers = Headers::default();
        if !is_grpc {
            headers.add(":status", reply.status.to_string());
            headers.extend(reply.headers.pairs());
            if matches!(reply.status, 100..200 | 204 | 304) {
                // HTTP gives these no content, whatever a filter says.
                headers.remove("content-length");
                return (headers, Bytes::new());
            }
            headers.replace("content-length", reply.body.len().to_string());
            return (headers, reply.body.clone());
        }
        headers.add(":status", "200");
        headers.extend(reply.headers.pairs());
        headers.replace("content-type", "application/grpc");
        headers.remove("content-length");
        let status = reply.grpc_status.unwrap_or(grpc_status(reply.status));
        headers.replace("grpc-status", status.to_string());
        if !reply.body.is_empty() {
            headers.replace("grpc-message", percent(&reply.body));
        }
        (headers, Bytes::new())
    }

    /// Forgets what is under way in a direction, and calls no filter for it any more.
    fn cut_off(&mut self, direction: Direction) {
        self.cut[direction as usize] = true;
        self.out[direction as usize].clear();
        self.out_bytes[direction as usize] = 0;
        self.changed[direction as usize] = false;
        for slot in &self.inner.slots {
            slot[direction as usize].borrow_mut().clear();
        }
    }

    fn is_ignored(&self, direction: Direction) -> bool {
        self.answered || self.cut[direction as usize]
    }

    fn stream_of(&self, place: usize) -> StreamRef {
        StreamRef {
            inner: Rc::clone(&self.inner),
            filter: Some(place),
        }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.finish(EndReason::Reset);
    }
}

fn status(headers: &Headers) -> u16 {
    let status = headers.text(":status");
    status.and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// The status of gRPC that a status of HTTP stands for, as gRPC's own table has it.
fn grpc_status(status: u16) -> u32 {
    match status {
        200 => 0,
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// A message as gRPC has it in a header: whatever is not plain ASCII as `%XX`.
fn percent(message: &[u8]) -> String {
    use fmt::Write as _;
    let mut text = String::new();
    for &byte in message {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            text.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}
