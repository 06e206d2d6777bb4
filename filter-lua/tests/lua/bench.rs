//! One stream with one script: what is put in, and what comes out, in words.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use filter_lua::{LuaConfig, LuaFilters, LuaLimits, LuaRoute, Machines};
use filters::Direction::{self, Request, Response};
use filters::callout::HttpAnswer;
use filters::testing::{self, TestWorker};
use filters::{Chain, Headers, Part, Settings, StreamInfo};

/// No busy machine makes a script late.
const LONG: LuaLimits = LuaLimits {
    memory: 8 << 20,
    deadline_ms: 60_000,
    stack: 512 << 10,
};

pub(crate) fn config(script: &str) -> LuaConfig {
    LuaConfig {
        default_source_code: Some(script.to_owned()),
        limits: LONG,
        ..LuaConfig::default()
    }
}

pub(crate) fn thread(script: &str) -> Rc<Machines> {
    thread_of(config(script))
}

pub(crate) fn thread_of(config: LuaConfig) -> Rc<Machines> {
    LuaFilters::load(config).expect("it loads").on_thread()
}

/// A stream with its worker.
pub(crate) struct Stream {
    pub(crate) chain: Chain,
    pub(crate) worker: Rc<TestWorker>,
}

impl Stream {
    /// A stream with a script, whose worker knows the clusters `a` and `b`.
    pub(crate) fn new(script: &str) -> Self {
        Self::on(&thread(script), &worker())
    }

    pub(crate) fn on(thread: &Rc<Machines>, worker: &Rc<TestWorker>) -> Self {
        Self::with(thread, worker, None, StreamInfo::default())
    }

    pub(crate) fn with(
        thread: &Rc<Machines>,
        worker: &Rc<TestWorker>,
        route: Option<&Arc<LuaRoute>>,
        info: StreamInfo,
    ) -> Self {
        let filters = vec![thread.filter(route)];
        let settings = Settings { limit: 100 };
        let worker = Rc::clone(worker);
        let chain = Chain::new(filters, info, settings, Rc::clone(&worker) as _);
        Self { chain, worker }
    }

    pub(crate) fn request(&mut self, end: bool) -> &mut Self {
        let headers = [(":method", "POST"), (":path", "/p"), ("a", "1"), ("A", "2")];
        self.chain
            .headers(Request, Headers::from_iter(headers), end);
        self
    }

    pub(crate) fn respond(&mut self, end: bool) -> &mut Self {
        let headers = [(":status", "200"), ("content-length", "9")];
        self.chain
            .headers(Response, Headers::from_iter(headers), end);
        self
    }

    pub(crate) fn data(
        &mut self,
        direction: Direction,
        data: &'static str,
        end: bool,
    ) -> &mut Self {
        self.chain
            .data(direction, Bytes::from_static(data.as_bytes()), end);
        self
    }

    pub(crate) fn trailers(&mut self, direction: Direction) -> &mut Self {
        self.chain
            .trailers(direction, Headers::from_iter([("t", "1")]));
        self
    }

    /// Answers the oldest call under way; in words what was asked.
    pub(crate) fn answer(&mut self, status: &str, body: &'static str) -> String {
        let headers = [(":status", status), ("x", "1"), ("y", "2"), ("x", "3")];
        let answer = HttpAnswer {
            headers: Headers::from_iter(headers),
            body: Bytes::from_static(body.as_bytes()),
            trailers: Headers::default(),
        };
        let call = self.worker.answer_next(Ok(answer)).expect("a call");
        self.chain.pump();
        let headers = words(&call.headers);
        let body = String::from_utf8_lossy(&call.body);
        format!("{} {headers} {body:?} {:?}", call.cluster, call.timeout)
    }

    /// Everything that came out of a direction.
    pub(crate) fn out(&mut self, direction: Direction) -> String {
        let end_of = |end| if end { ", end" } else { "" };
        let mut said = Vec::new();
        while let Some(part) = self.chain.take(direction) {
            said.push(match part {
                Part::Headers { end } => {
                    let stream = self.chain.stream();
                    let headers = words(&stream.headers(direction).expect("headers"));
                    format!("{headers}{}", end_of(end))
                }
                Part::Data { data, end } => {
                    format!("{:?}{}", String::from_utf8_lossy(&data), end_of(end))
                }
                Part::Trailers => {
                    let stream = self.chain.stream();
                    words(&stream.trailers(direction).expect("trailers"))
                }
            });
        }
        said.join(" | ")
    }

    /// What was logged.
    pub(crate) fn log(&self) -> String {
        log(&self.worker)
    }

    pub(crate) fn counted(&self, name: &str) -> u64 {
        use filters::Worker as _;
        self.worker
            .metrics()
            .get(name)
            .map_or(0, |metric| metric.get())
    }
}

pub(crate) fn worker() -> Rc<TestWorker> {
    let worker = testing::worker();
    worker.clusters.replace(vec!["a".into(), "b".into()]);
    worker
}

pub(crate) fn log(worker: &TestWorker) -> String {
    let lines = worker.lines.take();
    let lines = lines
        .iter()
        .map(|(level, _, line)| format!("{}: {line}", level.name()));
    lines.collect::<Vec<_>>().join("\n")
}

fn words(headers: &Headers) -> String {
    let pair = |(name, value): (&[u8], &[u8])| {
        format!(
            "{}={}",
            String::from_utf8_lossy(name),
            String::from_utf8_lossy(value)
        )
    };
    headers.pairs().map(pair).collect::<Vec<_>>().join(" ")
}

/// What a script logs that runs on a request without a body.
pub(crate) fn says(body: &str) -> String {
    let script = format!(
        "function envoy_on_request(handle)\nlocal say = function(...) print(...) end\n{body}\nend"
    );
    let mut stream = Stream::new(&script);
    stream.request(true);
    stream.log().replace("info: ", "")
}
