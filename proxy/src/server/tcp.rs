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
    async fn run(&mut self, may_read: bool) -> Came {
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
    connect: impl Future<Output = Connected>,
    idle: Duration,
    cluster: &str,
    http: Option<&HttpConnectionManager>,
) -> Chain {
    let mut relay = Relay::new(connection, client, cluster, http);
    let expired = end::expired(connection.site.draining());
    tokio::pin!(connect, expired);
    relay.chain.connection();
    loop {
        relay.take();
        if relay.is_over() {
            return relay.finish();
        }
        let (read_client, read_server) = relay.reads();
        let (moved, patience) = (relay.moved, relay.patience());
        let connects = relay.connecting && relay.server.is_none();
        let is_cut = relay.cut;
        tokio::select! {
            () = relay.chain.event() => {}
            came = relay.client.run(read_client) => relay.client_sent(came),
            came = run(&mut relay.server, read_server) => relay.server_sent(came),
            connected = &mut connect, if connects => relay.connected(connected),
            () = sleep(idle) => relay.failed = true,
            () = until(moved, patience) => relay.left = true,
            () = &mut expired, if !is_cut => relay.cut = true,
        }
    }
}

/// What stands behind the filters, with its address where it has one, or why it is not there.
type Connected = Result<(BoxIo, Option<SocketAddr>), String>;

/// What came from a side: bytes, none at its end, or nothing where something was written.
type Came = std::io::Result<Option<Bytes>>;

/// A connection's filters between its two sides.
struct Relay<'a> {
    connection: &'a Connection,
    cluster: &'a str,
    /// HTTP, where that stands behind the filters.
    http: Option<&'a HttpConnectionManager>,
    limit: usize,
    chain: Chain,
    client: Side,
    server: Option<Side>,
    /// What is for the server, and whether that is all, while there is none.
    early: VecDeque<Bytes>,
    early_end: bool,
    /// The filters let the server be connected to.
    connecting: bool,
    failed: bool,
    /// When something last went to the client.
    moved: Instant,
    /// The client has had his time since HTTP ended.
    left: bool,
    /// Connections have had their time.
    cut: bool,
}

impl<'a> Relay<'a> {
    fn new(
        connection: &'a Rc<Connection>,
        client: BoxIo,
        cluster: &'a str,
        http: Option<&'a HttpConnectionManager>,
    ) -> Self {
        let worker = Rc::clone(&connection.site.world) as Rc<dyn Worker>;
        let limit = connection.listener().buffer_limit as usize;
        let mut info = connection.info("TCP");
        cluster.clone_into(&mut info.cluster);
        let filters = connection.network_filters();
        let mut chain = Chain::tcp(filters, info, Settings { limit }, worker);
        chain.surround(Rc::new(Way::tcp(connection)));
        Self {
            connection,
            cluster,
            http,
            limit,
            chain,
            client: Side::new(client),
            server: None,
            early: VecDeque::new(),
            early_end: false,
            connecting: false,
            failed: false,
            moved: Instant::now(),
            left: false,
            cut: false,
        }
    }

    /// Takes what the filters let pass.
    fn take(&mut self) {
        while let Some(part) = self.chain.take(Direction::Request) {
            match part {
                Part::Headers { .. } => self.connecting = true,
                Part::Data { data, end } => match &mut self.server {
                    // Nobody reads there any more.
                    Some(server) if server.shut => {}
                    Some(server) => {
                        server.queue.extend((!data.is_empty()).then_some(data));
                        server.end |= end;
                    }
                    None => {
                        self.early.extend((!data.is_empty()).then_some(data));
                        self.early_end |= end;
                    }
                },
                Part::Trailers => {}
            }
        }
        while let Some(part) = self.chain.take(Direction::Response) {
            if let Part::Data { data, end } = part {
                self.client.queue.extend((!data.is_empty()).then_some(data));
                self.client.end |= end;
            }
        }
    }

    /// Whether the server has said all; none where there is no server.
    fn has_heard(&self) -> Option<bool> {
        self.server.as_ref().map(|server| server.read.is_none())
    }

