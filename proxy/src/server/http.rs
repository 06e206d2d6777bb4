//! HTTP on a connection: its protocol, and its requests.

use std::rc::Rc;

use filters::Worker as _;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper::{Request, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::task::spawn_local;

use super::connection::{BoxIo, Connection};
use super::counts::Counts;
use super::end::{self, Drain, Lingering};
use super::stream;
use crate::config::{ChainEnd, Codec, HttpConnectionManager};
use crate::upstream::{BoxError, words};

/// Bytes of a request's head of HTTP/1 that are neither names nor values.
const FRAMING: usize = 1 << 10;

/// How much of a request's headers is heard with HTTP/2, at least: who sends more than is taken is answered, and only beyond
/// this the connection is broken off.
const HEARD: usize = 256 << 10;

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

/// Serves the requests of a connection.
pub(crate) async fn serve(connection: &Rc<Connection>, io: BoxIo) {
    let ChainEnd::Http(manager) = &connection.chain().end else {
        return;
    };
    let site = &connection.site;
    let counts = Rc::new(Counts::new(site.world.metrics(), &manager.stat_prefix));
    counts.connection();
    let builder = builder(manager);
    let service = service_fn(|request: Request<Incoming>| {
        let protocol = protocol(request.version());
        connection.life.is_http2.set(protocol == "HTTP/2");
        stream::answer(Rc::clone(connection), Rc::clone(&counts), protocol, request)
    });
    let io = Lingering::new(io, connection, manager.delayed_close_timeout);
    let serving = builder.serve_connection(TokioIo::new(io), service);
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        ended = serving.as_mut() => return refused(connection, &counts, ended),
        () = due(connection, manager) => {}
    }
    serving.as_mut().graceful_shutdown();
    tokio::select! {
        ended = serving.as_mut() => refused(connection, &counts, ended),
        // The client does not do his part.
        () = connection.life.stalled(manager.drain_timeout) => {}
        () = end::expired(site.draining()) => connection.life.is_cut.set(true),
    }
}

/// Takes note of an end for which no stream stands: the client sent what HTTP/1 has no sense for. All other ends concern
/// streams, which know them.
fn refused(connection: &Connection, counts: &Counts, ended: Result<(), BoxError>) {
    let Err(error) = ended else { return };
    let is_parse = error.downcast_ref::<hyper::Error>();
    if !is_parse.is_some_and(hyper::Error::is_parse) {
        return;
    }
    counts.protocol_error();
    let site = &connection.site;
    let line = format!("no HTTP with {}: {}", connection.peer, words(&*error));
    site.no_http.say(&site.world, &line);
}

/// Waits until a connection should take no more streams.
async fn due(connection: &Connection, manager: &HttpConnectionManager) {
    let life = &connection.life;
    let mut draining = connection.site.draining();
    let drained = async {
        // With HTTP/1 it is the next answer that tells the client: to close at once would lose the request that he may be
        // sending.
        if end::told(&mut draining).await == Drain::Replaced && !life.is_http2.get() {
            let stopping = draining.wait_for(|drain| *drain == Drain::Stopping);
            tokio::select! {
                () = tokio::time::sleep(manager.drain_timeout) => {}
                _ = stopping => {}
            }
        }
    };
    tokio::select! {
        () = life.idle(manager.idle_timeout), if !manager.idle_timeout.is_zero() => {}
        () = drained => {}
    }
}

fn builder(manager: &HttpConnectionManager) -> auto::Builder<Local> {
    let mut builder = auto::Builder::new(Local);
    let most = manager.headers_limit();
    builder
        .http1()
        // What stands between names and values comes to it; hyper itself takes no less than 8 KiB.
        .max_buf_size((most + FRAMING).max(8192))
        // A connection whose request's head does not come is idle.
        .header_read_timeout(None);
    let mut http2 = builder.http2();
    http2
        .timer(TokioTimer::new())
        .max_header_list_size((4 * most).max(HEARD).try_into().unwrap_or(u32::MAX))
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

/// How logs write a request's version of HTTP.
fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}
