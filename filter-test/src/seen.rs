//! A stream of a case as it is seen from outside: what was put in, what came out, and what can be read of it.

use std::rc::Rc;

use bytes::Bytes;
use filters::{Body, Chain, Direction, EndReason, Headers, Part, Settings, StreamInfo, Worker};

use crate::case::{Message, Setup, Went};
use crate::plugin::Subject;
use crate::world::World;

/// A stream with what came out of it so far.
pub(crate) struct Stream {
    pub(crate) chain: Chain,
    arrived: [bool; 2],
    out: [Body; 2],
    pub(crate) ended: bool,
}

/// What a request has where a case does not say it.
const REQUEST: &[(&str, &str)] = &[
    (":method", "GET"),
    (":path", "/"),
    (":authority", "example.com"),
    (":scheme", "http"),
];

/// What a response has where a case does not say it.
pub(crate) const RESPONSE: &[(&str, &str)] = &[(":status", "200")];

/// Headers, with what every message has in front of them.
pub(crate) fn filled(headers: &Headers, defaults: &[(&str, &str)]) -> Headers {
    let missing = defaults
        .iter()
        .filter(|(name, _)| headers.get(name).is_none());
    let mut all: Headers = missing.copied().collect();
    all.extend(headers.pairs());
    all
}

impl Stream {
    pub(crate) fn new(subject: &dyn Subject, setup: &Setup, world: &Rc<World>, tcp: bool) -> Self {
        let worker = Rc::clone(world) as Rc<dyn Worker>;
        let info = StreamInfo {
            connection: 1,
            protocol: if tcp { "TCP" } else { "HTTP/1.1" },
            start: world.time(),
            ..StreamInfo::default()
        };
        let filters = vec![subject.filter()];
        let make = if tcp { Chain::tcp } else { Chain::new };
        let mut chain = make(filters, info, Settings::default(), worker);
        let stream = chain.stream();
        for (path, value) in setup.properties.iter().flatten() {
            let (path, value) = (property(path), value.0.clone());
            let mut info = stream.info_mut();
            info.attributes.insert(path.clone(), value.clone());
            stream.properties().insert(path, value);
        }
        if tcp {
            chain.connection();
        }
        Self {
            chain,
            arrived: [tcp, false],
            out: Default::default(),
            ended: false,
        }
    }

    /// Puts a message's parts in; the last one is the end unless more follows.
    pub(crate) fn arrive(&mut self, direction: Direction, message: &Message) {
        self.arrived[direction as usize] = true;
        let chunks = message.body.as_ref().map_or(&[][..], |body| &body.0);
        let behind = message.more || message.trailers.is_some();
        if let Some(headers) = &message.headers {
            let defaults = match direction {
                Direction::Request => REQUEST,
                Direction::Response => RESPONSE,
            };
            let headers = filled(&headers.0, defaults);
            let end = !behind && chunks.is_empty();
            self.chain.headers(direction, headers, end);
        }
        for (number, chunk) in chunks.iter().enumerate() {
            let end = !behind && number + 1 == chunks.len();
            self.chain.data(direction, chunk.clone(), end);
        }
        if let Some(trailers) = &message.trailers {
            self.chain.trailers(direction, trailers.0.clone());
        }
    }

    /// Does what the stream was asked for, and takes what comes out.
    pub(crate) fn settle(&mut self) {
        self.chain.pump();
        for direction in Direction::BOTH {
            while let Some(part) = self.chain.take(direction) {
                if let Part::Data { data, .. } = part {
                    self.out[direction as usize].push(data);
                }
            }
        }
    }

    pub(crate) fn end(&mut self, reason: EndReason) {
        self.ended = true;
        self.chain.finish(reason);
    }

    /// How far a direction is.
    pub(crate) fn went(&self, direction: Direction) -> Went {
        let answered = self.chain.is_answered();
        if direction == Direction::Request && answered {
            Went::Answered
        } else if !self.arrived[direction as usize] && !answered {
            Went::Nothing
        } else if self.chain.is_held(direction) {
            Went::Held
        } else {
            Went::Passed
        }
    }

    pub(crate) fn headers(&self, direction: Direction) -> Headers {
        let headers = self
            .chain
            .stream()
            .headers(direction)
            .map(|map| map.clone());
        headers.unwrap_or_default()
    }

    pub(crate) fn trailers(&self, direction: Direction) -> Headers {
        let stream = self.chain.stream();
        let trailers = stream.trailers(direction).map(|map| map.clone());
        trailers.unwrap_or_default()
    }

    /// What came out of a body.
    pub(crate) fn body(&self, direction: Direction) -> Bytes {
        self.out[direction as usize].to_bytes()
    }

    pub(crate) fn property(&self, path: &str) -> Option<Bytes> {
        let stream = self.chain.stream();
        let properties = stream.properties();
        properties.get(&property(path)).cloned()
    }

    /// What a filter told others: its name, a dot, and a key.
    pub(crate) fn metadata(&self, path: &str) -> Option<Bytes> {
        let (filter, key) = path.rsplit_once('.')?;
        let stream = self.chain.stream();
        let metadata = stream.metadata();
        metadata.get(filter)?.get(key).cloned()
    }

    pub(crate) fn details(&self) -> String {
        self.chain.stream().info().details.clone()
    }

    pub(crate) fn status(&self) -> u16 {
        self.chain.stream().info().status
    }

    /// Everything that can be seen, to be compared with the same stream on another runtime.
    pub(crate) fn facts(&self) -> Vec<(&'static str, String)> {
        let [request, response] = Direction::BOTH;
        let properties = self.chain.stream().properties().clone();
        let metadata = self.chain.stream().metadata().clone();
        vec![
            ("request", self.went(request).name().into()),
            ("response", self.went(response).name().into()),
            ("request headers", format!("{:?}", self.headers(request))),
            ("request trailers", format!("{:?}", self.trailers(request))),
            ("request body", format!("{:?}", self.body(request))),
            ("response headers", format!("{:?}", self.headers(response))),
            (
                "response trailers",
                format!("{:?}", self.trailers(response)),
            ),
            ("response body", format!("{:?}", self.body(response))),
            ("details", self.details()),
            ("properties", format!("{properties:?}")),
            ("metadata", format!("{metadata:?}")),
            ("closed", self.chain.is_closing().to_string()),
        ]
    }
}

/// A property's path as filters write it.
fn property(path: &str) -> Vec<u8> {
    path.replace('.', "\0").into_bytes()
}
