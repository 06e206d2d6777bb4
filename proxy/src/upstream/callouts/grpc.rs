//! Streams of filters to gRPC services, over HTTP/2.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use filters::Headers;
use filters::callout::{CallRefused, GrpcCall, GrpcEvent, GrpcEvents, GrpcStream};
use filters::limits::MESSAGE_COST;
use http::Request;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::config::UpstreamProtocol;
use crate::headers;
use crate::upstream::{BoxBody, BoxError, Upstream, UpstreamError, Upstreams, within};

use super::{MAX_ANSWER, Task};

/// Statuses of gRPC that a call is given here.
mod status {
    pub(super) const UNKNOWN: u32 = 2;
    pub(super) const DEADLINE_EXCEEDED: u32 = 4;
    pub(super) const PERMISSION_DENIED: u32 = 7;
    pub(super) const RESOURCE_EXHAUSTED: u32 = 8;
    pub(super) const UNIMPLEMENTED: u32 = 12;
    pub(super) const INTERNAL: u32 = 13;
    pub(super) const UNAVAILABLE: u32 = 14;
    pub(super) const UNAUTHENTICATED: u32 = 16;
}

/// What stands before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// The status and words that a stream ends with.
type End = (u32, String);

/// Begins a stream to a gRPC service, as [`filters::Worker::grpc`]; within a `LocalSet`.
///
/// The service is asked for by the name of its cluster, as by Envoy. Of its messages `most` bytes may wait to be sent, as
/// [`filters::FilterLimits::queued_bytes`] has it.
///
/// # Errors
/// Where the cluster is not known or speaks no HTTP/2, or the metadata cannot be sent; `events` is not called then.
pub(crate) fn grpc(
    upstreams: &Rc<Upstreams>,
    call: GrpcCall,
    events: GrpcEvents,
    most: usize,
) -> Result<Box<dyn GrpcStream>, CallRefused> {
    let upstream = upstreams
        .get(&call.cluster)
        .ok_or(CallRefused::UnknownCluster)?;
    if upstream.cluster().protocol == UpstreamProtocol::Http1 {
        let words = format!("the cluster `{}` speaks no HTTP/2", call.cluster);
        return Err(CallRefused::BadRequest(words));
    }
    if let Some((name, _)) = call
        .metadata
        .pairs()
        .find(|(name, _)| name.starts_with(b":"))
    {
        let words = format!("there is no `{}` here", name.escape_ascii());
        return Err(CallRefused::BadRequest(words));
    }
    let (messages, queue) = unbounded_channel();
    let link = Rc::new(Link {
        messages: RefCell::new(Some(messages)),
        queued: Cell::new(0),
        is_over: Cell::new(false),
    });
    let body = Messages {
        queue,
        link: link.clone(),
    };
    let request = headers::request(&head(&call), Box::pin(body) as BoxBody);
    let request = request.map_err(CallRefused::BadRequest)?;
    let timeout = call.timeout;
    let mut events = Events {
        events,
        link: link.clone(),
    };
    let task = Task::spawn(async move {
        let stream = async { Ok(run(&upstream, request, &mut events).await) };
        let end = within(timeout, stream).await;
        let (status, words) = end.unwrap_or_else(|error| of_error(&error));
        events.give(GrpcEvent::Closed(status, words));
        events.link.end();
    });
    Ok(Box::new(Sending {
        link,
        most,
        _task: task,
    }))
}

/// What a stream's sender, its body and who takes its events know of each other.
struct Link {
    /// Where messages go; nothing once no more are sent.
    messages: RefCell<Option<UnboundedSender<Bytes>>>,
    /// What the messages that wait there cost.
    queued: Cell<usize>,
    /// Whether nobody wants to hear of the stream any more.
    is_over: Cell<bool>,
}

impl Link {
    /// Ends the stream: where it was not closed before, it is broken off.
    fn end(&self) {
        self.is_over.set(true);
        self.messages.take();
    }
}

/// The headers of a call.
fn head(call: &GrpcCall) -> Headers {
    let mut headers = Headers::from_iter([
        (":method", "POST"),
        (":scheme", "http"),
        (":path", &format!("/{}/{}", call.service, call.method)),
        (":authority", &call.cluster),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]);
    if let Some(timeout) = call.timeout {
        headers.add("grpc-timeout", timeout_text(timeout));
    }
    for (name, value) in call.metadata.pairs() {
        if !matches!(name, b"te" | b"content-type" | b"grpc-timeout") {
            headers.add(name, value);
        }
    }
    headers
}

/// A timeout as gRPC writes it: at most eight digits and a unit.
pub(in crate::upstream) fn timeout_text(timeout: Duration) -> String {
    let nanoseconds = timeout.as_nanos();
    let units = [
        (1, 'n'),
        (1_000, 'u'),
        (1_000_000, 'm'),
        (1_000_000_000, 'S'),
        (60_000_000_000, 'M'),
    ];
    let fitting = units
        .into_iter()
        .find(|(size, _)| nanoseconds / size < 100_000_000);
    let (size, unit) = fitting.unwrap_or((3_600_000_000_000, 'H'));
    format!("{}{unit}", (nanoseconds / size).min(99_999_999))
}

