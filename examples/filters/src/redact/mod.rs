//! Streaming redaction: the values of named fields of JSON bodies become `"***"` as they pass.

mod name;
mod scan;

use std::collections::BTreeSet;
use std::sync::Arc;

use filters::native::{Answer, BoxError, NativeFilter, Stream, StreamFilter};
use filters::{Body, Direction, Headers, Level, LocalReply};
use serde::Deserialize;
use serde_json::Value;

pub use scan::{Malformed, Scanner};

/// What is hidden where. A route's fields come to those of its listener; where either hides in requests or responses,
/// both do.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The names of the fields, at any depth, in their case; of 256 bytes at most.
    pub fields: BTreeSet<String>,
    /// Whether they are hidden in requests.
    #[serde(default)]
    pub requests: bool,
    /// Whether they are hidden in responses.
    #[serde(default = "yes")]
    pub responses: bool,
}

fn yes() -> bool {
    true
}

/// Hides fields of JSON bodies, chunk by chunk, in memory that does not grow with the body.
///
/// What cannot be read is not let through: a body that is no JSON, or is compressed, although its `content-type` says
/// JSON, is refused (400 or 415 for requests, 502 for responses), and where a part of it has gone to the client already
/// the stream is broken off. So that servers answer plainly, requests lose their `accept-encoding` and `range`.
#[derive(Debug)]
pub struct Redact {
    config: Arc<Config>,
    /// By direction: reads the body, where it is JSON.
    scanners: [Option<Scanner>; 2],
}

impl NativeFilter for Redact {
    type Config = Config;

    fn parse(config: &Value) -> Result<Config, BoxError> {
        let config = Config::deserialize(config)?;
        if config.fields.is_empty() {
            return Err("`fields` names no field".into());
        }
        if let Some(long) = config.fields.iter().find(|name| name.len() > name::LONGEST) {
            return Err(format!(
                "the field {long:?} has a name of more than {} bytes",
                name::LONGEST
            )
            .into());
        }
        Ok(config)
    }

    fn merge(parent: &Arc<Config>, child: &Arc<Config>) -> Result<Arc<Config>, BoxError> {
        Ok(Arc::new(Config {
            fields: &parent.fields | &child.fields,
            requests: parent.requests | child.requests,
            responses: parent.responses | child.responses,
        }))
    }

    fn new(config: &Arc<Config>) -> Self {
        Self {
            config: Arc::clone(config),
            scanners: [None, None],
        }
    }
}

impl StreamFilter for Redact {
    fn decode_headers(&mut self, stream: &Stream<'_, Self>, end: bool) -> Answer {
        if self.config.responses
            && let Some(mut headers) = stream.headers(Direction::Request)
        {
            headers.remove("accept-encoding");
            headers.remove("range");
        }
        self.begin(stream, self.config.requests && !end)
    }

    fn decode_data(&mut self, stream: &Stream<'_, Self>, end: bool) -> Answer {
        self.redact(stream, end)
    }

    fn decode_trailers(&mut self, stream: &Stream<'_, Self>) -> Answer {
        self.end(stream)
    }

    fn encode_headers(&mut self, stream: &Stream<'_, Self>, end: bool) -> Answer {
        self.begin(stream, self.config.responses && !end)
    }

    fn encode_data(&mut self, stream: &Stream<'_, Self>, end: bool) -> Answer {
        self.redact(stream, end)
    }

    fn encode_trailers(&mut self, stream: &Stream<'_, Self>) -> Answer {
        self.end(stream)
    }
}

impl Redact {
    /// Headers arrived; `hide` says whether fields of what follows are to be hidden.
    fn begin(&mut self, stream: &Stream<'_, Self>, hide: bool) -> Answer {
        let direction = stream.direction();
        let Some(mut headers) = stream.headers(direction).filter(|_| hide) else {
            return Answer::Continue;
        };
        if !is_json(&headers) {
            return Answer::Continue;
        }
        let encoding = headers.get("content-encoding").unwrap_or(b"identity");
        if !encoding.eq_ignore_ascii_case(b"identity") {
            drop(headers);
            return refuse(stream, 415, "its content is encoded");
        }
        // How long it will be is known at its end.
        headers.remove("content-length");
        self.scanners[direction as usize] = Some(Scanner::default());
        Answer::Continue
    }

    fn redact(&mut self, stream: &Stream<'_, Self>, end: bool) -> Answer {
        let Some(scanner) = &mut self.scanners[stream.direction() as usize] else {
            return Answer::Continue;
        };
        let scanned = stream.body(stream.direction()).map_or(Ok(()), |mut body| {
            let mut redacted = Body::default();
            while let Some(chunk) = body.pop() {
                scanner.scan(&self.config.fields, &chunk, &mut redacted)?;
            }
            *body = redacted;
            Ok(())
        });
        match scanned {
            Err(Malformed(why)) => refuse(stream, 400, why),
            Ok(()) if end => self.end(stream),
            Ok(()) => Answer::Continue,
        }
    }

    fn end(&mut self, stream: &Stream<'_, Self>) -> Answer {
        let scanner = self.scanners[stream.direction() as usize].take();
        match scanner.map_or(Ok(()), |scanner| scanner.end()) {
            Ok(()) => Answer::Continue,
            Err(Malformed(why)) => refuse(stream, 400, why),
        }
    }
}

/// Refuses a body that cannot be read: with this status where the client sent it.
fn refuse(stream: &Stream<'_, Redact>, status: u16, why: &str) -> Answer {
    let (status, whose) = match stream.direction() {
        Direction::Request => (status, "request"),
        Direction::Response => (502, "response"),
    };
    stream.log(
        Level::Warn,
        &format!("the {whose}'s fields cannot be hidden: {why}"),
    );
    let reply = LocalReply::text(status, format!("the {whose} is no plain JSON: {why}"));
    Answer::LocalReply(reply.because("not_redactable"))
}

/// Whether a content type is JSON's, one of its kin, or one document after another.
fn is_json(headers: &Headers) -> bool {
    let content = headers.get("content-type").unwrap_or_default();
    let kind = content
        .split(|&byte| byte == b';')
        .next()
        .unwrap_or_default();
    let kind = kind.trim_ascii().to_ascii_lowercase();
    kind.ends_with(b"/json")
        || kind.ends_with(b"+json")
        || matches!(&kind[..], b"application/x-ndjson" | b"application/jsonl")
}
