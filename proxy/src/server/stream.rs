//! One request: its way through the filters to a service, and the answer's way back.

use std::collections::VecDeque;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use filters::{
    Chain, Direction, EndReason, Headers, Level, LocalReply, Part, ResponseFlag, Settings, Worker,
};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::ext::ReasonPhrase;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Request, Response};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::access;
use super::connection::Connection;
use super::http::{Piece, Pieces};
use super::route::{self, Routed};
use crate::config::{ChainEnd, HttpConnectionManager};
use crate::headers;
use crate::upstream::{AskByEndpointName, AskFirst, BoxBody, ResponseBody, UpstreamError};

/// What a service answers, once it does.
type Answer = Result<(Response<ResponseBody>, SocketAddr), UpstreamError>;

/// Pieces on their way to who takes them at his own pace.
#[derive(Default)]
struct Outlet {
    send: Option<mpsc::Sender<Piece>>,
    queue: VecDeque<Piece>,
    bytes: usize,
    ended: bool,
}

impl Outlet {
    fn put(&mut self, piece: Piece) {
        if let Piece::Frame(frame) = &piece {
            self.bytes += frame.data_ref().map_or(0, Bytes::len);
        }
        self.queue.push_back(piece);
    }

    fn data(&mut self, data: Bytes, end: bool) {
        if !data.is_empty() {
            self.put(Piece::Frame(Frame::data(data)));
        }
        if end {
            self.put(Piece::End);
        }
    }

    fn trailers(&mut self, trailers: Option<hyper::HeaderMap>) {
        if let Some(trailers) = trailers {
            self.put(Piece::Frame(Frame::trailers(trailers)));
        }
        self.put(Piece::End);
    }

    /// Hands the first piece over as soon as there is room; answers false where nobody takes it any more.
    async fn send(&mut self) -> bool {
        let Some(send) = &self.send else {
            return pending().await;
        };
        if self.queue.is_empty() {
            // Only to learn that nobody is there any more.
            send.closed().await;
            return false;
        }
        let Ok(permit) = send.reserve().await else {
            return false;
        };
        if let Some(piece) = self.queue.pop_front() {
            let ends = matches!(piece, Piece::End);
            if let Piece::Frame(frame) = &piece {
                self.bytes -= frame.data_ref().map_or(0, Bytes::len);
            }
            permit.send(piece);
            if ends {
                self.ended = true;
                self.send = None;
            }
        }
        true
    }
}

/// Where the answer of a service comes from.
enum Service {
    None,
    Asked(Pin<Box<dyn Future<Output = Answer>>>),
    Answering(ResponseBody),
}

impl Service {
    /// What comes next.
    async fn next(&mut self) -> FromService {
        match self {
            Self::None => pending().await,
            Self::Asked(asked) => FromService::Head(asked.await),
            Self::Answering(body) => FromService::Frame(body.frame().await),
        }
    }
}

enum FromService {
    Head(Answer),
    Frame(Option<hyper::Result<Frame<Bytes>>>),
}

/// A request on its way.
struct Stream {
    connection: Rc<Connection>,
    chain: Chain,
    head: Option<oneshot::Sender<Response<Pieces>>>,
    client: Outlet,
    server: Outlet,
    service: Service,
    /// Until when the service must have answered.
    until: Option<Instant>,
    timeout: Duration,
    /// The request is at its end.
    sent: bool,
}

