//! What filters make of bodies and trailers, over HTTP/1.1 and HTTP/2 on both sides.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use filters::native::{Answer, BoxError, NativeFilter, Stream, StreamFilter};
use filters::{Direction, Headers};
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::Value;

use crate::harness::{Running, config};

/// Puts other bytes in the place of a body's last ones and trailers behind them, as its configuration says.
struct Change(Arc<Value>);

impl Change {
    fn is(&self, name: &str) -> bool {
        self.0[name] == true
    }

    /// Whether it leaves this direction as it is.
    fn leaves(&self, direction: Direction) -> bool {
        match direction {
            Direction::Request => self.0["of"] == "answer",
            Direction::Response => self.0["of"] == "request",
        }
    }

    fn headers(&self, stream: &Stream<'_, Self>, end: bool) -> Answer {
        if self.leaves(stream.direction()) {
            return Answer::Continue;
        }
        let mut headers = stream.headers(stream.direction()).expect("headers");
        if self.is("removes") {
            headers.remove("content-length");
        }
        if self.is("trails") {
            headers.add("trailer", "x-made, x-told");
        }
        if self.is("holds") && !end {
            return Answer::StopAndBuffer;
        }
        Answer::Continue
    }

    fn data(&self, stream: &Stream<'_, Self>, end: bool) -> Answer {
        let direction = stream.direction();
        if self.leaves(direction) {
            return Answer::Continue;
        }
        if end && let Some(with) = self.0["with"].as_str() {
            let mut body = stream.body(direction).expect("a body");
            let len = body.len();
            body.replace(0..len, Bytes::copy_from_slice(with.as_bytes()));
        }
        if end && self.is("trails") {
            stream.set_trailers(direction, Headers::from_iter([("x-made", "here")]));
        }
        Answer::Continue
    }
}

impl StreamFilter for Change {
    fn decode_headers(&mut self, stream: &Stream<'_, Self>, end: bool) -> Answer {
        self.headers(stream, end)
    }

    fn decode_data(&mut self, stream: &Stream<'_, Self>, end: bool) -> Answer {
        self.data(stream, end)
    }

    fn encode_headers(&mut self, stream: &Stream<'_, Self>, end: bool) -> Answer {
        self.headers(stream, end)
    }

    fn encode_data(&mut self, stream: &Stream<'_, Self>, end: bool) -> Answer {
        self.data(stream, end)
    }
}

impl NativeFilter for Change {
    type Config = Value;

    fn parse(config: &Value) -> Result<Value, BoxError> {
        Ok(config.clone())
    }

    fn new(config: &Arc<Value>) -> Self {
        Self(Arc::clone(config))
    }
}

filters::native_filter!("test.change", Change);

/// Adds to trailers that it was told of them.
struct Told;

impl Told {
    fn told(stream: &Stream<'_, Self>) -> Answer {
        let mut trailers = stream.trailers(stream.direction()).expect("trailers");
        trailers.add("x-told", "yes");
        Answer::Continue
    }
}

impl StreamFilter for Told {
    fn decode_trailers(&mut self, stream: &Stream<'_, Self>) -> Answer {
        Self::told(stream)
    }

    fn encode_trailers(&mut self, stream: &Stream<'_, Self>) -> Answer {
        Self::told(stream)
    }
}

impl NativeFilter for Told {
    type Config = ();

    fn parse(_: &Value) -> Result<(), BoxError> {
        Ok(())
    }

    fn new(_: &Arc<()>) -> Self {
        Self
    }
}

filters::native_filter!("test.told", Told);

fn native(name: &str, config: &str) -> String {
    format!(
        r#"
          - name: native
            typed_config: {{"@type": type.googleapis.com/extengine.filters.http.native.v1.Native, name: {name}, config: {config}}}"#
    )
}

/// Runs a test's part that waits, on this thread.
fn run<T>(part: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().expect("a runtime");
    let most = std::time::Duration::from_secs(20);
    runtime.block_on(async { tokio::time::timeout(most, part).await.expect("in time") })
}

fn text(map: Option<&HeaderMap>) -> String {
    let pairs = map.into_iter().flatten();
    let pairs = pairs.map(|(name, value)| format!("{name}={}", value.to_str().expect("text")));
    pairs.collect::<Vec<_>>().join(" ")
}

/// A service of either version that answers with the length that a request says, its body and its trailers.
fn service() -> SocketAddr {
    async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let length = request.headers().get("content-length").cloned();
        let length = length
            .as_ref()
            .map_or("-", |length| length.to_str().expect("text"));
        let length = length.to_owned();
        let text = match request.into_body().collect().await {
            Ok(body) => {
                let trailers = text(body.trailers());
                let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
                format!("{length} {body:?} {trailers}")
            }
            Err(_) => "broken".to_owned(),
        };
        Ok(Response::new(Full::from(text)))
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    listener.set_nonblocking(true).expect("set");
    std::thread::spawn(move || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    let io = TokioIo::new(socket);
                    let _ = server.serve_connection(io, service_fn(answer)).await;
                });
            }
        });
    });
    address
}

