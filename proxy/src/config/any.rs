//! Finding the reader of an extension's configuration: by the type of its message, or by its name where it has none.

use super::node::Node;
use super::reader::{Reader, instead};

/// Messages of this type carry another one.
const TYPED_STRUCTS: &[&str] = &["udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct"];

/// One extension that a configuration can name.
pub(super) struct Extension<T> {
    /// Its names, today's first; they count only where there is no type.
    pub(super) names: &'static [&'static str],
    /// The types of its message, today's first, without `type.googleapis.com/`.
    pub(super) types: &'static [&'static str],
    pub(super) read: Read<T>,
}

/// How an extension's message is read.
pub(super) enum Read<T> {
    /// By this function.
    By(fn(&Reader<'_>) -> T),
    /// Not: the proxy does not have the extension, and this is what to do.
    Refused(&'static str),
}

/// Reads an extension: a message with `name` and `typed_config`, or `config` as Envoy had it before.
pub(super) fn extension<T>(reader: &Reader<'_>, known: &[Extension<T>]) -> Option<T> {
    let example = known.iter().find_map(|e| e.offered(e.names));
    let name = reader.need_text("name", example.unwrap_or_default());
    let by_name = || {
        let found = known.iter().find(|e| e.names.contains(&name.as_str()));
        if found.is_none() && !name.is_empty() {
            let names = known.iter().filter_map(|e| e.offered(e.names));
            let known = instead(&name, names);
            let message = format!("the proxy has no `{name}` in `{}`: {known}", reader.name());
            reader.problem_at("name", message);
        }
        found
    };
    reader.at_most_one(&["typed_config", "config"]);
    match (reader.field("typed_config"), reader.field("config")) {
        (Some((_, node)), _) => any(reader, "typed_config", node, known),
        (None, Some((_, node))) => {
            let found = by_name()?;
            let read = |body: &Reader<'_>| found.read(body);
            Reader::read(found.name(), node, reader.report(), read).flatten()
        }
        (None, None) => {
            let found = by_name()?;
            reader.empty(found.name(), |body| found.read(body))
        }
    }
}

/// Reads a message with an `@type`, which may be a `TypedStruct` around it.
pub(super) fn any<T>(
    reader: &Reader<'_>,
    field: &str,
    node: &Node,
    known: &[Extension<T>],
) -> Option<T> {
    Reader::read(field, node, reader.report(), |body| {
        let url = body.need_text("@type", "type.googleapis.com/...");
        if TYPED_STRUCTS.contains(&type_of(&url)) {
            let url = body.need_text("type_url", "type.googleapis.com/...");
            let found = by_type(body, "type_url", &url, known)?;
            let read = |value: &Reader<'_>| found.read(value);
            match body.field("value") {
                Some((_, value)) => {
                    Reader::read(found.name(), value, body.report(), read).flatten()
                }
                None => body.empty(found.name(), read),
            }
        } else {
            let found = by_type(body, "@type", &url, known)?;
            body.renamed(found.name(), |body| found.read(body))
        }
    })
    .flatten()
}

fn by_type<'k, T>(
    body: &Reader<'_>,
    field: &'static str,
    url: &str,
    known: &'k [Extension<T>],
) -> Option<&'k Extension<T>> {
    let name = type_of(url);
    let found = known.iter().find(|e| e.types.contains(&name));
    if found.is_none() {
        body.skip();
        if !name.is_empty() {
            let types = known.iter().filter_map(|e| e.offered(e.types));
            let message = format!("the proxy knows no `{name}` here: {}", instead(name, types));
            body.problem_at(field, message);
        }
    }
    found
}

/// The name of a message in the address of its type.
fn type_of(url: &str) -> &str {
    url.rsplit_once('/').map_or(url, |(_, name)| name)
}

impl<T> Extension<T> {
    fn name(&self) -> &'static str {
        self.names
            .first()
            .or(self.types.first())
            .copied()
            .unwrap_or_default()
    }

    /// The first of its names or types, where the proxy has it.
    fn offered(&self, words: &'static [&'static str]) -> Option<&'static str> {
        let is_there = matches!(self.read, Read::By(_));
        words.first().copied().filter(|_| is_there)
    }

    fn read(&self, body: &Reader<'_>) -> Option<T> {
        match self.read {
            Read::By(read) => Some(read(body)),
            Read::Refused(advice) => {
                let message = format!("the proxy has no `{}`: {advice}", self.name());
                body.problem(message);
                body.skip();
                None
            }
        }
    }
}
