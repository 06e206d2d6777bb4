//! What clusters do on real connections; servers and clients share one thread.

mod certificates;
mod dns;
mod grpc;
mod http;
mod requests;
mod tls;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::{Request, Response};
use bytes::Bytes;
use filters::Headers;
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::config::{
    Cluster, Discovery, DnsFamily, Endpoint, Http2Options, Place, UpstreamProtocol,
};

use super::*;

const HTTP2: UpstreamProtocol = UpstreamProtocol::Http2(Http2Options {
    max_concurrent_streams: None,
    initial_stream_window_size: None,
    initial_connection_window_size: None,
});

/// Runs a test on a thread as a worker has it.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    LocalSet::new().block_on(&runtime, test);
}

/// A cluster `backend` with endpoints at these addresses.
fn cluster(addresses: &[SocketAddr], protocol: UpstreamProtocol) -> Cluster {
    let endpoint = |address: &SocketAddr| Endpoint {
        host: address.ip().to_string(),
        port: address.port(),
        hostname: String::new(),
    };
    Cluster {
        place: Place::default(),
        name: "backend".to_owned(),
        discovery: Discovery::Static,
        family: DnsFamily::Auto,
        dns_refresh: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        endpoints: addresses.iter().map(endpoint).collect(),
        protocol,
        tls: None,
        buffer_limit: 1 << 20,
        metadata: BTreeMap::new(),
    }
}

/// The clusters of a worker, of which this is the one.
fn upstreams(cluster: Cluster) -> Rc<Upstreams> {
    Upstreams::new(&prepare(&[cluster]).expect("the cluster has no mistakes"))
}

/// A worker's one cluster, with what keeps it.
fn backend(cluster: Cluster) -> (Rc<Upstreams>, Rc<Upstream>) {
    let upstreams = upstreams(cluster);
    let backend = upstreams.get("backend").expect("the cluster is there");
    (upstreams, backend)
}

/// A server, and how many connections it took and has.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    taken: Rc<Cell<usize>>,
    open: tokio::sync::watch::Receiver<usize>,
}

/// Answers every connection.
async fn serve_connections<F: Future<Output = ()> + 'static>(
    handle: impl Fn(tokio::net::TcpStream) -> F + 'static,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let (count, open) = tokio::sync::watch::channel(0);
    let server = Server {
        address: listener.local_addr().expect("it has an address"),
        taken: Rc::default(),
        open,
    };
    let (taken, count) = (server.taken.clone(), Rc::new(count));
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            taken.set(taken.get() + 1);
            count.send_modify(|open| *open += 1);
            let (work, count) = (handle(stream), count.clone());
            spawn_local(async move {
                work.await;
                count.send_modify(|open| *open -= 1);
            });
        }
    });
    server
}

/// Answers requests, with TLS where it is configured.
async fn serve<F: Future<Output = Response<BoxBody>> + 'static>(
    protocol: UpstreamProtocol,
    tls: Option<Arc<ServerConfig>>,
    answer: impl Fn(Request<Incoming>) -> F + Clone + 'static,
) -> Server {
    serve_connections(move |stream| {
        let (answer, tls) = (answer.clone(), tls.clone());
        async move {
            match tls {
                None => serve_one(stream, protocol == UpstreamProtocol::Http1, answer).await,
                Some(config) => {
                    if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
                        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                        serve_one(stream, !is_http2, answer).await;
                    }
                }
            }
        }
    })
    .await
}

/// Answers the requests of one connection; how it ends is the client's to see.
async fn serve_one<F: Future<Output = Response<BoxBody>> + 'static>(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    is_http1: bool,
    answer: impl Fn(Request<Incoming>) -> F + 'static,
) {
    let service = service_fn(move |request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let stream = TokioIo::new(stream);
    let _ = if is_http1 {
        http1::Builder::new()
            .serve_connection(stream, service)
            .await
    } else {
        http2::Builder::new(pool::Local)
            .serve_connection(stream, service)
            .await
    };
}

/// A body that is there.
fn full(bytes: impl Into<Bytes>) -> BoxBody {
    Box::pin(Full::new(bytes.into()).map_err(|never| match never {}))
}

/// A body of frames that are sent as they come.
fn frames() -> (UnboundedSender<Frame<Bytes>>, BoxBody) {
    let (send, receive) = unbounded_channel();
    (send, Box::pin(Frames(receive)))
}

struct Frames(UnboundedReceiver<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

/// A request for a path, with a body.
fn post(path: &str, body: BoxBody) -> Request<BoxBody> {
    let headers = Headers::from_iter([
        (":method", "POST"),
        (":path", path),
        (":authority", "example.com"),
        ("x-one", "1"),
    ]);
    crate::headers::request(&headers, body).expect("it is a request")
}

/// The whole body of an answer.
async fn text(response: Response<ResponseBody>) -> String {
    let body = response.into_body().collect().await;
    let body = body.expect("the body comes to an end").to_bytes();
    String::from_utf8_lossy(&body).into_owned()
}
