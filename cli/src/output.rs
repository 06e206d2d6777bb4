//! JSON lines on standard output.

use std::io::{self, BufWriter, Stdout, Write};

use extengine::contract::json::row_to_json;
use extengine::contract::schema::Schema;
use extengine::contract::value::Value;
use extengine::{Error, ErrorKind, Result};
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

/// Writes JSON lines.
pub(crate) struct Lines(BufWriter<Stdout>);

impl Lines {
    pub(crate) fn new() -> Self {
        Self(BufWriter::with_capacity(64 << 10, io::stdout()))
    }

    /// Writes one line.
    pub(crate) fn put(&mut self, line: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.0, line)
            .map_err(io::Error::from)
            .and_then(|()| self.0.write_all(b"\n"))
            .map_err(failed)
    }

    /// Hands over what was written.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.0.flush().map_err(failed)
    }
}

/// Writes all of a text.
pub(crate) fn all(text: &[u8]) -> Result<bool> {
    let mut output = io::stdout().lock();
    let written = output.write_all(text).and_then(|()| output.flush());
    written.map(|()| true).map_err(failed)
}

fn failed(source: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("standard output: {source}")).with_source(source)
}

/// Whether an error says that nobody reads standard output any more.
pub(crate) fn is_closed(error: &Error) -> bool {
    let source = std::error::Error::source(error);
    let source = source.and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|source| source.kind() == io::ErrorKind::BrokenPipe)
}

/// An error as a line has it.
pub(crate) fn error_line(error: &Error) -> Json {
    json!({"error": {"kind": error.kind().name(), "message": error.to_string()}})
}

/// An encoded row as a JSON object.
pub(crate) fn row(schema: &Schema, bytes: &[u8]) -> Result<Map<String, Json>> {
    let values: Vec<Value> = schema.decode(bytes)?;
    Ok(row_to_json(&values, schema))
}
