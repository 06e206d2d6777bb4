//! Where the answer of a service comes from.

use std::future::pending;
use std::net::SocketAddr;
use std::pin::Pin;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::Response;

use crate::upstream::{ResponseBody, UpstreamError};

/// What a service answers, once it does.
pub(super) type Answer = Result<(Response<ResponseBody>, SocketAddr), UpstreamError>;

/// Where the answer of a service comes from.
pub(super) enum Service {
    None,
    Asked(Pin<Box<dyn Future<Output = Answer>>>),
    Answering(ResponseBody),
}

impl Service {
    /// What comes next.
    pub(super) async fn next(&mut self) -> FromService {
        match self {
            Self::None => pending().await,
            Self::Asked(asked) => FromService::Head(asked.await),
            Self::Answering(body) => FromService::Frame(body.frame().await),
        }
    }
}

pub(super) enum FromService {
    Head(Answer),
    Frame(Option<hyper::Result<Frame<Bytes>>>),
}
