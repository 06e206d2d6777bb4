//! A TCP connection through its filters to a cluster, or to what stands behind them.

use std::collections::VecDeque;
use std::future::pending;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use filters::{Chain, Direction, EndReason, Level, Part, ResponseFlag, Settings, Worker};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::Instant;

use super::access;
use super::connection::{BoxIo, Connection};
use super::end;
use super::way::Way;
use crate::config::{ChainEnd, HttpConnectionManager};

/// How much is read at a time.
const CHUNK: usize = 16 << 10;

/// How long a client may take nothing of what is left for him, at least.
const STALLED: Duration = Duration::from_secs(1);

/// Through the filters to the cluster of a TCP proxy.
pub(crate) async fn to_cluster(connection: &Rc<Connection>, client: BoxIo) {
    let ChainEnd::Tcp(proxy) = &connection.chain().end else {
        return;
    };
    let site = &connection.site;
    let total = format!("tcp.{}.connections_total", proxy.stat_prefix);
    site.world.metrics().count(&total);
    let upstream = site.upstreams.get(&proxy.cluster);
    let connect = async move {
        let upstream = upstream.ok_or_else(|| "there is no such cluster".to_owned())?;
        let (io, address) = upstream
            .connect()
            .await
            .map_err(|error| error.to_string())?;
        Ok((Box::new(io) as BoxIo, Some(address)))
    };
    let chain = drive(
        connection,
        client,
        connect,
        proxy.idle_timeout,
        &proxy.cluster,
        None,
    )
    .await;
    for format in &proxy.access_logs {
        access::log(format, &chain.stream(), &site.generation.lines);
    }
}

/// Through the filters to HTTP, which is there already.
pub(crate) async fn to_http(connection: &Rc<Connection>, client: BoxIo, server: BoxIo) {
    let ChainEnd::Http(manager) = &connection.chain().end else {
        return;
    };
    let connect = async move { Ok((server, None)) };
    // While HTTP goes on, it is HTTP that ends a connection.
    let time = Duration::MAX;
    drive(connection, client, connect, time, "", Some(manager)).await;
}

/// One side of the connection.
struct Side {
    read: Option<ReadHalf<BoxIo>>,
    write: WriteHalf<BoxIo>,
    /// What is to be written, and whether nothing follows.
    queue: VecDeque<Bytes>,
    end: bool,
    shut: bool,
}

impl Side {
    fn new(io: BoxIo) -> Self {
        let (read, write) = tokio::io::split(io);
        Self {
            read: Some(read),
            write,
            queue: VecDeque::new(),
            end: false,
            shut: false,
        }
    }

    fn queued(&self) -> usize {
        self.queue.iter().map(Bytes::len).sum()
    }

    fn wants_to_write(&self) -> bool {
        !self.queue.is_empty() || (self.end && !self.shut)
    }

    /// Writes what waits, and reads where that is wanted; answers what was read, nothing at the end.
    ///
    /// It may be given up at any time: what was written is gone from the queue, and what was read is answered.
    async fn run(&mut self, may_read: bool) -> std::io::Result<Option<Bytes>> {
        let writes = self.wants_to_write();
        let Self {
            read, write, queue, ..
        } = self;
        let mut buffer = BytesMut::new();
        let reading = async {
            match read {
                Some(read) if may_read => {
                    buffer.reserve(CHUNK);
                    read.read_buf(&mut buffer).await
                }
                _ => pending().await,
            }
        };
        let writing = async {
            match queue.front() {
                _ if !writes => pending().await,
                Some(front) => write.write(front).await,
                None => write.shutdown().await.map(|()| 0),
            }
        };
        tokio::select! {
            count = reading => {
                if count? == 0 {
                    self.read = None;
                }
                Ok(Some(buffer.freeze()))
            }
            written = writing => {
                let written = written?;
                match self.queue.front_mut() {
                    Some(front) => front.advance(written),
                    None => self.shut = true,
                }
                self.queue.pop_front_if(|front| front.is_empty());
                if self.queue.is_empty() && !self.shut {
                    self.write.flush().await?;
                }
                Ok(None)
            }
        }
    }
}

