//! A stream with one of the example filters, found by name.

use std::rc::Rc;
use std::sync::LazyLock;

use filters::Direction::{self, Request, Response};
use filters::native::NativeConfig;
use filters::testing::{self, TestWorker};
use filters::{Chain, Headers, Part, Settings, StreamInfo};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
// What is only known by name must still be linked.
use filters_examples as _;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).build().expect("a runtime")
});

pub(crate) struct Bench {
    pub(crate) chain: Chain,
    pub(crate) worker: Rc<TestWorker>,
}

pub(crate) fn config(name: &str, config: Value) -> NativeConfig {
    NativeConfig::parse(name, &config).expect("a right configuration")
}

pub(crate) fn bench(config: &NativeConfig) -> Bench {
    let worker = testing::worker();
    let filters = vec![config.filter(RUNTIME.handle())];
    let (info, settings) = (StreamInfo::default(), Settings::default());
    Bench {
        chain: Chain::new(filters, info, settings, worker.clone()),
        worker,
    }
}

impl Bench {
    /// A request arrives, without a body.
    pub(crate) fn request(&mut self, headers: &[(&str, &str)]) {
        self.chain
            .headers(Request, headers.iter().copied().collect(), true);
    }

    /// A message of a direction arrives in chunks.
    pub(crate) fn message(
        &mut self,
        direction: Direction,
        headers: &[(&str, &str)],
        chunks: &[&str],
    ) {
        self.chain
            .headers(direction, headers.iter().copied().collect(), false);
        for (number, chunk) in chunks.iter().enumerate() {
            let end = number + 1 == chunks.len();
            self.chain
                .data(direction, chunk.as_bytes().to_vec().into(), end);
        }
    }

    /// The body that came out of a direction, and whether it came to its end.
    pub(crate) fn body(&mut self, direction: Direction) -> (String, bool) {
        let (mut body, mut ended) = (String::new(), false);
        while let Some(part) = self.chain.take(direction) {
            match part {
                Part::Headers { end } => ended |= end,
                Part::Data { data, end } => {
                    body.push_str(std::str::from_utf8(&data).expect("text"));
                    ended |= end;
                }
                Part::Trailers => ended = true,
            }
        }
        (body, ended)
    }

    /// Does what tasks ask of the stream until something comes out of a direction; answers its headers.
    pub(crate) fn until_headers(&mut self, direction: Direction) -> Headers {
        while self.chain.take(direction).is_none() {
            RUNTIME.block_on(self.chain.event());
        }
        self.headers(direction)
    }

    pub(crate) fn headers(&self, direction: Direction) -> Headers {
        let stream = self.chain.stream();
        let headers = stream.headers(direction).expect("headers");
        headers.clone()
    }

    /// The status of the response, and why the proxy itself answered.
    pub(crate) fn answered(&self) -> (u16, String) {
        let stream = self.chain.stream();
        let info = stream.info();
        (info.status, info.details.clone())
    }

    /// What was logged.
    pub(crate) fn log(&self) -> String {
        let lines = self.worker.lines.borrow();
        let lines: Vec<_> = lines.iter().map(|(.., line)| &line[..]).collect();
        lines.join("\n")
    }
}

/// The headers of a JSON response of this length.
pub(crate) const JSON: &[(&str, &str)] = &[
    (":status", "200"),
    ("content-type", "application/json; charset=utf-8"),
    ("content-length", "99"),
];

/// What a direction's message is called.
pub(crate) const BOTH: [Direction; 2] = [Request, Response];
