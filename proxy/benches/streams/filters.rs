//! The filters that are measured: but for `redact`, each adds one header to requests and one to responses.

use std::sync::Arc;

use clap::ValueEnum;
use filters::Direction;
use filters::native::{Answer, BoxError, NativeFilter, Stream, StreamFilter};
// It registers `example.redact`.
use filters_examples as _;
use serde_json::Value;

use crate::yaml;

/// A filter, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    None,
    /// `add-header.wasm` on Wasmtime.
    Wasmtime,
    /// The same on Wasmer.
    Wasmer,
    Native,
    /// The example that hides fields of JSON.
    Redact,
    Lua,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Wasmtime => "wasmtime",
            Self::Wasmer => "wasmer",
            Self::Native => "native",
            Self::Redact => "redact",
            Self::Lua => "lua",
        }
    }

    /// The engine of WASM filters, which others have no use for.
    pub(crate) fn engine(self) -> &'static str {
        match self {
            Self::Wasmer => "wasmer",
            _ => "wasmtime",
        }
    }

    /// The header that its responses have.
    pub(crate) fn mark(self) -> Option<&'static str> {
        match self {
            Self::None | Self::Redact => None,
            _ => Some("x-by"),
        }
    }

    /// The filter's part of a configuration.
    pub(crate) fn yaml(self) -> String {
        match self {
            Self::None => String::new(),
            Self::Wasmtime | Self::Wasmer => {
                let configuration = r#"
                configuration:
                  "@type": type.googleapis.com/google.protobuf.StringValue
                  value: "request x-from: edge\nresponse x-by: extengine""#;
                let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/proxy/filters");
                yaml::wasm("add-header", "add-header.wasm", configuration).replace("FOLDER", folder)
            }
            Self::Native => native("bench.add-header", "{}"),
            Self::Redact => native("example.redact", "{fields: [password]}"),
            Self::Lua => r#"
          - name: lua
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
              default_source_code:
                inline_string: |
                  function envoy_on_request(handle) handle:headers():add('x-from', 'edge') end
                  function envoy_on_response(handle) handle:headers():add('x-by', 'extengine') end"#
                .to_owned(),
        }
    }
}

fn native(name: &str, config: &str) -> String {
    format!(
        r#"
          - name: native
            typed_config:
              "@type": type.googleapis.com/extengine.filters.http.native.v1.Native
              name: {name}
              config: {config}"#
    )
}

struct AddHeader;

filters::native_filter!("bench.add-header", AddHeader);

impl NativeFilter for AddHeader {
    type Config = ();

    fn parse(_: &Value) -> Result<(), BoxError> {
        Ok(())
    }

    fn new(_: &Arc<()>) -> Self {
        Self
    }
}

impl StreamFilter for AddHeader {
    fn decode_headers(&mut self, stream: &Stream<'_, Self>, _: bool) -> Answer {
        if let Some(mut headers) = stream.headers(Direction::Request) {
            headers.add("x-from", "edge");
        }
        Answer::Continue
    }

    fn encode_headers(&mut self, stream: &Stream<'_, Self>, _: bool) -> Answer {
        if let Some(mut headers) = stream.headers(Direction::Response) {
            headers.add("x-by", "extengine");
        }
        Answer::Continue
    }
}