/// What came of a request: the answer's status, the length that it says, its body and its trailers.
type Seen = hyper::Result<(u16, Option<String>, String, String)>;

fn ask(address: SocketAddr, http2: bool, body: &'static str) -> Seen {
    let request = Request::post("http://a/").header("te", "trailers");
    let request = request.header("host", "a");
    send(address, http2, request.body(body).expect("a request"))
}

/// The status of the answer to a request with so many bytes in a header.
pub(crate) fn status(address: SocketAddr, http2: bool, bytes: usize) -> u16 {
    let request = Request::get("http://a/").header("host", "a");
    let request = request.header("large", "x".repeat(bytes));
    let seen = send(address, http2, request.body("").expect("a request"));
    seen.expect("an answer").0
}

fn send(address: SocketAddr, http2: bool, request: Request<&'static str>) -> Seen {
    run(async {
        let socket = tokio::net::TcpStream::connect(address)
            .await
            .expect("a connection");
        let io = TokioIo::new(socket);
        let request = request.map(Full::<Bytes>::from);
        let response = if http2 {
            let executor = TokioExecutor::new();
            let (mut send, connection) =
                hyper::client::conn::http2::handshake(executor, io).await?;
            tokio::spawn(connection);
            send.send_request(request).await?
        } else {
            let (mut send, connection) = hyper::client::conn::http1::handshake(io).await?;
            tokio::spawn(connection);
            send.send_request(request).await?
        };
        let status = response.status().as_u16();
        let length = response.headers().get("content-length");
        let length = length.map(|length| length.to_str().expect("text").to_owned());
        let body: Collected<Bytes> = response.into_body().collect().await?;
        let trailers = text(body.trailers());
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Ok((status, length, body, trailers))
    })
}

/// Proxies with these filters, by whether they speak HTTP/2 to the service.
fn proxies(filters: &str) -> [(bool, Running); 2] {
    [false, true].map(|http2| {
        let routes = r#"{match: {prefix: "/"}, route: {cluster: one}}"#;
        let text = config(filters, routes, &[("one", service().port())]);
        let text = match http2 {
            true => text.replace(
                "- name: one\n",
                "- name: one\n    http2_protocol_options: {}\n",
            ),
            false => text,
        };
        (http2, Running::new(&text, &[], 1))
    })
}

#[test]
fn a_body_that_a_filter_changes_has_its_own_length() {
    for with in ["something longer than before", "s", ""] {
        for how in ["holds", "removes"] {
            let change = |of| {
                let config = format!("{{of: {of}, {how}: true, with: {with:?}}}");
                proxies(&native("test.change", &config))
            };
            for (upstream, running) in change("request") {
                for http2 in [false, true] {
                    let seen = ask(running.address("main"), http2, "before").expect("an answer");
                    let length = match how {
                        "holds" => with.len().to_string(),
                        _ => "-".to_owned(),
                    };
                    let expected = format!("{length} {with:?} ");
                    assert_eq!((seen.0, &*seen.2), (200, &*expected), "{http2} {upstream}");
                }
            }
            for (upstream, running) in change("answer") {
                for http2 in [false, true] {
                    let seen = ask(running.address("main"), http2, "before").expect("an answer");
                    let length = (how == "holds").then(|| with.len().to_string());
                    let seen = (seen.1, &*seen.2);
                    assert_eq!(seen, (length, with), "{how} {http2} {upstream}");
                }
            }
        }
    }
}

#[test]
fn a_body_that_is_not_as_long_as_was_said_is_never_taken_for_whole() {
    for with in ["something much, much, much longer than before", "s"] {
        let change = |of| {
            let config = format!("{{of: {of}, with: {with:?}}}");
            proxies(&native("test.change", &config))
        };
        for (upstream, running) in change("request") {
            for http2 in [false, true] {
                let seen = ask(running.address("main"), http2, "before").expect("an answer");
                assert_eq!(seen.0, 500, "{http2} {upstream}: {seen:?}");
            }
            running.wait_for("changed the length of a request", 2);
        }
        for (upstream, running) in change("answer") {
            for http2 in [false, true] {
                let seen = ask(running.address("main"), http2, "before");
                assert!(seen.is_err(), "{http2} {upstream}: {seen:?}");
            }
            running.wait_for("changed the length of a response", 2);
        }
    }
}

#[test]
fn trailers_that_a_filter_makes_reach_other_filters_and_both_ends() {
    let told = native("test.told", "{}");
    let change = native("test.change", "{removes: true, trails: true}");
    for (upstream, running) in proxies(&format!("{told}{change}{told}")) {
        for http2 in [false, true] {
            let seen = ask(running.address("main"), http2, "body").expect("an answer");
            let (_, length, body, trailers) = seen;
            assert_eq!(length, None, "{http2} {upstream}");
            let there = r#"- "body" x-made=here x-told=yes"#;
            assert_eq!(body, there, "{http2} {upstream}");
            assert_eq!(trailers, "x-made=here x-told=yes", "{http2} {upstream}");
        }
    }
}
