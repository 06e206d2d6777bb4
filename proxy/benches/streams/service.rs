//! The service behind the proxy, on a thread of its own.

use std::convert::Infallible;
use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use crate::Outcome;

/// Asks the service to wait for so many milliseconds.
pub(crate) const DELAY: &str = "x-delay";

/// What it answers to who sends no body.
const DOCUMENT: &[u8] = br#"{"user": "ada", "password": "secret", "roles": ["reader", "writer"]}"#;

/// Starts a service that answers with the body that it is sent, or else with a document; answers its port.
pub(crate) fn echo() -> Outcome<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            loop {
                let (socket, _) = listener.accept().await?;
                socket.set_nodelay(true)?;
                let connection = http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service_fn(answer));
                tokio::spawn(connection);
            }
        })
    });
    Ok(port)
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let delay = parts.headers.get(DELAY);
    let delay = delay.and_then(|delay| delay.to_str().ok()?.parse().ok());
    if let Some(millis) = delay {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
    // A body that broke off is none.
    let body = body.collect().await.map(|body| body.to_bytes());
    let body = body.ok().filter(|body| !body.is_empty());
    let body = body.unwrap_or(Bytes::from_static(DOCUMENT));
    let mut response = Response::new(Full::new(body));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}
