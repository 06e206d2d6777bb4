//! Tables of numbers: limits and the partition's settings.

use engine_core::limits::{is_size, size};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};
use toml::Spanned;
use toml::de::DeValue;

use super::section::Section;

/// Reads a table of numbers over the defaults; the keys are those of the type itself, and `most` is the highest value of each.
/// Keys that the section was asked for before are no numbers.
pub(super) fn numbers<T: Default + Serialize + DeserializeOwned>(
    section: &Section<'_>,
    most: impl Fn(&str) -> u64,
) -> T {
    let mut known = match serde_json::to_value(T::default()) {
        Ok(Json::Object(known)) => known,
        _ => Map::new(),
    };
    for (key, value) in section.entries() {
        let name = *key.get_ref();
        let Some(default) = known.get(name).cloned() else {
            let asked = section.asked();
            if !asked.contains(&name) {
                section.unknown_key(&key, known.keys().map(String::as_str).chain(asked));
            }
            continue;
        };
        let Some(number) = number(section, name, value, most(name)) else {
            continue;
        };
        known.insert(name.to_owned(), number.into());
        if serde_json::from_value::<T>(known.clone().into()).is_err() {
            let message = format!("`{name}` is too large: at most {}", u32::MAX);
            section.problem(value.span(), message);
            known.insert(name.to_owned(), default);
        }
    }
    serde_json::from_value(known.into()).unwrap_or_default()
}

/// Reads a whole number from 1 to `most`; a number of bytes may also be a text such as `16 MiB`.
pub(super) fn number(
    section: &Section<'_>,
    key: &str,
    value: &Spanned<DeValue<'_>>,
    most: u64,
) -> Option<u64> {
    let is_size = is_size(key);
    let number = match value.get_ref() {
        DeValue::Integer(digits) => u64::from_str_radix(digits.as_str(), digits.radix()).ok(),
        DeValue::String(text) if is_size => size(text),
        _ if is_size => {
            section.wrong_type(key, value, "a size, such as `1048576` or `\"1 MiB\"`");
            return None;
        }
        _ => {
            section.wrong_type(key, value, "a whole number");
            return None;
        }
    };
    let number = number.filter(|number| (1..=most).contains(number));
    if number.is_none() {
        let form = if is_size {
            "a size, such as `1048576` or `\"1 MiB\"` (KiB, MiB, GiB),"
        } else {
            "a whole number"
        };
        let range = if most == u64::MAX {
            "of at least 1".to_owned()
        } else {
            format!("from 1 to {most}")
        };
        section.problem(value.span(), format!("`{key}` must be {form} {range}"));
    }
    number
}
