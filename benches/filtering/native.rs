//! The filters in Rust.

use std::sync::Arc;

use filters::Direction;
use filters::native::{Answer, BoxError, NativeFilter, Stream, StreamFilter};
use serde_json::Value;

filters::native_filter!("bench.empty", Empty);
filters::native_filter!("bench.header", Header);

/// Does nothing.
struct Empty;

/// Reads a header and adds another one.
struct Header;

impl StreamFilter for Empty {}

impl StreamFilter for Header {
    fn decode_headers(&mut self, stream: &Stream<'_, Self>, _: bool) -> Answer {
        if let Some(mut headers) = stream.headers(Direction::Request) {
            let path = headers.get(":path").unwrap_or_default().to_vec();
            headers.add("x-seen", path);
        }
        Answer::Continue
    }
}

impl NativeFilter for Empty {
    type Config = ();

    fn parse(_: &Value) -> Result<(), BoxError> {
        Ok(())
    }

    fn new(_: &Arc<()>) -> Self {
        Self
    }
}

impl NativeFilter for Header {
    type Config = ();

    fn parse(_: &Value) -> Result<(), BoxError> {
        Ok(())
    }

    fn new(_: &Arc<()>) -> Self {
        Self
    }
}