/// Takes what comes back until the stream ends; answers with what.
async fn run(upstream: &Upstream, request: Request<BoxBody>, events: &mut Events) -> End {
    let (response, _) = match upstream.request(request).await {
        Ok(answer) => answer,
        Err(error) => return of_error(&error),
    };
    let (parts, mut body) = response.into_parts();
    let head = headers::from_response(&parts);
    if head.get("grpc-status").is_some() {
        // A service that has nothing to say begins with the end.
        events.give(GrpcEvent::InitialMetadata(Headers::default()));
        return events.trailers(head);
    }
    let kind = head.get("content-type").unwrap_or_default();
    if parts.status != http::StatusCode::OK || !kind.starts_with(b"application/grpc") {
        let words = format!("the service answered with HTTP status {}", parts.status);
        return (of_http(parts.status.as_u16()), words);
    }
    events.give(GrpcEvent::InitialMetadata(head));
    let mut buffer = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = match frame.map(Frame::into_data) {
            Ok(frame) => frame,
            Err(error) => return of_error(&UpstreamError::Reset(error.to_string())),
        };
        match frame {
            Ok(data) => buffer.extend_from_slice(&data),
            Err(frame) => match frame.into_trailers() {
                Ok(_) if !buffer.is_empty() => break,
                Ok(trailers) => return events.trailers(headers::trailers(&trailers)),
                Err(_) => continue,
            },
        }
        loop {
            match message(&mut buffer) {
                Ok(Some(message)) => events.give(GrpcEvent::Message(message)),
                Ok(None) => break,
                Err(end) => return end,
            }
        }
    }
    let what = if buffer.is_empty() {
        "a status"
    } else {
        "the rest of a message"
    };
    (
        status::UNKNOWN,
        format!("the service ended the stream without {what}"),
    )
}

/// Takes the next whole message from what arrived.
fn message(buffer: &mut BytesMut) -> Result<Option<Bytes>, End> {
    let Some(mut prefix) = buffer.get(..PREFIX) else {
        return Ok(None);
    };
    if prefix.get_u8() != 0 {
        return Err((
            status::INTERNAL,
            "the service compressed a message".to_owned(),
        ));
    }
    let length = prefix.get_u32() as usize;
    if length > MAX_ANSWER {
        let words = format!("a message has {length} bytes; {MAX_ANSWER} are allowed");
        return Err((status::RESOURCE_EXHAUSTED, words));
    }
    if buffer.len() - PREFIX < length {
        return Ok(None);
    }
    buffer.advance(PREFIX);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// What an error ends a stream with.
fn of_error(error: &UpstreamError) -> End {
    let status = match error {
        UpstreamError::Timeout => status::DEADLINE_EXCEEDED,
        _ => status::UNAVAILABLE,
    };
    (status, error.to_string())
}

/// The status of gRPC for one of HTTP.
fn of_http(http: u16) -> u32 {
    match http {
        400 => status::INTERNAL,
        401 => status::UNAUTHENTICATED,
        403 => status::PERMISSION_DENIED,
        404 => status::UNIMPLEMENTED,
        429 | 502..=504 => status::UNAVAILABLE,
        _ => status::UNKNOWN,
    }
}

/// Who takes what comes back, until the stream is dropped, which may happen in the middle of an event.
struct Events {
    events: GrpcEvents,
    link: Rc<Link>,
}

impl Events {
    fn give(&mut self, event: GrpcEvent) {
        if !self.link.is_over.get() {
            (self.events)(event);
        }
    }

    /// Gives trailers; answers with what they end the stream.
    fn trailers(&mut self, trailers: Headers) -> End {
        let status = trailers.text("grpc-status").map(str::parse);
        let status = status.and_then(Result::ok).unwrap_or(status::UNKNOWN);
        let words = unescaped(trailers.get("grpc-message").unwrap_or_default());
        self.give(GrpcEvent::TrailingMetadata(trailers));
        (status, words)
    }
}

/// A `grpc-message`, in which a percent sign may stand before two digits of a byte.
fn unescaped(mut text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    while let Some((first, rest)) = text.split_first() {
        let digits = rest
            .get(..2)
            .filter(|d| *first == b'%' && d.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        text = byte.map_or(rest, |_| &rest[2..]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a filter has of its stream.
struct Sending {
    link: Rc<Link>,
    most: usize,
    _task: Task,
}

impl GrpcStream for Sending {
    fn send(&mut self, message: Bytes, end: bool) -> Result<(), CallRefused> {
        if let Some(messages) = &*self.link.messages.borrow() {
            let queued = self.link.queued.get() + message.len() + MESSAGE_COST;
            if queued > self.most {
                return Err(CallRefused::Full);
            }
            self.link.queued.set(queued);
            // A stream that is over takes nothing more, and has said so.
            let _ = messages.send(message);
        }
        if end {
            self.close();
        }
        Ok(())
    }

    fn close(&mut self) {
        self.link.messages.take();
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.link.end();
    }
}

/// The body of a call: messages as they are sent.
struct Messages {
    queue: UnboundedReceiver<Bytes>,
    link: Rc<Link>,
}

impl Body for Messages {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let message = ready!(self.queue.poll_recv(cx));
        if self.link.is_over.get() {
            return Poll::Ready(Some(Err("the call was cancelled".into())));
        }
        let frame = message.map(|message| {
            let cost = message.len() + MESSAGE_COST;
            self.link.queued.update(|queued| queued - cost);
            let length = u32::try_from(message.len()).map_err(|_| "a message is too long")?;
            let mut framed = BytesMut::with_capacity(PREFIX + message.len());
            framed.put_u8(0);
            framed.put_u32(length);
            framed.put(message);
            Ok(Frame::data(framed.freeze()))
        });
        Poll::Ready(frame)
    }
}
