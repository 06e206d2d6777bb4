//! Tables of numbers: limits and the partition's settings.

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
    let is_size = key.contains("bytes") || matches!(key, "memory" | "stack");
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

/// Reads a size such as `16 MiB`.
fn size(text: &str) -> Option<u64> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: u64 = text[..text.len() - unit.len()].parse().ok()?;
    let unit = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_binary_units() {
        for (text, expected) in [
            ("16 MiB", Some(16 << 20)),
            ("3GiB", Some(3 << 30)),
            ("7 KiB", Some(7 << 10)),
            ("12", Some(12)),
            ("12 B", Some(12)),
            ("16 MB", None),
            ("MiB", None),
            ("-1 MiB", None),
            ("1.5 MiB", None),
            ("99999999999999999999", None),
            ("99999999999999999 GiB", None),
            ("", None),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
    }
}
