//! The clusters that a worker thread sends requests and connections to.
//!
//! What all threads share is a [`Blueprint`] for each cluster, made and checked at the start.
//! Everything else belongs to one thread with a `LocalSet`, and needs no lock.

mod body;
pub(crate) mod callouts;
mod connect;
mod endpoints;
mod pool;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use engine_core::error::Result;
use filters::UpstreamOverride;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, Parts, Scheme};
use http::{HeaderValue, Request, Response, Uri, Version};
use http_body::Body as _;
use tokio::task::AbortHandle;
use tokio_rustls::rustls::ClientConfig;

use crate::config::{Cluster, UpstreamProtocol};
use crate::tls;

pub(crate) use body::{BoxBody, BoxError, ResponseBody};
pub(crate) use connect::Stream;
pub(crate) use pool::words;

use endpoints::{Endpoint, Endpoints};
use pool::{Client, Pool};

/// How long a connection may be idle at least; a quarter later at most, it is closed.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// A cluster with what is made of it once for all threads.
#[derive(Clone, Debug)]
pub(crate) struct Blueprint {
    /// What the configuration says.
    pub(crate) cluster: Cluster,
    tls: Option<Arc<ClientConfig>>,
}

/// Makes of clusters what all threads share.
///
/// # Errors
/// `io` where a file that the configuration names cannot be read, `manifest` where it is not what it should be.
pub(crate) fn prepare(clusters: &[Cluster]) -> Result<Arc<[Blueprint]>> {
    let prepare = |cluster: &Cluster| {
        let alpn: &[_] = match cluster.protocol {
            UpstreamProtocol::Http1 => &[],
            UpstreamProtocol::Http2(_) => &["h2"],
            UpstreamProtocol::Alpn(_) => &["h2", "http/1.1"],
        };
        let tls = cluster.tls.as_ref().map(|tls| tls::client(tls, alpn));
        Ok(Blueprint {
            cluster: cluster.clone(),
            tls: tls.transpose()?,
        })
    };
    clusters.iter().map(prepare).collect()
}

/// Why a cluster did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UpstreamError {
    /// There is no endpoint, or none of its names has an address.
    NoEndpoints,
    /// No endpoint takes connections; why the last one did not.
    Connect(String),
    /// No connection came about in time.
    ConnectTimeout,
    /// The connection broke, or the endpoint broke the request off or does not speak HTTP.
    Reset(String),
    /// There was no answer in time.
    Timeout,
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEndpoints => f.write_str("there is no endpoint"),
            Self::Connect(why) => write!(f, "cannot connect: {why}"),
            Self::ConnectTimeout => f.write_str("no connection came about in time"),
            Self::Reset(why) => write!(f, "the request was broken off: {why}"),
            Self::Timeout => f.write_str("there was no answer in time"),
        }
    }
}

impl std::error::Error for UpstreamError {}

/// Waits for something, for some time at most where one is given.
pub(crate) async fn within<T>(
    time: Option<Duration>,
    work: impl Future<Output = std::result::Result<T, UpstreamError>>,
) -> std::result::Result<T, UpstreamError> {
    match time {
        None => work.await,
        Some(time) => tokio::time::timeout(time, work)
            .await
            .unwrap_or(Err(UpstreamError::Timeout)),
    }
}

/// Put into a request's extensions, asks an endpoint by its own name where it has one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AskByEndpointName;

/// Put into a request's extensions, asks the endpoint of an address, with or without a port, before all others, or it alone.
#[derive(Clone, Debug)]
pub(crate) struct AskFirst(pub(crate) UpstreamOverride);

impl AskFirst {
    fn is(&self, address: SocketAddr) -> bool {
        let host = &self.0.host;
        *host == address.to_string() || *host == address.ip().to_string()
    }
}

/// The clusters of a worker thread.
#[derive(Debug)]
pub(crate) struct Upstreams {
    clusters: HashMap<String, Rc<Upstream>>,
    sweeper: AbortHandle,
}

impl Upstreams {
    /// Begins to look up the clusters' names; within a `LocalSet`.
    pub(crate) fn new(blueprints: &[Blueprint]) -> Rc<Self> {
        let made = blueprints.iter().map(|blueprint| {
            let name = blueprint.cluster.name.clone();
            (name, Rc::new(Upstream::new(blueprint)))
        });
        let clusters: HashMap<_, _> = made.collect();
        let pools: Vec<_> = clusters.values().map(|c| Rc::downgrade(&c.pool)).collect();
        let sweeper = tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(IDLE_TIMEOUT / 4).await;
                for pool in pools.iter().filter_map(std::rc::Weak::upgrade) {
                    pool.sweep();
                }
            }
        });
        Rc::new(Self {
            clusters,
            sweeper: sweeper.abort_handle(),
        })
    }

    /// A cluster.
    pub(crate) fn get(&self, name: &str) -> Option<Rc<Upstream>> {
        self.clusters.get(name).cloned()
    }
}

impl Drop for Upstreams {
    fn drop(&mut self) {
        self.sweeper.abort();
    }
}

/// A cluster as one worker thread reaches it.
#[derive(Debug)]
pub(crate) struct Upstream {
    blueprint: Blueprint,
    endpoints: Endpoints,
    pool: Rc<Pool>,
}

