//! A plugin as a filter of one stream: callbacks and actions as the chain knows them.

use std::any::Any;
use std::rc::Rc;

use engine_core::error::Result;
use filters::{Body, Direction, EndReason, Filter, Headers, LocalReply, Next, StreamRef, Verdict};

use crate::abi::{PEER_LOCAL, PEER_REMOTE};
use crate::context::LastData;
use crate::exports::Callback;
use crate::machine::PluginInstance;
use crate::vm::Vm;

/// How many machines a stream may lose before it is taken for one that has failed.
const MAX_MOVES: u32 = 3;

/// How many callbacks, and bytes of bodies, are kept of a stream so that another guest can be told of them.
const MAX_PASSED: usize = 16;
const MAX_PASSED_BYTES: usize = 64 << 10;

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
    /// What the guest was told of and has passed, as it had been before.
    passed: Vec<(Direction, Held)>,
    passed_bytes: usize,
    /// More has passed than is kept, so no other guest can be told of it.
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

#[derive(Clone)]
struct Before {
    headers: Option<Headers>,
    /// None where it was empty.
    body: Option<Body>,
    trailers: Option<Headers>,
}

/// Tells a guest of something for a context of its, which may have passed another one already.
fn tell(
    (vm, context): (&Vm, u32),
    stream: &StreamRef,
    direction: Direction,
    Held { at, before }: &Held,
    passed: bool,
) -> Result<Option<u32>> {
    let (callback, end) = at.callback(stream, direction);
    let number = match at {
        At::Connection => 0,
        At::Headers { .. } => count(&before.headers),
        At::Data { .. } => before.body.as_ref().map_or(0, Body::len) as u32,
        At::Trailers => count(&before.trailers),
    };
    let is_last = matches!(at, At::Data { end: true }) && !is_tcp(stream);
    vm.state.last_data.set(is_last.then_some(LastData {
        context,
        direction,
        passed,
    }));
    let told = vm.call(context, callback, &[context, number, u32::from(end)]);
    vm.state.last_data.set(None);
    told
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
            passed: Vec::new(),
            passed_bytes: 0,
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
        for (direction, held) in &self.passed {
            // It sees everything as it had been; what it does to that, and whether it pauses, is of no effect any more.
            let now = Before::of(stream, *direction);
            held.before.clone().restore(stream, *direction);
            let told = tell((&vm, context), stream, *direction, held, true);
            now.restore(stream, *direction);
            told.ok()?;
        }
        Some((vm, context))
    }

    /// Something that the guest was told of has passed it.
    fn note(&mut self, direction: Direction, held: Held) {
        self.passed_bytes += held.before.body.as_ref().map_or(0, Body::len);
        self.gone |= self.passed.len() == MAX_PASSED || self.passed_bytes > MAX_PASSED_BYTES;
        if self.gone {
            self.passed.clear();
        } else {
            self.passed.push((direction, held));
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
                self.note(direction, held);
            }
        }
        let Some((vm, context)) = self.home(stream) else {
            return self.failed(stream);
        };
        let before = Before::of(stream, direction);
        let held = Held { at, before };
        let called = tell((&vm, context), stream, direction, &held, false);
        if called.is_ok() {
            vm.served.set(true);
        }
        match called {
            Err(_) => self.failed(stream),
            Ok(None | Some(0)) => {
                self.note(direction, held);
                Verdict::Continue
            }
            Ok(Some(_)) => {
                self.held[direction as usize] = Some(held);
                Verdict::Hold(match at {
                    At::Headers { .. } if self.plugin.config().body_before_headers => Next::Each,
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
            let Some(held) = held else { continue };
            if !stream.is_held(direction) {
                self.note(direction, held);
                continue;
            }
            let Held { at, before } = held;
            if !self.out {
                if let (At::Data { end: true }, Some(mut trailers)) =
                    (at, stream.trailers(direction))
                {
                    // Only the guest that is lost can have put them there.
                    *trailers = Headers::default();
                }
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