/// Runs a request to its end.
pub(crate) async fn run(
    connection: Rc<Connection>,
    protocol: &'static str,
    request: Request<Incoming>,
    head: oneshot::Sender<Response<Pieces>>,
) {
    let ChainEnd::Http(manager) = &connection.chain().end else {
        return;
    };
    let metrics = connection.site.world.metrics();
    let prefix = &manager.stat_prefix;
    metrics.count(&format!("http.{prefix}.requests_total"));
    let (parts, body) = request.into_parts();
    let scheme = if connection.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let mut headers = headers::from_request(&parts, scheme);
    route::complete(&mut headers, scheme);
    let mut info = connection.info(protocol);
    let route = route::find(manager, &headers);
    route::note(&mut info, route);
    let filters = connection.site.filters(manager, route);
    let worker = Rc::clone(&connection.site.world) as Rc<dyn Worker>;
    let settings = Settings {
        limit: connection.listener().buffer_limit as usize,
    };
    let chain = Chain::new(filters, info, settings, worker);
    let mut stream = Stream {
        chain,
        head: Some(head),
        client: Outlet::default(),
        server: Outlet::default(),
        service: Service::None,
        until: None,
        timeout: Duration::ZERO,
        sent: false,
        connection: Rc::clone(&connection),
    };
    let reason = stream.drive(manager, headers, body, settings.limit).await;
    stream.chain.finish(reason);
    let seen = stream.chain.stream();
    let class = seen.info().status / 100;
    metrics.count(&format!("http.{prefix}.responses_{class}xx_total"));
    for format in &manager.access_logs {
        access::log(format, &seen);
    }
}

impl Stream {
    async fn drive(
        &mut self,
        manager: &HttpConnectionManager,
        headers: Headers,
        body: Incoming,
        limit: usize,
    ) -> EndReason {
        let end = body.is_end_stream();
        let mut body = (!end).then_some(body);
        let whole = self.deadline(manager.request_timeout);
        self.chain.headers(Direction::Request, headers, end);
        loop {
            if let Err(reason) = self.take(manager) {
                return reason;
            }
            if self.client.ended || self.chain.is_closing() {
                break;
            }
            if self.chain.is_answered() {
                // Nothing of the request is of use any more.
                body = None;
                self.service = Service::None;
                self.server = Outlet::default();
            }
            let read = body.is_some()
                && !self.chain.is_full(Direction::Request)
                && self.server.bytes < limit;
            let answer = !self.chain.is_full(Direction::Response) && self.client.bytes < limit;
            let until = self.until;
            let whole = whole.filter(|_| body.is_some());
            tokio::select! {
                () = self.chain.event() => {}
                frame = next(&mut body), if read => self.request(frame, &mut body),
                came = self.service.next(), if answer => self.response(came),
                there = self.client.send() => if !there {
                    return self.left();
                },
                there = self.server.send() => if !there {
                    // The service has heard enough; its answer says what it makes of that.
                    self.server = Outlet::default();
                },
                () = gone(&mut self.head) => return self.left(),
                () = at(until) => {
                    self.flag(ResponseFlag::UpstreamRequestTimeout);
                    self.fail(504, "upstream request timeout", "response_timeout");
                }
                () = at(whole) => self.fail(408, "request timeout", "request_overall_timeout"),
                () = super::tcp::sleep(manager.stream_idle_timeout) => {
                    self.flag(ResponseFlag::StreamIdleTimeout);
                    self.fail(408, "stream timeout", "stream_idle_timeout");
                }
            }
        }
        if self.client.ended {
            EndReason::Done
        } else {
            EndReason::Reset
        }
    }

    fn deadline(&self, time: Duration) -> Option<Instant> {
        (!time.is_zero()).then(|| Instant::now() + time)
    }

    /// Notes what went wrong; the first of it counts.
    fn flag(&self, flag: ResponseFlag) {
        self.chain.stream().info_mut().flag.get_or_insert(flag);
    }

    /// The client is gone.
    fn left(&self) -> EndReason {
        self.flag(ResponseFlag::DownstreamConnectionTermination);
        EndReason::Reset
    }

    /// Answers in the service's place, or breaks off where an answer is under way.
    fn fail(&mut self, status: u16, words: &str, details: &str) {
        self.until = None;
        let reply = LocalReply::text(status, words).because(details);
        self.chain.stream().local_reply(reply);
        self.chain.pump();
    }

