//! Values of protocol buffers as JSON writes them, and data that stands in the configuration or beside it.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use engine_core::error::{Error, ErrorKind, Result};
use filters::Metadata;
use serde_json::{Map, Number, Value as Json};

use super::node::{Node, Value};
use super::reader::Reader;
use super::report::Place;

/// The longest duration of protocol buffers, in seconds.
const MAX_SECONDS: u64 = 315_576_000_000;

const BASE64: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// Reads a duration such as `5s` or `0.25s`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let number = text.strip_suffix('s')?;
    let (seconds, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(seconds) || !is_number(fraction) || fraction.len() > 9 {
        return None;
    }
    let seconds = seconds.parse().ok().filter(|s| *s <= MAX_SECONDS)?;
    let nanoseconds = format!("{fraction:0<9}").parse().ok()?;
    Some(Duration::new(seconds, nanoseconds))
}

/// A float as a whole number, where it is one and a float can be sure of it.
pub(super) fn whole(number: f64) -> Option<i64> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the number is whole and within the range"
    )]
    (number.fract() == 0.0 && number.abs() <= (1_u64 << 53) as f64).then_some(number as i64)
}

/// Reads Base64, with either alphabet.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let alphabet = if text.contains(['-', '_']) {
        alphabet::URL_SAFE
    } else {
        alphabet::STANDARD
    };
    GeneralPurpose::new(&alphabet, BASE64).decode(text).ok()
}

/// A value as JSON, as Envoy makes it of YAML: whole numbers beyond 32 bits become texts.
pub(super) fn json(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(number) => match i32::try_from(*number) {
            Ok(number) => number.into(),
            Err(_) => number.to_string().into(),
        },
        Value::Float(number) => match (whole(*number), Number::from_f64(*number)) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) if number.is_nan() => "NaN".into(),
            (None, None) if *number > 0.0 => "Infinity".into(),
            (None, None) => "-Infinity".into(),
        },
        Value::Text(text) => text.as_str().into(),
        Value::List(list) => list.iter().map(|node| json(node)).collect(),
        Value::Map(fields) => {
            let fields = fields.iter();
            let fields: Map<_, _> = fields
                .map(|(key, node)| (key.name.clone(), json(node)))
                .collect();
            fields.into()
        }
    }
}

/// Reads `metadata`.
pub(super) fn metadata(reader: &Reader<'_>) -> Metadata {
    let metadata = reader.message("metadata", |r| {
        let named = r.entries("filter_metadata").iter();
        named
            .map(|(key, node)| (key.name.clone(), json(node)))
            .collect()
    });
    metadata.unwrap_or_default()
}

/// Data that stands in the configuration, in a file or in an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSource {
    /// Where the configuration names it.
    pub place: Place,
    /// Where the bytes are.
    pub from: DataFrom,
}

/// Where the bytes of a [`DataSource`] are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataFrom {
    /// In the configuration.
    Inline(Vec<u8>),
    /// In a file; a relative name starts from the working directory, as in Envoy.
    File(PathBuf),
    /// In an environment variable.
    Environment(String),
}

impl DataSource {
    /// Reads the bytes.
    ///
    /// # Errors
    /// `io` where there is no such file or variable, or it cannot be read; the error's place is the line and column.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>> {
        let (read, name) = match &self.from {
            DataFrom::Inline(bytes) => return Ok(Cow::Borrowed(bytes)),
            DataFrom::File(path) => (
                std::fs::read(path).map_err(|error| error.to_string()),
                format!("the file `{}`", path.display()),
            ),
            DataFrom::Environment(name) => (
                std::env::var(name)
                    .map(String::into_bytes)
                    .map_err(|error| error.to_string()),
                format!("the environment variable `{name}`"),
            ),
        };
        read.map(Cow::Owned).map_err(|error| {
            let message = format!("cannot read {name}: {error}");
            Error::new(ErrorKind::Io, message).at(|| self.place.to_string())
        })
    }

    /// What stands for data that is missing.
    pub(super) fn empty(place: Place) -> Self {
        let from = DataFrom::Inline(Vec::new());
        Self { place, from }
    }

    /// A text that is the data itself.
    pub(super) fn inline(reader: &Reader<'_>, field: &'static str) -> Self {
        Self {
            place: reader.place_of(field),
            from: DataFrom::Inline(reader.text(field).into_bytes()),
        }
    }

    pub(super) fn read(reader: &Reader<'_>) -> Self {
        reader.refuse(
            "watched_directory",
            "change the configuration's file to reload",
        );
        let field = reader.one_of(&[
            "filename",
            "inline_string",
            "inline_bytes",
            "environment_variable",
        ]);
        let from = match field {
            Some("filename") => DataFrom::File(reader.need_text("filename", "/etc/file").into()),
            Some("inline_bytes") => {
                let text = reader.text("inline_bytes");
                let bytes = base64(&text);
                if bytes.is_none() {
                    let message =
                        "`inline_bytes` is no Base64: encode the bytes, or use `inline_string`";
                    reader.problem_at("inline_bytes", message);
                }
                DataFrom::Inline(bytes.unwrap_or_default())
            }
            Some("environment_variable") => {
                DataFrom::Environment(reader.need_text("environment_variable", "NAME"))
            }
            _ => DataFrom::Inline(reader.text("inline_string").into_bytes()),
        };
        let place = field.map_or(reader.place(), |field| reader.place_of(field));
        Self { place, from }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_with_a_fraction() {
        for (text, expected) in [
            ("0.25s", Some(Duration::from_millis(250))),
            ("5s", Some(Duration::from_secs(5))),
            ("0s", Some(Duration::ZERO)),
            ("0.000000001s", Some(Duration::from_nanos(1))),
            ("5", None),
            ("5ms", None),
            ("-1s", None),
            (".5s", None),
            ("1e3s", None),
            ("0.0000000001s", None),
            ("99999999999999s", None),
        ] {
            assert_eq!(duration(text), expected, "{text}");
        }
    }

    #[test]
    fn base64_is_read_with_either_alphabet() {
        assert_eq!(base64("+/8="), Some(vec![0xfb, 0xff]));
        assert_eq!(base64("-_8"), Some(vec![0xfb, 0xff]));
        assert_eq!(base64("*"), None);
    }
}
