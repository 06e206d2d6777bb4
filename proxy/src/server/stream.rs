//! One request: its way through the filters to a service, and the answer's way back.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use filters::{
    Chain, Direction, EndReason, Headers, Length, Level, LocalReply, Part, ResponseFlag, Settings,
    Worker,
};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::ext::ReasonPhrase;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Method, Request, Response};
use tokio::task::spawn_local;
use tokio::time::{Instant, Sleep};

use super::access;
use super::connection::Connection;
use super::counts::Counts;
use super::http::Broken;
use super::pieces::{Piece, Pieces, Sender};
use super::refuse::refusal;
use super::route::{self, Routed};
use super::way::Way;
use crate::config::HttpConnectionManager;
use crate::headers;
use crate::upstream::{AskByEndpointName, AskFirst, BoxBody, ResponseBody, UpstreamError};

/// Bytes up to which the rest of a request that is answered already is read, since a connection costs more.
const SHORT: u64 = 64 << 10;

/// What a service answers, once it does.
type Answer = Result<(Response<ResponseBody>, SocketAddr), UpstreamError>;

/// Pieces on their way to who takes them at his own pace.
#[derive(Default)]
struct Outlet {
    send: Option<Sender>,
    queue: VecDeque<Piece>,
    bytes: usize,
    ended: bool,
    /// How many bytes are still to come by the message's own word; none where it says nothing.
    left: Option<u64>,
    /// Who took the pieces has all that he was promised, and only the end is to come.
    is_served: bool,
}

impl Outlet {
    /// Whether so many bytes more, the last of all where `end` is set, are what the message says.
    fn takes(&mut self, count: usize, end: bool) -> bool {
        let Some(left) = &mut self.left else {
            return true;
        };
        let rest = left.checked_sub(count as u64);
        *left = rest.unwrap_or_default();
        rest.is_some_and(|rest| rest == 0 || !end)
    }

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

    /// Hands over what there is room for.
    fn flush(&mut self) {
        if self.is_served {
            let mut rest = self.queue.drain(..);
            self.ended |= rest.any(|piece| matches!(piece, Piece::End));
        }
        while let Some(send) = &self.send
            && send.has_room()
            && let Some(piece) = self.queue.pop_front()
        {
            let ends = matches!(piece, Piece::End);
            if let Piece::Frame(frame) = &piece {
                self.bytes -= frame.data_ref().map_or(0, Bytes::len);
            }
            send.put(piece);
            if ends {
                self.ended = true;
                self.send = None;
            }
        }
    }

    /// Takes note that nobody takes pieces any more; answers whether all that were promised are taken.
    fn close(&mut self) -> bool {
        let send = self.send.take();
        let is_taken = self.queue.is_empty() && send.is_some_and(|send| send.is_empty());
        self.is_served = is_taken && self.left == Some(0);
        self.is_served
    }

