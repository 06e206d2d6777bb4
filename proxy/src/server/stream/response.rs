//! A stream's response: as it comes from a service, and how it goes to the client.

use bytes::Bytes;
use filters::{Direction, EndReason, Headers, Level, ResponseFlag};
use hyper::body::Body as _;
use hyper::ext::ReasonPhrase;
use hyper::header::{CONNECTION, HeaderValue};

use super::Stream;
use super::service::{FromService, Service};
use crate::config::HttpConnectionManager;
use crate::headers;
use crate::server::pieces::Pieces;
use crate::upstream::UpstreamError;

impl Stream {
    /// Something came from the service.
    pub(super) fn response(&mut self, came: FromService) {
        let direction = Direction::Response;
        match came {
            FromService::Head(Ok((response, address))) => {
                let (parts, body) = response.into_parts();
                if headers::is_coded(&parts) {
                    self.service = Service::None;
                    let words = "upstream answered in a transfer coding other than `chunked`";
                    return self.fail(502, words, "upstream_transfer_coding");
                }
                let end = body.is_end_stream();
                self.service = if end {
                    Service::None
                } else {
                    Service::Answering(body)
                };
                self.chain.stream().info_mut().upstream = Some(address);
                self.chain
                    .headers(direction, headers::from_response(&parts), end);
            }
            FromService::Head(Err(error)) => {
                self.service = Service::None;
                let stream = self.chain.stream();
                let cluster = stream.info().cluster.clone();
                let line = format!("cluster `{cluster}`: {error}");
                stream.worker().log(Level::Debug, "proxy", &line);
                self.flag(match error {
                    UpstreamError::NoEndpoints => ResponseFlag::NoHealthyUpstream,
                    UpstreamError::Connect(_) | UpstreamError::ConnectTimeout => {
                        ResponseFlag::UpstreamConnectionFailure
                    }
                    UpstreamError::Reset(_) => ResponseFlag::UpstreamConnectionTermination,
                    UpstreamError::Timeout => ResponseFlag::UpstreamRequestTimeout,
                });
                self.fail(
                    503,
                    &format!("upstream connect error: {error}"),
                    "upstream_failed",
                );
            }
            FromService::Frame(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    let ended =
                        matches!(&self.service, Service::Answering(body) if body.is_end_stream());
                    if ended {
                        self.service = Service::None;
                    }
                    self.chain.data(direction, data, ended);
                }
                Err(frame) => {
                    self.service = Service::None;
                    let trailers = frame.into_trailers().unwrap_or_default();
                    self.chain.trailers(direction, headers::trailers(&trailers));
                }
            },
            FromService::Frame(Some(Err(_))) => {
                self.service = Service::None;
                self.flag(ResponseFlag::UpstreamConnectionTermination);
                self.fail(502, "upstream broke off", "upstream_reset");
            }
            FromService::Frame(None) => {
                self.service = Service::None;
                self.chain.data(direction, Bytes::new(), true);
            }
        }
    }

    /// The answer's head goes to the client.
    pub(super) fn begin(
        &mut self,
        manager: &HttpConnectionManager,
        end: bool,
    ) -> Result<(), EndReason> {
        if self.chain.is_answered() || matches!(self.service, Service::None) {
            // The answer is none of a service's, which would take the rest of the request.
            self.forget_body(manager);
        }
        let stream = self.chain.stream();
        if let Some(mut headers) = stream.headers(Direction::Response) {
            let status = headers.text(":status").unwrap_or("");
            let has_no_length = status == "204";
            self.is_bare |= has_no_length || status == "304";
            if has_no_length {
                headers.remove("content-length");
            }
        }
        // The length of an answer without its body is that of what it stands for.
        let left = (!self.is_bare).then(|| self.framed(Direction::Response, end));
        let end = end || self.is_bare;
        let headers = stream
            .headers(Direction::Response)
            .map(|headers| headers.clone());
        let pieces = if end {
            self.client.ended = true;
            Pieces::none()
        } else {
            let (send, pieces) = Pieces::new();
            self.client.send = Some(send);
            self.client.left = left.flatten();
            pieces
        };
        let response = headers::response(&headers.unwrap_or_default(), pieces);
        let response = response.or_else(|words| {
            let line = format!("a response cannot be sent: {words}");
            stream.worker().log(Level::Warn, "proxy", &line);
            stream.info_mut().status = 502;
            self.client.ended = true;
            let headers = Headers::from_iter([(":status", "502"), ("content-length", "0")]);
            headers::response(&headers, Pieces::none())
        });
        let mut response = response.map_err(|_| EndReason::Reset)?;
        let info = stream.info();
        if info.protocol != "HTTP/2" {
            let reason = info.reason.as_deref().map(str::as_bytes);
            if let Some(reason) = reason.and_then(|reason| ReasonPhrase::try_from(reason).ok()) {
                response.extensions_mut().insert(reason);
            }
            let life = &self.connection.life;
            let is_early = (self.body.is_some() && !self.forgets) || life.has_unread.get();
            if info.drain || is_early || self.connection.site.is_draining() {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
        }
        self.head = Some(response);
        Ok(())
    }

    /// Whether a client who takes no more has all of the answer. HTTP/1 lets go of a body with the last byte that its
    /// `content-length` promises; the service's own end, which the filters are to hear of, may come later.
    pub(super) fn is_served(&mut self) -> bool {
        !self.connection.life.is_http2.get() && self.client.close()
    }
}