    /// Whether the connection is at its end, well or badly.
    fn is_over(&mut self) -> bool {
        if self.cut && (self.http.is_none() || self.has_heard() != Some(false)) {
            self.chain.stream().info_mut().details = "drain_time_over".into();
            self.failed = true;
        }
        // A client of HTTP who sends on is read for a while: he would be reset otherwise, and might miss the answer.
        let is_unread = match self.http {
            Some(_) => self.left,
            None => self.server.as_ref().is_some_and(|server| server.shut),
        };
        self.failed |= self.left && !self.client.shut;
        let is_done = self.client.shut && (self.client.read.is_none() || is_unread);
        self.chain.is_closing() || self.failed || is_done
    }

    /// How long the client has since something last went to him, where HTTP has ended.
    fn patience(&self) -> Option<Duration> {
        let manager = self.http.filter(|_| self.has_heard() == Some(true))?;
        if self.client.shut {
            Some(manager.delayed_close_timeout)
        } else if self.chain.is_held(Direction::Response) {
            Some(manager.idle_timeout).filter(|time| !time.is_zero())
        } else {
            Some(manager.delayed_close_timeout.max(STALLED))
        }
    }

    /// Whether there is room for more of the client's, and of the server's.
    fn reads(&self) -> (bool, bool) {
        let to_server = match &self.server {
            Some(server) => server.queued(),
            None => self.early.iter().map(Bytes::len).sum(),
        };
        let of_client = !self.chain.is_full(Direction::Request) && to_server < self.limit;
        let to_client = self.client.queued();
        let of_server = !self.chain.is_full(Direction::Response) && to_client < self.limit;
        (of_client, of_server)
    }

    fn client_sent(&mut self, came: Came) {
        match came {
            Ok(Some(data)) => self.data(Direction::Request, data),
            Ok(None) => self.moved = Instant::now(),
            Err(_) => {
                self.chain.closed(Direction::Request, false);
                self.failed = true;
            }
        }
    }

    fn server_sent(&mut self, came: Came) {
        match came {
            Ok(Some(data)) => {
                self.moved = Instant::now();
                self.data(Direction::Response, data);
            }
            Ok(None) => {}
            Err(_) => match &mut self.server {
                // It takes nothing more: the client has what it said still to come.
                Some(server) if !server.shut && (self.http.is_some() || server.read.is_none()) => {
                    server.queue.clear();
                    server.shut = true;
                }
                _ => {
                    self.chain.closed(Direction::Response, false);
                    self.failed = true;
                }
            },
        }
    }

    /// Tells the filters what came, an end where that is nothing.
    fn data(&mut self, direction: Direction, data: Bytes) {
        let end = data.is_empty();
        self.chain.data(direction, data, end);
        if end {
            self.chain.closed(direction, false);
        }
    }

    fn connected(&mut self, connected: Connected) {
        let stream = self.chain.stream();
        match connected {
            Ok((io, address)) => {
                let mut side = Side::new(io);
                side.queue.append(&mut self.early);
                side.end = self.early_end;
                self.server = Some(side);
                stream.info_mut().upstream = address;
            }
            Err(error) => {
                let line = format!("cluster `{}`: {error}", self.cluster);
                self.connection.site.world.log(Level::Debug, "proxy", &line);
                let mut info = stream.info_mut();
                info.details = error;
                info.flag = Some(ResponseFlag::UpstreamConnectionFailure);
                self.failed = true;
            }
        }
    }

    /// Tells the filters of the end.
    fn finish(mut self) -> Chain {
        let reason = if self.chain.is_closing() || self.failed {
            self.chain.closed(Direction::Request, true);
            EndReason::Reset
        } else {
            EndReason::Done
        };
        self.chain.finish(reason);
        self.chain
    }
}

/// Lets a side that is there [run](Side::run).
async fn run(side: &mut Option<Side>, may_read: bool) -> Came {
    match side {
        Some(side) => side.run(may_read).await,
        None => pending().await,
    }
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