impl Upstream {
    fn new(blueprint: &Blueprint) -> Self {
        Self {
            blueprint: blueprint.clone(),
            endpoints: Endpoints::new(&blueprint.cluster, endpoints::system()),
            pool: Rc::default(),
        }
    }

    /// What the configuration says of it.
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.blueprint.cluster
    }

    /// Sends a request, whose address has an authority, to the next endpoint; answers it with who answered.
    ///
    /// An endpoint to which there is no connection is passed over.
    /// A request is sent once: where the connection breaks under it, it is not repeated.
    ///
    /// # Errors
    /// Every one but [`UpstreamError::Timeout`].
    pub(crate) async fn request(
        &self,
        request: Request<BoxBody>,
    ) -> std::result::Result<(Response<ResponseBody>, SocketAddr), UpstreamError> {
        let mut request = request;
        let first = request.extensions_mut().remove::<AskFirst>();
        let client = |endpoint| self.pool.client(&self.blueprint, endpoint);
        let (mut client, endpoint) = self.each(first.as_ref(), client).await?;
        if request
            .extensions_mut()
            .remove::<AskByEndpointName>()
            .is_some()
            && let Ok(name) = Authority::try_from(&*endpoint.hostname)
        {
            let mut address = std::mem::take(request.uri_mut()).into_parts();
            address.authority = Some(name);
            *request.uri_mut() = join(address)?;
        }
        let reused = client.is_reused();
        address(&mut request, &client, self.blueprint.tls.is_some())?;
        let mut result = client.send(request).await;
        // Nothing of the request was sent where it comes back: the endpoint closed the idle connection.
        if reused
            && let Err((_, unsent)) = &mut result
            && let Some(mut unsent) = unsent.take()
        {
            let mut fresh = self.pool.fresh(&self.blueprint, endpoint.address).await?;
            address(&mut unsent, &fresh, self.blueprint.tls.is_some())?;
            result = fresh.send(unsent).await;
            client = fresh;
        }
        match result {
            Ok(response) => {
                let lease = client.lease(&self.pool, endpoint.address);
                Ok((
                    response.map(|body| ResponseBody::new(body, lease)),
                    endpoint.address,
                ))
            }
            Err((why, _)) => Err(UpstreamError::Reset(why)),
        }
    }

    /// Connects to the next endpoint, with TLS where the cluster has it; answers who it is.
    ///
    /// # Errors
    /// That there is no connection.
    pub(crate) async fn connect(&self) -> std::result::Result<(Stream, SocketAddr), UpstreamError> {
        let connect = |endpoint| connect::open(&self.blueprint, endpoint);
        let (stream, endpoint) = self.each(None, connect).await?;
        Ok((stream, endpoint.address))
    }

    /// Tries something with one endpoint after another, each at most once, until it succeeds.
    async fn each<T, F: Future<Output = std::result::Result<T, UpstreamError>>>(
        &self,
        first: Option<&AskFirst>,
        attempt: impl Fn(SocketAddr) -> F,
    ) -> std::result::Result<(T, Endpoint), UpstreamError> {
        let wait = self.cluster().connect_timeout;
        let turn = tokio::time::timeout(wait, self.endpoints.turn()).await;
        let mut turn = turn.unwrap_or_default();
        if let Some(first) = first {
            turn.sort_by_key(|endpoint| !first.is(endpoint.address));
            turn.retain(|endpoint| !first.0.strict || first.is(endpoint.address));
        }
        let mut last = UpstreamError::NoEndpoints;
        for endpoint in turn {
            match attempt(endpoint.address).await {
                Ok(done) => return Ok((done, endpoint)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Gives a request the address and the framing that the connection's version of HTTP wants.
fn address(
    request: &mut Request<BoxBody>,
    client: &Client,
    tls: bool,
) -> std::result::Result<(), UpstreamError> {
    let (is_empty, length) = (request.body().is_end_stream(), request.body().size_hint());
    if is_empty && let Some(length) = request.headers_mut().get_mut(CONTENT_LENGTH) {
        // The service would wait for more, and take it from whoever has the connection next.
        *length = HeaderValue::from_static("0");
    }
    let mut address = std::mem::take(request.uri_mut()).into_parts();
    if client.is_http2() {
        request.headers_mut().remove(TRANSFER_ENCODING);
        *request.version_mut() = Version::HTTP_2;
        if address.authority.is_none() {
            let host = request.headers().get(HOST).map(HeaderValue::as_bytes);
            address.authority = host.and_then(|host| Authority::try_from(host).ok());
        }
        request.headers_mut().remove(HOST);
        address.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
    } else {
        *request.version_mut() = Version::HTTP_11;
        if let Some(authority) = address.authority.take() {
            let host = HeaderValue::try_from(authority.as_str()).map_err(wrong)?;
            request.headers_mut().insert(HOST, host);
        }
        address.scheme = None;
        let headers = request.headers_mut();
        if !is_empty && length.exact().is_none() && !headers.contains_key(CONTENT_LENGTH) {
            // Of some methods the HTTP stack expects no body, and would leave it out.
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
    *request.uri_mut() = join(address)?;
    Ok(())
}

fn join(parts: Parts) -> std::result::Result<Uri, UpstreamError> {
    Uri::from_parts(parts).map_err(wrong)
}

fn wrong(error: impl fmt::Display) -> UpstreamError {
    UpstreamError::Reset(format!("the request has no address: {error}"))
}
