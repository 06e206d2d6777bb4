//! A stream's request: as it comes, and where it goes.

use std::future::pending;
use std::rc::Rc;

use bytes::Bytes;
use filters::Direction;
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};

use super::service::Service;
use super::{Stream, deadline};
use crate::config::HttpConnectionManager;
use crate::headers;
use crate::server::pieces::Pieces;
use crate::server::route::{self, Routed};
use crate::upstream::{AskByEndpointName, AskFirst, BoxBody};

/// Bytes up to which the rest of a request that is answered already is read, since a connection costs more.
const SHORT: u64 = 64 << 10;

impl Stream {
    /// Whether the rest of an answered request is worth being read, for the sake of its connection.
    fn has_short_rest(&self, manager: &HttpConnectionManager) -> bool {
        let rest = self.body.as_ref();
        let rest = rest.and_then(|body| body.size_hint().exact());
        !self.connection.life.is_http2.get()
            && !manager.delayed_close_timeout.is_zero()
            && rest.is_some_and(|rest| rest <= SHORT)
    }

    /// The request is answered: no more of it is needed.
    pub(super) fn forget_body(&mut self, manager: &HttpConnectionManager) {
        if self.forgets {
            return;
        }
        if !self.has_short_rest(manager) {
            return self.leave_body();
        }
        self.forgets = true;
        self.until = deadline(manager.delayed_close_timeout);
    }

    /// Reads no more of the request.
    pub(super) fn leave_body(&mut self) {
        self.forgets = false;
        if self.body.take().is_some() && !self.connection.life.is_http2.get() {
            self.connection.life.has_unread.set(true);
        }
    }

    /// A piece of the request came.
    pub(super) fn request(&mut self, frame: Option<hyper::Result<Frame<Bytes>>>) {
        let direction = Direction::Request;
        if self.forgets {
            let rest = self.body.as_ref();
            if !matches!(frame, Some(Ok(_))) || rest.is_none_or(|body| body.is_end_stream()) {
                self.body = None;
                self.forgets = false;
            }
            return;
        }
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let end = self.body.as_ref().is_none_or(|body| body.is_end_stream());
                    if end {
                        self.body = None;
                    }
                    self.chain.data(direction, data, end);
                }
                Err(frame) => {
                    self.body = None;
                    let trailers = frame.into_trailers().unwrap_or_default();
                    self.chain.trailers(direction, headers::trailers(&trailers));
                }
            },
            Some(Err(error)) => {
                self.leave_body();
                if is_malformed(&error) {
                    return self.fail(400, "the body is malformed", "http1.codec_error");
                }
                self.over = Some(self.left());
            }
            None => {
                self.body = None;
                self.chain.data(direction, Bytes::new(), true);
            }
        }
    }

    /// The request has passed the filters: it goes where its route leads.
    pub(super) fn ask(&mut self, end: bool) {
        let left = self.framed(Direction::Request, end);
        let stream = self.chain.stream();
        if self.chain.take_route_stale() {
            self.way.choose(&stream);
        }
        let Some(headers) = stream
            .headers(Direction::Request)
            .map(|headers| headers.clone())
        else {
            return;
        };
        let way = Rc::clone(&self.way);
        match route::follow(&self.connection.site, way.route(), headers) {
            Routed::Reply(reply) => {
                let direction = Direction::Response;
                // It passes the filters as a service's answer does.
                let (headers, body) = reply;
                let end = body.is_empty();
                self.chain.headers(direction, headers, end);
                if !end {
                    self.chain.data(direction, body, true);
                }
            }
            Routed::Refused(status, words, details, flag) => {
                self.flag(flag);
                self.fail(status, &words, details);
            }
            Routed::Service {
                upstream,
                headers,
                timeout,
                by_endpoint,
            } => {
                let pieces = if end {
                    Pieces::none()
                } else {
                    let (send, pieces) = Pieces::new();
                    self.server.send = Some(send);
                    self.server.left = left;
                    pieces
                };
                let body: BoxBody = Box::pin(pieces);
                match headers::request(&headers, body) {
                    Ok(mut request) => {
                        if by_endpoint {
                            request.extensions_mut().insert(AskByEndpointName);
                        }
                        if let Some(first) = stream.info().upstream_override.clone() {
                            request.extensions_mut().insert(AskFirst(first));
                        }
                        self.timeout = timeout;
                        let asked = async move { upstream.request(request).await };
                        self.service = Service::Asked(Box::pin(asked));
                        self.sent(end);
                    }
                    Err(words) => self.fail(400, &words, "bad_request_headers"),
                }
            }
        }
    }

    /// The service has as long as its route says from the end of the request on, for its whole answer.
    pub(super) fn sent(&mut self, end: bool) {
        if end && !self.sent && !matches!(self.service, Service::None) {
            self.sent = true;
            self.until = deadline(self.timeout);
        }
    }
}

/// The next piece of a body that is there.
pub(super) async fn next(body: &mut Option<Incoming>) -> Option<hyper::Result<Frame<Bytes>>> {
    match body {
        Some(body) => body.frame().await,
        None => pending().await,
    }
}

/// Whether a body is none of HTTP's, rather than that it did not come whole.
fn is_malformed(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error);
    let cause = cause.and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| {
        matches!(
            cause.kind(),
            std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData
        )
    })
}
