//! Lua filters, and what routes make of them.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::reader::Reader;
use super::report::Place;
use super::values::DataSource;

/// A Lua filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LuaFilter {
    /// The code that runs where a route names no other.
    pub code: Option<DataSource>,
    /// Code by name, for routes.
    pub sources: BTreeMap<String, DataSource>,
    /// What stands behind `lua.` in the names of its metrics; empty for nothing.
    pub stat_prefix: String,
    /// Whether the route is chosen anew after the filter changed headers.
    pub clear_route_cache: bool,
}

/// What a route or virtual host makes of a Lua filter.
#[derive(Clone, Debug, PartialEq)]
pub struct LuaPerRoute {
    /// Which code runs.
    pub code: LuaRouteCode,
    /// What `filterContext()` answers.
    pub filter_context: Json,
}

/// The code of a Lua filter on a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LuaRouteCode {
    /// The filter's own.
    Default,
    /// None.
    Disabled,
    /// One of the filter's `source_codes`, with the place that names it.
    Named(Place, String),
    /// This code.
    Source(DataSource),
}

impl LuaFilter {
    pub(super) fn read(reader: &Reader<'_>) -> Self {
        reader.at_most_one(&["inline_code", "default_source_code"]);
        let inline = reader
            .field("inline_code")
            .map(|_| DataSource::inline(reader, "inline_code"));
        let default = reader.message("default_source_code", DataSource::read);
        let sources = reader.named("source_codes", DataSource::read);
        Self {
            code: inline.or(default),
            sources: sources
                .into_iter()
                .map(|(key, source)| (key.name, source))
                .collect(),
            stat_prefix: reader.text("stat_prefix"),
            clear_route_cache: reader.flag("clear_route_cache").unwrap_or(true),
        }
    }
}

impl LuaPerRoute {
    pub(super) fn read(reader: &Reader<'_>) -> Self {
        let fields = ["disabled", "name", "source_code"];
        let field = if reader.has("filter_context") {
            reader.at_most_one(&fields)
        } else {
            reader.one_of(&fields)
        };
        let code = match field {
            Some("disabled") if reader.flag("disabled") == Some(true) => LuaRouteCode::Disabled,
            Some("name") => LuaRouteCode::Named(reader.place_of("name"), reader.text("name")),
            Some("source_code") => {
                let source = reader.message("source_code", DataSource::read);
                source.map_or(LuaRouteCode::Default, LuaRouteCode::Source)
            }
            _ => LuaRouteCode::Default,
        };
        reader.entries("filter_context");
        Self {
            code,
            filter_context: reader.json("filter_context"),
        }
    }
}
