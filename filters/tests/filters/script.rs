//! A filter that answers from a script and notes what it was told.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use filters::{
    Chain, Direction, EndReason, Filter, Headers, Part, Settings, StreamInfo, StreamRef, Verdict,
    testing,
};

pub(crate) type Notes = Rc<RefCell<Vec<String>>>;

/// What a script does in the place of a verdict.
pub(crate) type Step = Box<dyn FnMut(&StreamRef) -> Verdict>;

#[derive(Default)]
pub(crate) struct Script {
    pub(crate) name: &'static str,
    pub(crate) notes: Notes,
    pub(crate) headers: VecDeque<Step>,
    pub(crate) data: VecDeque<Step>,
    pub(crate) trailers: VecDeque<Step>,
    /// Its stream, for who resumes it.
    pub(crate) stream: Rc<RefCell<Option<StreamRef>>>,
}

impl Script {
    pub(crate) fn new(name: &'static str, notes: &Notes) -> Self {
        Self {
            name,
            notes: Rc::clone(notes),
            ..Self::default()
        }
    }

    pub(crate) fn headers(mut self, step: impl FnMut(&StreamRef) -> Verdict + 'static) -> Self {
        self.headers.push_back(Box::new(step));
        self
    }

    pub(crate) fn data(mut self, step: impl FnMut(&StreamRef) -> Verdict + 'static) -> Self {
        self.data.push_back(Box::new(step));
        self
    }

    pub(crate) fn trailers(mut self, step: impl FnMut(&StreamRef) -> Verdict + 'static) -> Self {
        self.trailers.push_back(Box::new(step));
        self
    }

    fn note(&self, stream: &StreamRef, what: String) {
        *self.stream.borrow_mut() = Some(stream.clone());
        self.notes
            .borrow_mut()
            .push(format!("{}: {what}", self.name));
    }
}

fn way(direction: Direction) -> &'static str {
    match direction {
        Direction::Request => "request",
        Direction::Response => "response",
    }
}

fn end_of(end: bool) -> &'static str {
    if end { ", end" } else { "" }
}

fn step(steps: &mut VecDeque<Step>, stream: &StreamRef) -> Verdict {
    match steps.pop_front() {
        Some(mut step) => step(stream),
        None => Verdict::Continue,
    }
}

impl Filter for Script {
    fn on_connection(&mut self, stream: &StreamRef) -> Verdict {
        self.note(stream, "connection".into());
        step(&mut self.headers, stream)
    }

    fn on_headers(&mut self, stream: &StreamRef, direction: Direction, end: bool) -> Verdict {
        let way = way(direction);
        self.note(stream, format!("{way} headers{}", end_of(end)));
        step(&mut self.headers, stream)
    }

    fn on_data(&mut self, stream: &StreamRef, direction: Direction, end: bool) -> Verdict {
        let body = stream.body(direction).expect("a body").to_bytes();
        let (way, body) = (way(direction), String::from_utf8_lossy(&body).into_owned());
        self.note(stream, format!("{way} data {body:?}{}", end_of(end)));
        step(&mut self.data, stream)
    }

    fn on_trailers(&mut self, stream: &StreamRef, direction: Direction) -> Verdict {
        self.note(stream, format!("{} trailers", way(direction)));
        step(&mut self.trailers, stream)
    }

    fn on_close(&mut self, stream: &StreamRef, direction: Direction, by_us: bool) {
        let by = if by_us { "us" } else { "them" };
        self.note(stream, format!("{} closed by {by}", way(direction)));
    }

    fn on_log(&mut self, stream: &StreamRef) {
        self.note(stream, "log".into());
    }

    fn on_destroy(&mut self, stream: &StreamRef, reason: EndReason) {
        self.note(stream, format!("destroy {reason:?}"));
    }
}

pub(crate) fn chain(filters: Vec<Script>, limit: usize) -> Chain {
    Chain::new(
        boxed(filters),
        StreamInfo::default(),
        Settings { limit },
        testing::worker(),
    )
}

pub(crate) fn boxed(filters: Vec<Script>) -> Vec<Box<dyn Filter>> {
    filters
        .into_iter()
        .map(|filter| Box::new(filter) as Box<dyn Filter>)
        .collect()
}

pub(crate) fn request(chain: &mut Chain, end: bool) {
    let headers = Headers::from_iter([(":method", "POST"), (":path", "/")]);
    chain.headers(Direction::Request, headers, end);
}

pub(crate) fn respond(chain: &mut Chain, end: bool) {
    let headers = Headers::from_iter([(":status", "200")]);
    chain.headers(Direction::Response, headers, end);
}

pub(crate) fn data(chain: &mut Chain, direction: Direction, data: &'static str, end: bool) {
    chain.data(direction, Bytes::from_static(data.as_bytes()), end);
}

/// Everything that came out of a direction, in words.
pub(crate) fn out(chain: &mut Chain, direction: Direction) -> String {
    let mut words = Vec::new();
    while let Some(part) = chain.take(direction) {
        words.push(match part {
            Part::Headers { end } => format!("headers{}", end_of(end)),
            Part::Data { data, end } => {
                format!("{}{}", String::from_utf8_lossy(&data), end_of(end))
            }
            Part::Trailers => "trailers".into(),
        });
    }
    words.join(" | ")
}

pub(crate) fn notes(notes: &Notes) -> String {
    notes.take().join("\n")
}
