//! A plugin as a filter of one stream: callbacks and actions as the chain knows them.

use std::any::Any;
use std::rc::Rc;

use filters::{Body, Direction, EndReason, Filter, Headers, LocalReply, Next, StreamRef, Verdict};

use crate::abi::{PEER_LOCAL, PEER_REMOTE};
use crate::exports::Callback;
use crate::machine::PluginInstance;
use crate::vm::Vm;

/// How many machines a stream may lose before it is taken for one that has failed.
const MAX_MOVES: u32 = 3;

/// One stream's filter.
pub(crate) struct WasmFilter {
    plugin: Rc<PluginInstance>,
    /// The machine and the context on it; none before the first callback, and when the machine was lost.
    home: Option<(Rc<Vm>, u32)>,
    /// How many machines the stream has had a context on.
    homes: u32,
    /// Nothing is asked of the plugin any more.
    out: bool,
    /// The stream has begun for this filter.
    begun: bool,
    /// What each direction is held at, with what it had been before.
    held: [Option<Held>; 2],
    /// What each direction began with for the guest, once it has passed, as it had been before.
    passed: [Option<(At, Option<Headers>)>; 2],
    /// More has passed, which no other guest can be told of: it is gone.
    gone: bool,
}

/// Something that passes.
#[derive(Clone, Copy)]
enum At {
    Connection,
    Headers { end: bool },
    Data { end: bool },
    Trailers,
}

impl At {
    /// The callback about it, and whether it is told that nothing follows.
    fn callback(self, stream: &StreamRef, direction: Direction) -> (Callback, bool) {
        match (self, direction) {
            (At::Connection, _) => (Callback::NewConnection, false),
            (At::Headers { end }, Direction::Request) => (Callback::RequestHeaders, end),
            (At::Headers { end }, Direction::Response) => (Callback::ResponseHeaders, end),
            (At::Data { end }, _) => (data_callback(stream, direction), end),
            (At::Trailers, Direction::Request) => (Callback::RequestTrailers, false),
            (At::Trailers, Direction::Response) => (Callback::ResponseTrailers, false),
        }
    }
}

/// A callback that paused, and what its stream was before.
struct Held {
    at: At,
    before: Before,
}

struct Before {
    headers: Option<Headers>,
    /// None where it was empty.
    body: Option<Body>,
    trailers: Option<Headers>,
}

/// Tells a stream's filters of a machine that theirs is lost.
pub(crate) fn lost(stream: &StreamRef, culprit: bool) {
    let visit = move |filter: &mut dyn Filter, stream: &StreamRef| {
        let filter: &mut dyn Any = filter;
        if let Some(filter) = filter.downcast_mut::<WasmFilter>() {
            filter.lost(stream, culprit);
        }
    };
    if let Some(handle) = stream.handle() {
        // A stream that is gone has lost nothing.
        let _ = handle.visit(visit);
    }
}

impl WasmFilter {
    pub(crate) fn new(plugin: &Rc<PluginInstance>) -> Self {
        Self {
            plugin: Rc::clone(plugin),
            home: None,
            homes: 0,
            out: false,
            begun: false,
            held: [None, None],
            passed: [None, None],
            gone: false,
        }
    }

    /// The machine and the stream's context on it; none where there is no machine, or too much was lost with the last one.
    fn home(&mut self, stream: &StreamRef) -> Option<(Rc<Vm>, u32)> {
        if let Some((vm, context)) = &self.home
            && vm.is_alive()
        {
            return Some((Rc::clone(vm), *context));
        }
        if self.homes > MAX_MOVES || (self.homes > 0 && self.gone) {
            return None;
        }
        let (vm, root) = self.plugin.home()?;
        let context = vm.add_stream(&root, stream).ok()?;
        self.homes += 1;
        self.home = Some((Rc::clone(&vm), context));
        for direction in Direction::BOTH {
            self.tell_again(stream, direction, &vm, context)?;
        }
        Some((vm, context))
    }

    /// Tells a new guest what has passed the one before: it sees the headers as they had been, and what it does to them and
    /// whether it pauses are of no effect any more.
    fn tell_again(
        &self,
        stream: &StreamRef,
        direction: Direction,
        vm: &Vm,
        context: u32,
    ) -> Option<()> {
        let Some((at, headers)) = &self.passed[direction as usize] else {
            return Some(());
        };
        let (callback, end) = at.callback(stream, direction);
        let place = |headers: Option<Headers>| {
            let place = stream.headers(direction);
            Some(std::mem::replace(&mut *place?, headers?))
        };
        let number = count(headers);
        let now = place(headers.clone());
        let told = vm.call(context, callback, &[context, number, u32::from(end)]);
        place(now);
        told.ok().map(drop)
    }

    /// Something that the guest was told of has passed it.
    fn note(&mut self, direction: Direction, at: At, headers: Option<Headers>) {
        match at {
            At::Connection | At::Headers { .. } => {
                self.passed[direction as usize] = Some((at, headers));
            }
            At::Data { .. } | At::Trailers => self.gone = true,
        }
    }

