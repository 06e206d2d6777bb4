//! Calls of filters to clusters: whole answers, and streams of gRPC.

mod grpc;
mod http;

pub(crate) use grpc::grpc;
#[cfg(test)]
pub(super) use grpc::timeout_text;
pub(crate) use http::http;

/// The most bytes that the body of a callout's answer, or one message of a stream, may have: 1 MiB.
pub(crate) const MAX_ANSWER: usize = 1 << 20;

/// A task that ends with this.
struct Task(tokio::task::AbortHandle);

impl Task {
    fn spawn(work: impl Future<Output = ()> + 'static) -> Self {
        Self(tokio::task::spawn_local(work).abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
