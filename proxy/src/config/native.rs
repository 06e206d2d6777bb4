//! Native filters, which are compiled into the proxy and named by the configuration.

use serde_json::Value as Json;

use super::reader::Reader;
use super::report::Place;

/// The type of a native filter's message, for a filter and for a route.
pub(super) const NATIVE: &str = "extengine.filters.http.native.v1.Native";

/// A native filter.
#[derive(Clone, Debug, PartialEq)]
pub struct NativeFilter {
    /// Where its name stands.
    pub place: Place,
    /// The name under which it is compiled in.
    pub name: String,
    /// What the filter parses as its configuration; `null` where there is none.
    pub config: Json,
}

impl NativeFilter {
    pub(super) fn read(reader: &Reader<'_>) -> Self {
        Self {
            name: reader.need_text("name", "my_filter"),
            place: reader.place_of("name"),
            config: reader.json("config"),
        }
    }

    /// What a route adds: a configuration that the filter merges into its own.
    pub(super) fn read_route(reader: &Reader<'_>) -> Json {
        reader.require("config", "{ ... }");
        reader.json("config")
    }
}