    /// Tells the guest of something, and what that means for the stream.
    fn pass(&mut self, stream: &StreamRef, direction: Direction, at: At) -> Verdict {
        if self.out {
            return Verdict::Continue;
        }
        if let Some(held) = self.held[direction as usize].take() {
            // All data that is still held is told again with what comes now.
            if !matches!(held.at, At::Data { .. }) || !stream.is_held(direction) {
                self.note(direction, held.at, held.before.headers);
            }
        }
        let Some((vm, context)) = self.home(stream) else {
            return self.failed(stream);
        };
        let (callback, end) = at.callback(stream, direction);
        let before = Before::of(stream, direction);
        let number = match at {
            At::Connection => 0,
            At::Headers { .. } => count(&before.headers),
            At::Data { .. } => before.body.as_ref().map_or(0, Body::len) as u32,
            At::Trailers => count(&before.trailers),
        };
        let called = vm.call(context, callback, &[context, number, u32::from(end)]);
        if called.is_ok() {
            vm.served.set(true);
        }
        match called {
            Err(_) => self.failed(stream),
            Ok(None | Some(0)) => {
                self.note(direction, at, before.headers);
                Verdict::Continue
            }
            Ok(Some(_)) => {
                self.held[direction as usize] = Some(Held { at, before });
                Verdict::Hold(match at {
                    At::Headers { .. } if self.plugin.config.body_before_headers => Next::Each,
                    At::Data { .. } if is_tcp(stream) => Next::EachWaiting,
                    At::Data { .. } => Next::Each,
                    At::Connection | At::Headers { .. } | At::Trailers => Next::Resumed,
                })
            }
        }
    }

    /// The plugin failed for this stream: it is answered by the policy.
    fn failed(&mut self, stream: &StreamRef) -> Verdict {
        self.out = true;
        self.home = None;
        if !self.plugin.is_open() {
            let reply = LocalReply::text(503, "Service Unavailable").because("wasm_failed");
            stream.local_reply(reply);
        }
        Verdict::Continue
    }

    /// The machine is lost with all that the guest knew of the stream. What it holds is told to another one's; else that
    /// waits for the next callback.
    fn lost(&mut self, stream: &StreamRef, culprit: bool) {
        if self.out || self.home.as_ref().is_some_and(|(vm, _)| vm.is_alive()) {
            return;
        }
        self.home = None;
        let held = Direction::BOTH.map(|direction| self.held[direction as usize].take());
        if culprit {
            self.failed(stream);
        }
        for (direction, held) in Direction::BOTH.into_iter().zip(held) {
            let Some(Held { at, before }) = held else {
                continue;
            };
            if !stream.is_held(direction) {
                self.note(direction, at, before.headers);
                continue;
            }
            if !self.out {
                before.restore(stream, direction);
            }
            if self.pass(stream, direction, at) == Verdict::Continue {
                stream.resume(direction);
            }
        }
    }
}

impl Before {
    fn of(stream: &StreamRef, direction: Direction) -> Self {
        let body = stream.body(direction);
        Self {
            headers: stream.headers(direction).map(|headers| headers.clone()),
            body: body.and_then(|body| (!body.is_empty()).then(|| body.clone())),
            trailers: stream.trailers(direction).map(|trailers| trailers.clone()),
        }
    }

    fn restore(self, stream: &StreamRef, direction: Direction) {
        if let (Some(mut place), Some(headers)) = (stream.headers(direction), self.headers) {
            *place = headers;
        }
        if let Some(mut place) = stream.body(direction) {
            *place = self.body.unwrap_or_default();
        }
        if let (Some(mut place), Some(trailers)) = (stream.trailers(direction), self.trailers) {
            *place = trailers;
        }
    }
}

fn count(headers: &Option<Headers>) -> u32 {
    headers.as_ref().map_or(0, Headers::len) as u32
}

fn is_tcp(stream: &StreamRef) -> bool {
    stream.is_tcp()
}

fn data_callback(stream: &StreamRef, direction: Direction) -> Callback {
    match (is_tcp(stream), direction) {
        (true, Direction::Request) => Callback::DownstreamData,
        (true, Direction::Response) => Callback::UpstreamData,
        (false, Direction::Request) => Callback::RequestBody,
        (false, Direction::Response) => Callback::ResponseBody,
    }
}

impl Filter for WasmFilter {
    fn on_connection(&mut self, stream: &StreamRef) -> Verdict {
        self.begun = true;
        self.pass(stream, Direction::Request, At::Connection)
    }

    fn on_headers(&mut self, stream: &StreamRef, direction: Direction, end: bool) -> Verdict {
        if direction == Direction::Request {
            self.begun = true;
        } else if !self.begun {
            // A filter before this one has answered: the plugin knows nothing of the stream.
            self.out = true;
        }
        self.pass(stream, direction, At::Headers { end })
    }

    fn on_data(&mut self, stream: &StreamRef, direction: Direction, end: bool) -> Verdict {
        self.pass(stream, direction, At::Data { end })
    }

    fn on_trailers(&mut self, stream: &StreamRef, direction: Direction) -> Verdict {
        self.pass(stream, direction, At::Trailers)
    }

    fn on_close(&mut self, _: &StreamRef, direction: Direction, by_us: bool) {
        if let Some((vm, context)) = &self.home {
            let callback = match direction {
                Direction::Request => Callback::DownstreamClose,
                Direction::Response => Callback::UpstreamClose,
            };
            let peer = if by_us { PEER_LOCAL } else { PEER_REMOTE };
            // The stream ends anyway; everybody else whom a failure concerns is told.
            let _ = vm.call(*context, callback, &[*context, peer]);
        }
    }

    fn on_destroy(&mut self, _: &StreamRef, _: EndReason) {
        self.out = true;
        if let Some((vm, context)) = self.home.take()
            && vm.is_alive()
        {
            // As above.
            let _ = vm.end_stream(context);
        }
    }
}
