//! Calls that filters make to other services.

use std::time::Duration;

use bytes::Bytes;

use crate::headers::Headers;

/// A request to another service.
#[derive(Clone, Debug)]
pub struct HttpCall {
    /// The cluster that it goes to.
    pub cluster: String,
    /// Its headers, with `:method`, `:path` and `:authority`.
    pub headers: Headers,
    /// Its body.
    pub body: Bytes,
    /// Its trailers.
    pub trailers: Headers,
    /// How long an answer may take; none where it may take for ever.
    pub timeout: Option<Duration>,
}

/// What another service answered.
#[derive(Clone, Debug, Default)]
pub struct HttpAnswer {
    /// Its headers, with `:status`.
    pub headers: Headers,
    /// Its whole body.
    pub body: Bytes,
    /// Its trailers.
    pub trailers: Headers,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallFailed {
    /// Nobody answered in time.
    Timeout,
    /// There was no connection, or it broke.
    Reset,
    /// The answer is larger than a callout's answer may be.
    TooLarge,
}

/// Why a call was not begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallRefused {
    /// There is no cluster of that name.
    UnknownCluster,
    /// What should be sent is no request; in words.
    BadRequest(String),
    /// The filter has as much under way as it [may](crate::FilterLimits): calls, or messages that wait to be sent.
    Full,
    /// The worker makes no such calls.
    Unavailable,
}

/// Takes the end of a call.
pub type HttpDone = Box<dyn FnOnce(Result<HttpAnswer, CallFailed>)>;

/// A call under way, which is given up when this is dropped.
pub trait Pending {}

/// A stream to a gRPC service.
#[derive(Clone, Debug)]
pub struct GrpcCall {
    /// The cluster that it goes to.
    pub cluster: String,
    /// The service, such as `package.Service`.
    pub service: String,
    /// The method.
    pub method: String,
    /// What is sent in front.
    pub metadata: Headers,
    /// How long the whole of it may take; none where it may take for ever.
    pub timeout: Option<Duration>,
}

/// What comes back on a gRPC stream.
#[derive(Clone, Debug)]
pub enum GrpcEvent {
    /// What the service sends in front.
    InitialMetadata(Headers),
    /// A message.
    Message(Bytes),
    /// What it sends behind all messages.
    TrailingMetadata(Headers),
    /// The end: a status of gRPC and its words. Nothing follows.
    Closed(u32, String),
}

/// Takes what comes back.
pub type GrpcEvents = Box<dyn FnMut(GrpcEvent)>;

/// A gRPC stream under way, which is cancelled when this is dropped.
pub trait GrpcStream {
    /// Sends a message, the last one where `end` is set. A stream that is over takes it and does nothing.
    ///
    /// # Errors
    /// `Full` where too much waits to be sent already; the message is not sent then, and neither is the end.
    fn send(&mut self, message: Bytes, end: bool) -> Result<(), CallRefused>;

    /// Says that nothing more will be sent.
    fn close(&mut self);
}
