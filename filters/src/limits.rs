//! How much of the host a filter may take, whatever its kind.

use bytes::Bytes;

/// How much of the host a filter may take. What is beyond is refused, and nobody else suffers.
///
/// A guest's own memory and time are limited where it runs; these are for what the host keeps in its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterLimits {
    /// Calls to other services that one filter of one stream may have under way; 50. A plugin without a stream has as many.
    pub stream_calls: usize,
    /// Calls that a filter's virtual machine may have under way on one thread, for all its streams; 10,000.
    pub calls: usize,
    /// Bytes that a guest may make of a body: of a stream's, of a local reply's or of a call's; 16 MiB.
    pub body_bytes: usize,
    /// Bytes of messages that wait to be sent on one gRPC stream, each with [`MESSAGE_COST`] for its place; 4 MiB.
    pub queued_bytes: usize,
}

/// What a message that waits costs beside its bytes.
pub const MESSAGE_COST: usize = 64;

impl Default for FilterLimits {
    fn default() -> Self {
        Self {
            stream_calls: 50,
            calls: 10_000,
            body_bytes: 16 << 20,
            queued_bytes: 4 << 20,
        }
    }
}

impl FilterLimits {
    /// A copy of the bytes that a guest gives as a body; nothing where they are too many.
    pub fn body(&self, bytes: &[u8]) -> Option<Bytes> {
        (bytes.len() <= self.body_bytes).then(|| Bytes::copy_from_slice(bytes))
    }
}