/// Drives the filters of a connection to its end, and answers what they saw.
async fn drive(
    connection: &Rc<Connection>,
    client: BoxIo,
    connect: impl Future<Output = Result<(BoxIo, Option<SocketAddr>), String>>,
    idle: Duration,
    cluster: &str,
    http: Option<&HttpConnectionManager>,
) -> Chain {
    let site = &connection.site;
    let worker = Rc::clone(&site.world) as Rc<dyn Worker>;
    let settings = Settings {
        limit: connection.listener().buffer_limit as usize,
    };
    let mut info = connection.info("TCP");
    cluster.clone_into(&mut info.cluster);
    let mut chain = Chain::tcp(connection.network_filters(), info, settings, worker);
    chain.surround(Rc::new(Way::tcp(connection)));
    let mut client = Side::new(client);
    let mut server: Option<Side> = None;
    let mut early = VecDeque::new();
    let mut early_end = false;
    let mut connecting = false;
    let mut failed = false;
    // When something last went to the client, whether he has had his time since HTTP ended, and connections theirs.
    let mut moved = Instant::now();
    let mut left = false;
    let mut cut = false;
    let expired = end::expired(site.draining());
    tokio::pin!(connect, expired);
    chain.connection();
    loop {
        while let Some(part) = chain.take(Direction::Request) {
            match part {
                Part::Headers { .. } => connecting = true,
                Part::Data { data, end } => match &mut server {
                    // Nobody reads there any more.
                    Some(server) if server.shut => {}
                    Some(server) => {
                        server.queue.extend((!data.is_empty()).then_some(data));
                        server.end |= end;
                    }
                    None => {
                        early.extend((!data.is_empty()).then_some(data));
                        early_end |= end;
                    }
                },
                Part::Trailers => {}
            }
        }
        while let Some(part) = chain.take(Direction::Response) {
            if let Part::Data { data, end } = part {
                client.queue.extend((!data.is_empty()).then_some(data));
                client.end |= end;
            }
        }
        let server_shut = server.as_ref().is_some_and(|server| server.shut);
        let behind = server.as_ref().map(|server| server.read.is_none());
        if cut && (http.is_none() || behind != Some(false)) {
            chain.stream().info_mut().details = "drain_time_over".into();
            failed = true;
        }
        // A client of HTTP who sends on is read for a while: he would be reset otherwise, and might miss the answer.
        let unread = if http.is_some() { left } else { server_shut };
        failed |= left && !client.shut;
        let done = client.shut && (client.read.is_none() || unread);
        if chain.is_closing() || failed || done {
            break;
        }
        let patience = match http {
            Some(manager) if behind == Some(true) => {
                if client.shut {
                    Some(manager.delayed_close_timeout)
                } else if chain.is_held(Direction::Response) {
                    Some(manager.idle_timeout).filter(|time| !time.is_zero())
                } else {
                    Some(manager.delayed_close_timeout.max(STALLED))
                }
            }
            _ => None,
        };
        let limit = settings.limit;
        let to_server = server
            .as_ref()
            .map_or_else(|| early.iter().map(Bytes::len).sum(), Side::queued);
        let read_client = !chain.is_full(Direction::Request) && to_server < limit;
        let read_server = !chain.is_full(Direction::Response) && client.queued() < limit;
        let has_server = server.is_some();
        tokio::select! {
            () = chain.event() => {}
            came = client.run(read_client) => match came {
                Ok(Some(data)) => {
                    let end = data.is_empty();
                    chain.data(Direction::Request, data, end);
                    if end {
                        chain.closed(Direction::Request, false);
                    }
                }
                Ok(None) => moved = Instant::now(),
                Err(_) => {
                    chain.closed(Direction::Request, false);
                    failed = true;
                }
            },
            came = async { match &mut server { Some(server) => server.run(read_server).await, None => pending().await } } => match came {
                Ok(Some(data)) => {
                    moved = Instant::now();
                    let end = data.is_empty();
                    chain.data(Direction::Response, data, end);
                    if end {
                        chain.closed(Direction::Response, false);
                    }
                }
                Ok(None) => {}
                Err(_) => match &mut server {
                    // It takes nothing more: the client has what it said still to come.
                    Some(server) if !server.shut && (http.is_some() || server.read.is_none()) => {
                        server.queue.clear();
                        server.shut = true;
                    }
                    _ => {
                        chain.closed(Direction::Response, false);
                        failed = true;
                    }
                },
            },
            connected = &mut connect, if connecting && !has_server => match connected {
                Ok((io, address)) => {
                    let mut side = Side::new(io);
                    side.queue.append(&mut early);
                    side.end = early_end;
                    server = Some(side);
                    chain.stream().info_mut().upstream = address;
                }
                Err(error) => {
                    site.world.log(Level::Debug, "proxy", &format!("cluster `{cluster}`: {error}"));
                    let stream = chain.stream();
                    let mut info = stream.info_mut();
                    info.details = error;
                    info.flag = Some(ResponseFlag::UpstreamConnectionFailure);
                    failed = true;
                }
            },
            () = sleep(idle) => failed = true,
            () = until(moved, patience) => left = true,
            () = &mut expired, if !cut => cut = true,
        }
    }
    let reason = if chain.is_closing() || failed {
        chain.closed(Direction::Request, true);
        EndReason::Reset
    } else {
        EndReason::Done
    };
    chain.finish(reason);
    chain
}

/// Waits until a time after another is over; for ever where there is none.
async fn until(from: Instant, time: Option<Duration>) {
    match time.and_then(|time| from.checked_add(time)) {
        Some(until) => tokio::time::sleep_until(until).await,
        None => pending().await,
    }
}

/// Sleeps; for ever where the time is none.
pub(crate) async fn sleep(time: Duration) {
    if time.is_zero() || time == Duration::MAX {
        pending().await
    } else {
        tokio::time::sleep(time).await;
    }
}
