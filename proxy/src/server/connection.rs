//! A connection that came in: its TLS, its filter chain, and what stands at the chain's end.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use filters::stream::TlsInfo;
use filters::{Filter, Level, StreamInfo, Worker as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio_rustls::rustls::{ProtocolVersion, ServerConnection};
use tokio_rustls::{LazyConfigAcceptor, rustls};

use super::end::Life;
use super::site::Site;
use super::{http, tcp};
use crate::config::{ChainEnd, FilterChain, HttpConnectionManager, Listener};

/// Bytes both ways.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// Any bytes both ways.
pub(crate) type BoxIo = Box<dyn Io>;

/// Bytes between network filters and what stands behind them.
const BETWEEN: usize = 64 << 10;

/// How long a client may take for its TLS handshake.
const HANDSHAKE: std::time::Duration = std::time::Duration::from_secs(15);

/// What is known of a connection.
pub(crate) struct Connection {
    pub(crate) site: Rc<Site>,
    pub(crate) listener: usize,
    pub(crate) chain: usize,
    id: u64,
    pub(crate) peer: SocketAddr,
    local: Option<SocketAddr>,
    pub(crate) tls: Option<TlsInfo>,
    pub(crate) life: Life,
}

impl Connection {
    pub(crate) fn listener(&self) -> &Listener {
        &self.site.generation.bootstrap.listeners[self.listener]
    }

    pub(crate) fn chain(&self) -> &FilterChain {
        &self.listener().filter_chains[self.chain]
    }

    /// What stands at the chain's end, where that is HTTP.
    pub(crate) fn manager(&self) -> Option<&HttpConnectionManager> {
        match &self.chain().end {
            ChainEnd::Http(manager) => Some(manager),
            ChainEnd::Tcp(_) => None,
        }
    }

    /// What a stream on the connection knows of it.
    pub(crate) fn info(&self, protocol: &'static str) -> StreamInfo {
        StreamInfo {
            connection: self.id,
            protocol,
            source: Some(self.peer),
            destination: self.local,
            tls: self.tls.clone(),
            listener: self.listener().name.clone(),
            start: self.site.world.time(),
            ..StreamInfo::default()
        }
    }

    /// The filters of the chain's network plugins.
    pub(crate) fn network_filters(&self) -> Vec<Box<dyn Filter>> {
        let plugins = self.chain().plugins.iter();
        plugins
            .filter_map(|plugin| self.site.plugin(plugin))
            .collect()
    }
}

/// Counts a connection while it is open.
struct Open(Rc<Site>);

impl Open {
    fn new(site: &Rc<Site>) -> Self {
        site.connections.set(site.connections.get() + 1);
        Self(Rc::clone(site))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.set(self.0.connections.get() - 1);
    }
}

/// Serves a connection to its end.
pub(crate) async fn serve(site: Rc<Site>, listener: usize, socket: TcpStream, peer: SocketAddr) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let _open = Open::new(&site);
    let mut connection = Connection {
        listener,
        chain: 0,
        id: LAST.fetch_add(1, Ordering::Relaxed) + 1,
        peer,
        local: socket.local_addr().ok(),
        tls: None,
        life: Life::default(),
        site,
    };
    let chains = &connection.listener().filter_chains;
    if chains.iter().all(|chain| chain.tls.is_none()) {
        return end(connection, Box::new(socket)).await;
    }
    match tokio::time::timeout(HANDSHAKE, handshake(&mut connection, socket)).await {
        Ok(Ok(io)) => end(connection, io).await,
        Ok(Err(error)) => no_tls(&connection, &error),
        Err(_) => {
            let error = std::io::Error::new(ErrorKind::TimedOut, "it took too long");
            no_tls(&connection, &error);
        }
    }
}

/// A handshake failed, which is counted and said; not each time, since strangers can make that as often as they like.
fn no_tls(connection: &Connection, error: &std::io::Error) {
    let site = &connection.site;
    let listener = &connection.listener().name;
    let name = format!("listener.{listener}.tls_failures_total");
    site.world.metrics().count(&name);
    let line = format!("no TLS with {}: {error}", connection.peer);
    // Who only looks whether the port is open leaves like this.
    if error.kind() == ErrorKind::UnexpectedEof {
        return site.world.log(Level::Debug, "proxy", &line);
    }
    site.no_tls.say(&site.world, &line);
}

