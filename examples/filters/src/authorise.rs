//! Asynchronous authorisation: a service is asked whether a request may pass.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use filters::callout::HttpCall;
use filters::native::{Answer, BoxError, NativeFilter, Outcome, Stream, StreamFilter};
use filters::{Direction, Headers, Level, LocalReply};
use serde::Deserialize;
use serde_json::Value;

/// How requests are authorised. A route's own configuration takes the place of its listener's.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "mode", rename_all = "lowercase", deny_unknown_fields)]
pub enum Config {
    /// Every request passes.
    Off,
    /// A service decides.
    Ask(Ask),
}

/// Who is asked, and what its answers mean.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// The cluster of the service.
    pub cluster: String,
    /// The path that is asked for, with the token's header of the request.
    #[serde(default = "root")]
    pub path: String,
    /// The header that has the token.
    #[serde(default = "authorization")]
    pub token: String,
    /// A header of the service's answer that an allowed request takes on, in the place of the client's own.
    pub identity: Option<String>,
    /// How long the service may take, in milliseconds.
    #[serde(default = "second")]
    pub timeout_ms: u64,
    /// Whether requests pass while the service gives no answer; they are refused with 503 otherwise.
    #[serde(default)]
    pub fail_open: bool,
}

fn root() -> String {
    "/".into()
}

fn authorization() -> String {
    "authorization".into()
}

fn second() -> u64 {
    1000
}

/// Lets a request pass where a service answers 2xx to its token. Any other answer below 500, or no token, is 403; no
/// answer, or one from 500 on, is an outage, and the configuration says what happens then.
#[derive(Debug)]
pub struct Authorise(Arc<Config>);

impl NativeFilter for Authorise {
    type Config = Config;

    fn parse(config: &Value) -> Result<Config, BoxError> {
        Ok(Config::deserialize(config)?)
    }

    fn new(config: &Arc<Config>) -> Self {
        Self(Arc::clone(config))
    }
}

impl StreamFilter for Authorise {
    fn decode_headers(&mut self, stream: &Stream<'_, Self>, _end: bool) -> Answer {
        let Config::Ask(ask) = &*self.0 else {
            return Answer::Continue;
        };
        let call = {
            let Some(mut headers) = stream.headers(Direction::Request) else {
                return Answer::Continue;
            };
            if let Some(identity) = &ask.identity {
                headers.remove(identity);
            }
            let Some(token) = headers.get(&ask.token) else {
                return denied("no_token");
            };
            ask.call(token)
        };
        let answer = stream.http(call);
        stream.spawn(async move {
            let answer = answer.await;
            Outcome::then(move |Self(config), stream| {
                let Config::Ask(ask) = &**config else {
                    return Answer::Continue;
                };
                match answer {
                    Ok(answer) => ask.decide(&answer.headers, stream),
                    Err(why) => ask.outage(&why.to_string(), stream),
                }
            })
        });
        Answer::Running
    }
}

impl Ask {
    fn call(&self, token: &[u8]) -> HttpCall {
        let mut headers = Headers::from_iter([
            (":method", "GET"),
            (":path", &self.path),
            (":authority", &self.cluster),
        ]);
        headers.add(&self.token, token);
        HttpCall {
            cluster: self.cluster.clone(),
            headers,
            body: Bytes::new(),
            trailers: Headers::default(),
            timeout: Some(Duration::from_millis(self.timeout_ms)),
        }
    }

    fn decide(&self, answer: &Headers, stream: &Stream<'_, Authorise>) -> Answer {
        let status = answer
            .text(":status")
            .and_then(|status| status.parse().ok());
        match status {
            Some(200..=299) => {
                if let Some(name) = &self.identity
                    && let Some(identity) = answer.get(name)
                    && let Some(mut headers) = stream.headers(Direction::Request)
                {
                    headers.replace(name, identity);
                }
                Answer::Continue
            }
            Some(300..=499) => denied("denied"),
            _ => self.outage("it failed itself", stream),
        }
    }

    fn outage(&self, why: &str, stream: &Stream<'_, Authorise>) -> Answer {
        let line = format!("cluster {} did not authorise: {why}", self.cluster);
        stream.log(Level::Warn, &line);
        if self.fail_open {
            return Answer::Continue;
        }
        let reply = LocalReply::text(503, "Service Unavailable");
        Answer::LocalReply(reply.because("authorisation_outage"))
    }
}

fn denied(details: &str) -> Answer {
    Answer::LocalReply(LocalReply::text(403, "Forbidden").because(details))
}
