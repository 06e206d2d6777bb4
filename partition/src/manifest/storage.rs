//! The tables `[storages.*]`.

use engine_core::catalog::Catalog;
use engine_core::schema::{Field, Schema};

use super::section::{Section, check_name};

const EXAMPLE: &str = "\"<field>: <type>, ...\"";

/// Reads every storage.
///
/// A storage with a problem is in the catalog too, so that whoever names it is not blamed.
pub(super) fn read(root: &Section<'_>) -> Catalog {
    let mut catalog = Catalog::default();
    for (name, section) in root.sections("storages") {
        if is_system(name.get_ref()) {
            let why = "names that begin with `sys` are the host's own storages: choose another";
            section.problem(name.span(), format!("`{}`: {why}", name.get_ref()));
            continue;
        }
        check_name(&section, "a storage", &name, "");
        section.require("key", EXAMPLE);
        section.require("value", EXAMPLE);
        let mut key = section.schema("key").unwrap_or_default();
        let value = section.schema("value").unwrap_or_default();
        section.end();
        if let (Err(error), Some(span)) = (key.check_usable_as_key(), section.span_of("key")) {
            section.problem(span, error.message());
            key = Schema::default();
        }
        check_fields(&section, &key, &value);
        if let Err(error) = catalog.add(name.get_ref(), key, value) {
            section.problem(name.span(), error.message());
        }
    }
    catalog
}

/// What stands beside the fields of a row where it is shown: its partition.
pub(super) const PARTITION: &str = "partition";

/// Key and value are shown as one object, so no name may stand for two things in it.
fn check_fields(section: &Section<'_>, key: &Schema, value: &Schema) {
    let key_fields = key.fields().iter().map(|field| ("key", field));
    let value_fields = value.fields().iter().map(|field| ("value", field));
    for (place, Field { name, .. }) in key_fields.chain(value_fields) {
        let span = section.span_of(place).unwrap_or(section.span());
        if **name == *"storage" || **name == *PARTITION {
            let why = "rows are shown with their storage and their partition under these names";
            section.problem(span, format!("field `{name}`: {why}: choose another"));
        } else if place == "value" && key.position(name).is_some() {
            let why = "a row's key and value are one object where it is shown or written";
            section.problem(
                span,
                format!("field `{name}` is in the key, too; {why}: choose another"),
            );
        }
    }
}

/// Whether a name is for the host's own storages; unquoted, `sys.event` is a table `sys` in TOML.
pub(super) fn is_system(name: &str) -> bool {
    name == "sys" || name.starts_with("sys.")
}