async fn handshake(connection: &mut Connection, socket: TcpStream) -> std::io::Result<BoxIo> {
    let acceptor = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), socket);
    let hello = acceptor.await?;
    let name = hello.client_hello().server_name().unwrap_or("").to_owned();
    let chains = &connection.listener().filter_chains;
    let Some(chain) = choose(chains, &name) else {
        let message = format!("no filter chain is for `{name}`");
        return Err(std::io::Error::other(message));
    };
    let place = chains[chain].place;
    connection.chain = chain;
    let Some(config) = connection.site.generation.parts.tls.get(&place) else {
        return Err(std::io::Error::other("the chain has no TLS"));
    };
    let stream = hello.into_stream(Arc::clone(config)).await?;
    connection.tls = Some(tls_info(stream.get_ref().1, name));
    Ok(Box::new(stream))
}

/// The chain for a server's name: the exact one, the longest wildcard, or the one for all.
fn choose(chains: &[FilterChain], name: &str) -> Option<usize> {
    let name = name.to_ascii_lowercase();
    let rank = |pattern: &String| {
        if *pattern == name {
            return Some(usize::MAX);
        }
        let suffix = pattern.strip_prefix('*')?;
        (name.len() > suffix.len() && name.ends_with(suffix)).then_some(suffix.len())
    };
    let ranked = chains.iter().enumerate().filter_map(|(number, chain)| {
        let best = if chain.server_names.is_empty() {
            Some(0)
        } else {
            chain.server_names.iter().filter_map(rank).max()
        };
        best.map(|best| (best, number))
    });
    ranked
        .max_by_key(|(best, _)| *best)
        .map(|(_, number)| number)
}

fn tls_info(connection: &ServerConnection, server_name: String) -> TlsInfo {
    let peer = connection.peer_certificates().and_then(<[_]>::first);
    TlsInfo {
        version: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3".into(),
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2".into(),
            _ => String::new(),
        },
        server_name,
        mutual: peer.is_some(),
        peer: peer.map(|certificate| bytes::Bytes::copy_from_slice(certificate)),
    }
}

async fn end(connection: Connection, io: BoxIo) {
    let connection = Rc::new(connection);
    match &connection.chain().end {
        ChainEnd::Tcp(_) => tcp::to_cluster(&connection, io).await,
        ChainEnd::Http(_) if connection.chain().plugins.is_empty() => {
            http::serve(&connection, io).await;
        }
        ChainEnd::Http(_) => {
            let (near, far) = tokio::io::duplex(BETWEEN);
            let filtered = Rc::clone(&connection);
            let filtering =
                spawn_local(async move { tcp::to_http(&filtered, io, Box::new(near)).await });
            http::serve(&connection, Box::new(far)).await;
            // The connection is open until its client has what was written. A panic has said so itself.
            let _ = filtering.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_chain_with_the_nearest_name_serves() {
        let text = r#"
static_resources:
  clusters:
  - name: some
    load_assignment:
      cluster_name: some
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}}}]}]
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: some
          cluster: some
"#;
        let config = Config::parse(text, "some.yaml").expect("no mistakes");
        let chain = |names: &[&str]| {
            let mut chain = config.bootstrap.listeners[0].filter_chains[0].clone();
            chain.server_names = names.iter().map(ToString::to_string).collect();
            chain
        };
        let chains = [
            chain(&["*.example.com"]),
            chain(&[]),
            chain(&["a.example.com"]),
            chain(&["*.b.example.com"]),
        ];
        for (name, expected) in [
            ("a.example.com", 2),
            ("A.example.com", 2),
            ("x.b.example.com", 3),
            ("c.example.com", 0),
            ("example.com", 1),
            ("", 1),
        ] {
            assert_eq!(choose(&chains, name), Some(expected), "{name}");
        }
        assert_eq!(choose(&chains[..1], "other"), None);
    }
}
