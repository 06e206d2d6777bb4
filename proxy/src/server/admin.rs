//! What the proxy answers about itself: `/ready` and `/stats/prometheus`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use engine_core::error::{Error, ErrorKind, Result};
use filters::metrics::Metrics;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, spawn_local};

use super::generation::Options;

/// Where the proxy answers about itself.
#[derive(Debug, Default)]
pub(crate) struct Admin {
    /// The address that the configuration names.
    wanted: Option<SocketAddr>,
    serving: Option<(SocketAddr, Serving)>,
}

impl Admin {
    /// The address that is served, with its port.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.serving.as_ref().map(|(address, _)| *address)
    }

    /// What takes its place for another address, or for none; nothing where it stays.
    ///
    /// # Errors
    /// `io` where the address cannot be listened on.
    pub(crate) async fn moved(
        &self,
        wanted: Option<SocketAddr>,
        options: &Options,
    ) -> Result<Option<Self>> {
        if wanted == self.wanted {
            return Ok(None);
        }
        let serving = match wanted {
            Some(address) => Some(serve(address, options).await?),
            None => None,
        };
        Ok(Some(Self { wanted, serving }))
    }
}

async fn serve(address: SocketAddr, options: &Options) -> Result<(SocketAddr, Serving)> {
    let cannot = |error: std::io::Error| {
        let message = format!("cannot listen on {address} for the admin interface: {error}");
        Error::new(ErrorKind::Io, message).with_source(error)
    };
    let listener = TcpListener::bind(address).await.map_err(cannot)?;
    let local = listener.local_addr().map_err(cannot)?;
    let metrics = Arc::clone(&options.metrics);
    let task = spawn_local(async move {
        loop {
            let Ok((socket, _)) = listener.accept().await else {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            };
            let metrics = Arc::clone(&metrics);
            let service = service_fn(move |request| {
                let response = answer(&metrics, &request);
                async { Ok::<_, Infallible>(response) }
            });
            spawn_local(async move {
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service);
                // A client that breaks off has what it wanted.
                let _ = connection.await;
            });
        }
    });
    Ok((local, Serving(task)))
}

/// Ends the task when it is dropped.
#[derive(Debug)]
struct Serving(JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn answer(metrics: &Metrics, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/ready") => (StatusCode::OK, "LIVE\n".to_owned()),
        (&Method::GET, "/stats/prometheus") => (StatusCode::OK, metrics.prometheus()),
        (&Method::GET, _) => (
            StatusCode::NOT_FOUND,
            "there are /ready and /stats/prometheus\n".to_owned(),
        ),
        _ => (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let plain = hyper::header::HeaderValue::from_static("text/plain; version=0.0.4");
    response
        .headers_mut()
        .insert(hyper::header::CONTENT_TYPE, plain);
    response
}
