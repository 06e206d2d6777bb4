//! Connections of the client.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::HOST;
use http::request::Builder;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::Outcome;

/// A connection, or with HTTP/2 one lane of it.
pub(crate) enum Connection {
    /// It is made anew where the proxy has closed it, as it does behind an early answer.
    Http1(SocketAddr, http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    /// A connection of HTTP/1.1.
    pub(crate) async fn http1(address: SocketAddr) -> Outcome<Self> {
        Ok(Self::Http1(address, handshake(address).await?))
    }

    /// Lanes on one connection of HTTP/2.
    pub(crate) async fn http2(address: SocketAddr, lanes: usize) -> Outcome<Vec<Self>> {
        let io = open(address).await?;
        let (send, connection) = http2::handshake(TokioExecutor::new(), io).await?;
        tokio::spawn(connection);
        Ok(vec![send; lanes].into_iter().map(Self::Http2).collect())
    }

    /// A request, to be given headers and a body.
    pub(crate) fn request(&self) -> Builder {
        match self {
            Self::Http1(..) => Request::get("/").header(HOST, "bench"),
            Self::Http2(_) => Request::get("http://bench/"),
        }
    }

    /// Asks, and takes the whole answer.
    pub(crate) async fn ask(&mut self, request: Request<Full<Bytes>>) -> Outcome<Response<Bytes>> {
        let response = match self {
            Self::Http1(address, send) => {
                if send.ready().await.is_err() {
                    *send = handshake(*address).await?;
                }
                send.send_request(request).await?
            }
            Self::Http2(send) => {
                send.ready().await?;
                send.send_request(request).await?
            }
        };
        let (parts, body) = response.into_parts();
        Ok(Response::from_parts(
            parts,
            body.collect().await?.to_bytes(),
        ))
    }
}

async fn handshake(address: SocketAddr) -> Outcome<http1::SendRequest<Full<Bytes>>> {
    let (send, connection) = http1::handshake(open(address).await?).await?;
    tokio::spawn(connection);
    Ok(send)
}

async fn open(address: SocketAddr) -> Outcome<TokioIo<TcpStream>> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    Ok(TokioIo::new(socket))
}
