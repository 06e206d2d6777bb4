//! HTTP on a connection: its protocol, and one task for each request.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use filters::Worker as _;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;

use super::connection::{BoxIo, Connection};
use super::{stream, tcp};
use crate::config::{ChainEnd, Codec, HttpConnectionManager};
use crate::upstream::BoxError;

/// Runs what a connection needs on its own thread.
#[derive(Clone, Copy, Debug)]
struct Local;

impl<F: Future + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        spawn_local(async move {
            future.await;
        });
    }
}

/// A stream was broken off.
#[derive(Debug)]
pub(crate) struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the stream was broken off")
    }
}

impl std::error::Error for Broken {}

/// A body that comes piece by piece. Where its sender goes without an end, it is broken off.
#[derive(Debug)]
pub(crate) struct Pieces {
    receive: Option<mpsc::Receiver<Piece>>,
}

/// A piece of a body.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Data, or trailers.
    Frame(Frame<Bytes>),
    /// Nothing follows.
    End,
}

impl Pieces {
    /// A body without anything.
    pub(crate) fn none() -> Self {
        Self { receive: None }
    }

    /// A body, and where its pieces are put.
    pub(crate) fn new() -> (mpsc::Sender<Piece>, Self) {
        let (send, receive) = mpsc::channel(4);
        let receive = Some(receive);
        (send, Self { receive })
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(receive) = &mut self.receive else {
            return Poll::Ready(None);
        };
        let piece = std::task::ready!(receive.poll_recv(context));
        Poll::Ready(match piece {
            Some(Piece::Frame(frame)) => Some(Ok(frame)),
            Some(Piece::End) => {
                self.receive = None;
                None
            }
            None => {
                self.receive = None;
                Some(Err(Box::new(Broken)))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.receive.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.receive {
            Some(_) => SizeHint::default(),
            None => SizeHint::with_exact(0),
        }
    }
}

/// Serves the requests of a connection.
pub(crate) async fn serve(connection: &Rc<Connection>, io: BoxIo) {
    let ChainEnd::Http(manager) = &connection.chain().end else {
        return;
    };
    let site = &connection.site;
    let prefix = &manager.stat_prefix;
    site.world
        .metrics()
        .count(&format!("http.{prefix}.connections_total"));
    let builder = builder(manager);
    let service = service_fn(|request: Request<Incoming>| {
        let connection = Rc::clone(connection);
        async move { answer(connection, request).await }
    });
    let serving = builder.serve_connection(TokioIo::new(io), service);
    let mut serving = std::pin::pin!(serving);
    let mut draining = site.draining();
    let drained = async { draining.wait_for(|draining| *draining).await.map(drop) };
    tokio::select! {
        // How a connection ends concerns its streams, which know it.
        _ = serving.as_mut() => {}
        _ = drained => {
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                _ = serving.as_mut() => {}
                () = tcp::sleep(manager.drain_timeout) => {}
            }
        }
    }
}

fn builder(manager: &HttpConnectionManager) -> auto::Builder<Local> {
    let mut builder = auto::Builder::new(Local);
    let most = manager.max_request_headers_kb as usize * 1024;
    builder
        .http1()
        .timer(TokioTimer::new())
        // The least that hyper takes.
        .max_buf_size(most.max(8192))
        .header_read_timeout(Some(manager.idle_timeout).filter(|time| !time.is_zero()));
    let mut http2 = builder.http2();
    http2
        .timer(TokioTimer::new())
        .max_header_list_size(most.try_into().unwrap_or(u32::MAX))
        .max_concurrent_streams(manager.http2.max_concurrent_streams.or(Some(1024)));
    if let Some(size) = manager.http2.initial_stream_window_size {
        http2.initial_stream_window_size(size);
    }
    if let Some(size) = manager.http2.initial_connection_window_size {
        http2.initial_connection_window_size(size);
    }
    match manager.codec {
        Codec::Auto => builder,
        Codec::Http1 => builder.http1_only(),
        Codec::Http2 => builder.http2_only(),
    }
}

/// Answers one request by a task of its own, which outlives the answer's head.
async fn answer(
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Pieces>, Broken> {
    let (head, response) = oneshot::channel();
    let protocol = match request.version() {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    };
    spawn_local(stream::run(connection, protocol, request, head));
    // A task that ended without an answer broke the stream off.
    response.await.map_err(|_| Broken)
}