    /// A piece of the request came.
    fn request(&mut self, frame: Option<hyper::Result<Frame<Bytes>>>, body: &mut Option<Incoming>) {
        let direction = Direction::Request;
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let end = body.as_ref().is_none_or(|body| body.is_end_stream());
                    if end {
                        *body = None;
                    }
                    self.chain.data(direction, data, end);
                }
                Err(frame) => {
                    *body = None;
                    let trailers = frame.into_trailers().unwrap_or_default();
                    self.chain.trailers(direction, headers::trailers(&trailers));
                }
            },
            Some(Err(_)) => {
                *body = None;
                self.chain.stream().close();
                self.chain.pump();
            }
            None => {
                *body = None;
                self.chain.data(direction, Bytes::new(), true);
            }
        }
    }

    /// Something came from the service.
    fn response(&mut self, came: FromService) {
        let direction = Direction::Response;
        match came {
            FromService::Head(Ok((response, address))) => {
                let (parts, body) = response.into_parts();
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

    /// Takes what the filters let pass.
    fn take(&mut self, manager: &HttpConnectionManager) -> Result<(), EndReason> {
        while let Some(part) = self.chain.take(Direction::Request) {
            match part {
                Part::Headers { end } => self.ask(manager, end),
                Part::Data { data, end } => {
                    self.server.data(data, end);
                    self.sent(end);
                }
                Part::Trailers => {
                    let trailers = self.trailers(Direction::Request);
                    self.server.trailers(trailers);
                    self.sent(true);
                }
            }
        }
        while let Some(part) = self.chain.take(Direction::Response) {
            match part {
                Part::Headers { end } => self.begin(end)?,
                Part::Data { data, end } => self.client.data(data, end),
                Part::Trailers => {
                    let trailers = self.trailers(Direction::Response);
                    self.client.trailers(trailers);
                }
            }
            self.until = None;
        }
        Ok(())
    }

    /// The service has as long as its route says from the end of the request on.
    fn sent(&mut self, end: bool) {
        if end && !self.sent {
            self.sent = true;
            self.until = self.deadline(self.timeout);
        }
    }

    fn trailers(&self, direction: Direction) -> Option<hyper::HeaderMap> {
        let stream = self.chain.stream();
        let trailers = stream.trailers(direction)?;
        headers::to_map(&trailers).ok()
    }

    /// The request has passed the filters: it goes where its route leads.
    fn ask(&mut self, manager: &HttpConnectionManager, end: bool) {
        let stream = self.chain.stream();
        self.chain.take_route_stale();
        let Some(headers) = stream
            .headers(Direction::Request)
            .map(|headers| headers.clone())
        else {
            return;
        };
        let route = route::find(manager, &headers);
        route::note(&mut stream.info_mut(), route);
        match route::follow(&self.connection.site, route, headers) {
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
                        self.sent(end);
                        let asked = async move { upstream.request(request).await };
                        self.service = Service::Asked(Box::pin(asked));
                    }
                    Err(words) => self.fail(400, &words, "bad_request_headers"),
                }
            }
        }
    }

    /// The answer's head goes to the client.
    fn begin(&mut self, end: bool) -> Result<(), EndReason> {
        let stream = self.chain.stream();
        let headers = stream
            .headers(Direction::Response)
            .map(|headers| headers.clone());
        let pieces = if end {
            self.client.ended = true;
            Pieces::none()
        } else {
            let (send, pieces) = Pieces::new();
            self.client.send = Some(send);
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
        let (Some(head), Ok(mut response)) = (self.head.take(), response) else {
            return Err(EndReason::Reset);
        };
        let info = stream.info();
        if info.protocol != "HTTP/2" {
            let reason = info.reason.as_deref().map(str::as_bytes);
            if let Some(reason) = reason.and_then(|reason| ReasonPhrase::try_from(reason).ok()) {
                response.extensions_mut().insert(reason);
            }
            if info.drain {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
        }
        drop(info);
        head.send(response).map_err(|_| self.left())
    }
}

/// The next piece of a body that is there.
async fn next(body: &mut Option<Incoming>) -> Option<hyper::Result<Frame<Bytes>>> {
    match body {
        Some(body) => body.frame().await,
        None => pending().await,
    }
}

/// Waits until nobody wants an answer any more.
async fn gone(head: &mut Option<oneshot::Sender<Response<Pieces>>>) {
    match head {
        Some(head) => head.closed().await,
        None => pending().await,
    }
}

/// Waits until a time; for ever where there is none.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => pending().await,
    }
}