    /// Waits until there is room for the first piece; answers false where nobody takes it any more.
    async fn room(&self) -> bool {
        let Some(send) = &self.send else {
            return pending().await;
        };
        if self.queue.is_empty() {
            // Only to learn that nobody is there any more.
            poll_fn(|context| send.poll_unwanted(context)).await;
            return false;
        }
        poll_fn(|context| send.poll_room(context)).await
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

/// A request on its way. It ends with this, as a request whose client left where nothing else has ended it before.
struct Stream {
    connection: Rc<Connection>,
    counts: Rc<Counts>,
    chain: Chain,
    way: Rc<Way>,
    /// What is still to come of the request's body.
    body: Option<Incoming>,
    /// The answer, until it goes to the client.
    head: Option<Response<Pieces>>,
    client: Outlet,
    server: Outlet,
    service: Service,
    /// Until when the request must have come.
    whole: Option<Instant>,
    /// Until when the service must have answered to its end, or the rest of an answered request must have come.
    until: Option<Instant>,
    timeout: Duration,
    /// The request is answered, and the rest of its body is read and forgotten.
    forgets: bool,
    /// The request is at its end.
    sent: bool,
    /// The client gets the answer's head alone: that is what he asked for, or all that its status has.
    is_bare: bool,
    /// How the stream ended.
    over: Option<EndReason>,
}

/// Answers a request. What is left to do behind the answer's head is a task of its own.
pub(crate) async fn answer(
    connection: Rc<Connection>,
    counts: Rc<Counts>,
    protocol: &'static str,
    request: Request<Incoming>,
) -> Result<Response<Pieces>, Broken> {
    let mut stream = Stream::new(&connection, counts, protocol, request).ok_or(Broken)?;
    stream.drive(true).await;
    let head = stream.head.take();
    // Short answers are whole by now, or as soon as somebody looks.
    let is_over = {
        let mut rest = pin!(stream.drive(false));
        poll_fn(|context| Poll::Ready(rest.as_mut().poll(context).is_ready())).await
    };
    if !is_over {
        spawn_local(async move { stream.drive(false).await });
    }
    // A stream that ended without an answer was broken off.
    head.ok_or(Broken)
}

impl Drop for Stream {
    fn drop(&mut self) {
        let reason = self.over.unwrap_or_else(|| self.left());
        self.leave_body();
        self.connection.life.end();
        self.chain.finish(reason);
        let seen = self.chain.stream();
        self.counts.response(seen.info().status);
        let manager = self.connection.manager();
        for format in manager.into_iter().flat_map(|manager| &manager.access_logs) {
            access::log(format, &seen, &self.connection.site.generation.lines);
        }
    }
}

impl Stream {
    fn new(
        connection: &Rc<Connection>,
        counts: Rc<Counts>,
        protocol: &'static str,
        request: Request<Incoming>,
    ) -> Option<Self> {
        let manager = connection.manager()?;
        counts.request();
        connection.life.begin();
        let (parts, body) = request.into_parts();
        let end = body.is_end_stream();
        let scheme = if connection.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let mut headers = headers::from_request(&parts, scheme);
        let refusal = refusal(&parts, !end).or_else(|| {
            let words = "the headers are too large";
            let is_large = headers.bytes() > manager.headers_limit();
            is_large.then_some((431, words, "request_headers_too_large"))
        });
        route::complete(&mut headers, scheme);
        let mut info = connection.info(protocol);
        let way = Rc::new(Way::new(connection, &headers));
        way.note(&mut info);
        let filters = match refusal {
            None => way.filters(0),
            Some(_) => Vec::new(),
        };
        let worker = Rc::clone(&connection.site.world) as Rc<dyn Worker>;
        let settings = Settings {
            limit: connection.listener().buffer_limit as usize,
        };
        let mut stream = Self {
            connection: Rc::clone(connection),
            counts,
            chain: Chain::new(filters, info, settings, worker),
            way: Rc::clone(&way),
            body: (!end).then_some(body),
            head: None,
            client: Outlet::default(),
            server: Outlet::default(),
            service: Service::None,
            whole: deadline(manager.request_timeout),
            until: None,
            timeout: Duration::ZERO,
            forgets: false,
            sent: false,
            is_bare: parts.method == Method::HEAD,
            over: None,
        };
        stream.chain.surround(way);
        stream.chain.headers(Direction::Request, headers, end);
        if let Some((status, words, details)) = refusal {
            stream.fail(status, words, details);
        }
        Some(stream)
    }

    /// Goes on until the stream is over, or the head of the answer is there where that is enough.
    ///
    /// Nothing is lost where this is dropped and called again.
    async fn drive(&mut self, to_head: bool) {
        let connection = Rc::clone(&self.connection);
        let Some(manager) = connection.manager() else {
            return;
        };
        let limit = connection.listener().buffer_limit as usize;
        let idle = manager.stream_idle_timeout;
        let mut alarm = pin!(tokio::time::sleep(Duration::MAX));
        while self.over.is_none() {
            if let Err(reason) = self.take(manager) {
                self.over = Some(reason);
                return;
            }
            self.client.flush();
            self.server.flush();
            if self.client.ended && !self.forgets {
                self.over = Some(EndReason::Done);
                return;
            }
            if self.chain.is_closing() {
                self.over = Some(EndReason::Reset);
                return;
            }
            if to_head && self.head.is_some() {
                return;
            }
            if self.chain.is_answered() {
                // Nothing of the request is of use any more.
                self.forget_body(manager);
                self.service = Service::None;
                self.server = Outlet::default();
            }
            let room = !self.chain.is_full(Direction::Request) && self.server.bytes < limit;
            let read = self.body.is_some() && (room || self.forgets);
            let answer = !self.chain.is_full(Direction::Response) && self.client.bytes < limit;
            let waits = self.forgets || !matches!(self.service, Service::None);
            let until = self.until.filter(|_| waits);
            let whole = self.whole.filter(|_| self.body.is_some() && !self.forgets);
            let idle = (!idle.is_zero()).then(|| Instant::now().checked_add(idle));
            let due = [until, whole, idle.flatten()];
            let due = due.into_iter().flatten().min();
            tokio::select! {
                () = self.chain.event() => {}
                frame = next(&mut self.body), if read => self.request(frame),
                came = self.service.next(), if answer => self.response(came),
                there = self.client.room() => if !there && !self.is_served() {
                    self.over = Some(self.left());
                },
                there = self.server.room() => if !there {
                    // The service has heard enough; its answer says what it makes of that.
                    self.server = Outlet::default();
                },
                () = at(due, alarm.as_mut()) => {
                    if self.forgets {
                        self.leave_body();
                    } else if due == until {
                        self.flag(ResponseFlag::UpstreamRequestTimeout);
                        self.fail(504, "upstream request timeout", "response_timeout");
                    } else if due == whole {
                        self.fail(408, "request timeout", "request_overall_timeout");
                    } else {
                        self.flag(ResponseFlag::StreamIdleTimeout);
                        self.fail(408, "stream timeout", "stream_idle_timeout");
                    }
                }
            }
        }
    }

    /// Notes what went wrong; the first of it counts.
    fn flag(&self, flag: ResponseFlag) {
        self.chain.stream().info_mut().flag.get_or_insert(flag);
    }

    /// Whether a client who takes no more has all of the answer. HTTP/1 lets go of a body with the last byte that its
    /// `content-length` promises; the service's own end, which the filters are to hear of, may come later.
    fn is_served(&mut self) -> bool {
        !self.connection.life.is_http2.get() && self.client.close()
    }

    /// The client is gone, or was left; that concerns nobody where he has it all.
    fn left(&self) -> EndReason {
        if self.client.is_served {
            return EndReason::Done;
        }
        if self.connection.life.is_cut.get() {
            self.chain.stream().info_mut().details = "drain_time_over".into();
        } else {
            self.flag(ResponseFlag::DownstreamConnectionTermination);
        }
        EndReason::Reset
    }

    /// Whether the rest of an answered request is worth being read, for the sake of its connection.
    fn has_short_rest(&self, manager: &HttpConnectionManager) -> bool {
        let rest = self.body.as_ref();
        let rest = rest.and_then(|body| body.size_hint().exact());
        !self.connection.life.is_http2.get()
            && !manager.delayed_close_timeout.is_zero()
            && rest.is_some_and(|rest| rest <= SHORT)
    }

    /// The request is answered: no more of it is needed.
    fn forget_body(&mut self, manager: &HttpConnectionManager) {
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
    fn leave_body(&mut self) {
        self.forgets = false;
        if self.body.take().is_some() && !self.connection.life.is_http2.get() {
            self.connection.life.has_unread.set(true);
        }
    }

    /// Answers in the service's place, or breaks off where an answer is under way.
    fn fail(&mut self, status: u16, words: &str, details: &str) {
        self.until = None;
        let reply = LocalReply::text(status, words).because(details);
        self.chain.stream().local_reply(reply);
        self.chain.pump();
    }

    /// A piece of the request came.
    fn request(&mut self, frame: Option<hyper::Result<Frame<Bytes>>>) {
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

    /// Something came from the service.
    fn response(&mut self, came: FromService) {
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

    /// Takes what the filters let pass.
    fn take(&mut self, manager: &HttpConnectionManager) -> Result<(), EndReason> {
        while let Some(part) = self.chain.take(Direction::Request) {
            match part {
                Part::Headers { end } => self.ask(end),
                Part::Data { data, end } if self.server.takes(data.len(), end) => {
                    self.server.data(data, end);
                    self.sent(end);
                }
                Part::Trailers if self.server.takes(0, true) => {
                    let trailers = self.trailers(Direction::Request);
                    self.server.trailers(trailers);
                    self.sent(true);
                }
                // The service must not take it for whole.
                Part::Data { .. } | Part::Trailers => {
                    self.server = Outlet::default();
                    self.misframed("request");
                    self.fail(500, "Internal Server Error", "request_length_changed");
                }
            }
        }
        while let Some(part) = self.chain.take(Direction::Response) {
            match part {
                Part::Headers { end } => self.begin(manager, end)?,
                Part::Data { .. } | Part::Trailers if self.is_bare => {
                    self.chain.stream().info_mut().sent = 0;
                }
                Part::Data { data, end } if self.client.takes(data.len(), end) => {
                    self.client.data(data, end);
                }
                Part::Trailers if self.client.takes(0, true) => {
                    let trailers = self.trailers(Direction::Response);
                    self.client.trailers(trailers);
                }
                Part::Data { .. } | Part::Trailers => {
                    self.misframed("response");
                    self.chain.stream().info_mut().details = "response_length_changed".into();
                    return Err(EndReason::Reset);
                }
            }
        }
        Ok(())
    }

    /// Lets a message say the length that it has, as far as that is known; answers what it says.
    fn framed(&self, direction: Direction, end: bool) -> Option<u64> {
        let length = match end {
            true => Length::Known(0),
            false => self.chain.length(direction),
        };
        let stream = self.chain.stream();
        let mut headers = stream.headers(direction)?;
        let said = headers.get("content-length")?;
        let said: Option<u64> = std::str::from_utf8(said).ok().and_then(|n| n.parse().ok());
        match length {
            Length::AsBefore => said,
            Length::Changed => {
                headers.remove("content-length");
                None
            }
            Length::Known(length) => {
                if said != Some(length) {
                    headers.replace("content-length", length.to_string());
                }
                Some(length)
            }
        }
    }

    /// Says that a body, as filters let it pass, is not what its headers said, which are gone.
    fn misframed(&self, what: &str) {
        let line = if self.chain.has_filters() {
            format!(
                "a filter changed the length of a {what} behind its `content-length`: \
                 it has to hold the headers as long, or to remove that one"
            )
        } else {
            format!("the length of a {what} is not what its `content-length` says")
        };
        self.chain
            .stream()
            .worker()
            .log(Level::Warn, "proxy", &line);
    }

    /// The service has as long as its route says from the end of the request on, for its whole answer.
    fn sent(&mut self, end: bool) {
        if end && !self.sent && !matches!(self.service, Service::None) {
            self.sent = true;
            self.until = deadline(self.timeout);
        }
    }

    fn trailers(&self, direction: Direction) -> Option<hyper::HeaderMap> {
        let stream = self.chain.stream();
        let trailers = stream.trailers(direction)?;
        headers::to_map(&trailers).ok()
    }

    /// The request has passed the filters: it goes where its route leads.
    fn ask(&mut self, end: bool) {
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

    /// The answer's head goes to the client.
    fn begin(&mut self, manager: &HttpConnectionManager, end: bool) -> Result<(), EndReason> {
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
}

/// The next piece of a body that is there.
async fn next(body: &mut Option<Incoming>) -> Option<hyper::Result<Frame<Bytes>>> {
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

/// When a time that begins now is over; never where it is none.
fn deadline(time: Duration) -> Option<Instant> {
    (!time.is_zero()).then(|| Instant::now() + time)
}

/// Waits until a time, by an alarm that is set already; for ever where there is none.
async fn at(time: Option<Instant>, mut alarm: Pin<&mut Sleep>) {
    let Some(time) = time else {
        return pending().await;
    };
    // It costs less to be woken once too early than to set it later each time.
    if time < alarm.deadline() {
        alarm.as_mut().reset(time);
    }
    loop {
        alarm.as_mut().await;
        if Instant::now() >= time {
            return;
        }
        alarm.as_mut().reset(time);
    }
}
