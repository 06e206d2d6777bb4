//! One request: its way through the filters to a service, and the answer's way back.

mod request;
mod response;
mod service;

use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use filters::{
    Chain, Direction, EndReason, Length, Level, LocalReply, Part, ResponseFlag, Settings, Worker,
};
use hyper::body::{Body as _, Incoming};
use hyper::{Method, Request, Response};
use tokio::task::spawn_local;
use tokio::time::{Instant, Sleep};

use self::request::next;
use self::service::Service;
use super::access;
use super::connection::Connection;
use super::counts::Counts;
use super::http::Broken;
use super::outlet::Outlet;
use super::pieces::Pieces;
use super::refuse::refusal;
use super::route;
use super::way::Way;
use crate::config::HttpConnectionManager;
use crate::headers;

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

    /// Answers in the service's place, or breaks off where an answer is under way.
    fn fail(&mut self, status: u16, words: &str, details: &str) {
        self.until = None;
        let reply = LocalReply::text(status, words).because(details);
        self.chain.stream().local_reply(reply);
        self.chain.pump();
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

    fn trailers(&self, direction: Direction) -> Option<hyper::HeaderMap> {
        let stream = self.chain.stream();
        let trailers = stream.trailers(direction)?;
        headers::to_map(&trailers).ok()
    }
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
