//! Values of a case: bytes that are put in, and what is wanted of those that come out.

use std::fmt;

use bytes::Bytes;
use filters::Headers;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Bytes: text, or `{ hex = "00ff" }`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blob(pub Bytes);

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// What a string, a list or a table of a case stands for.
macro_rules! visit {
    ($name:ty, $expecting:literal, $($visit:tt)*) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Read;

                impl<'de> Visitor<'de> for Read {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    $($visit)*
                }

                deserializer.deserialize_any(Read)
            }
        }
    };
}

/// The value of a table's only field.
fn only<'de, M: MapAccess<'de>>(mut map: M, field: &'static str) -> Result<String, M::Error> {
    let mut value = None;
    while let Some(key) = map.next_key::<String>()? {
        if key != field {
            return Err(M::Error::custom(format!(
                "unknown field `{key}`, expected `{field}`"
            )));
        }
        value = Some(map.next_value()?);
    }
    value.ok_or_else(|| M::Error::missing_field(field))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect::<Option<Vec<u8>>>()
        .filter(|_| text.len().is_multiple_of(2))
}

visit! { Blob, "text or { hex = \"…\" }",
    fn visit_str<E: Error>(self, text: &str) -> Result<Blob, E> {
        Ok(Blob(Bytes::copy_from_slice(text.as_bytes())))
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Blob, M::Error> {
        let hex = only(map, "hex")?;
        let bytes = unhex(&hex).ok_or_else(|| M::Error::custom(format!("`{hex}` is not hexadecimal")))?;
        Ok(Blob(bytes.into()))
    }
}

/// Chunks of a body: one, or a list.
#[derive(Debug, Default)]
pub(crate) struct Chunks(pub(crate) Vec<Bytes>);

visit! { Chunks, "text, { hex = \"…\" }, or a list of these",
    fn visit_str<E: Error>(self, text: &str) -> Result<Chunks, E> {
        Ok(Chunks(vec![Bytes::copy_from_slice(text.as_bytes())]))
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Chunks, M::Error> {
        let Blob(chunk) = Blob::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Chunks(vec![chunk]))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, seq: S) -> Result<Chunks, S::Error> {
        let chunks = Vec::<Blob>::deserialize(SeqAccessDeserializer::new(seq))?;
        Ok(Chunks(chunks.into_iter().map(|Blob(chunk)| chunk).collect()))
    }
}

/// Headers, in order; a name with a list has each of its values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pairs(pub(crate) Headers);

/// A header's values.
struct Values(Vec<String>);

visit! { Values, "text or a list of texts",
    fn visit_str<E: Error>(self, text: &str) -> Result<Values, E> {
        Ok(Values(vec![text.to_owned()]))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, seq: S) -> Result<Values, S::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Values)
    }
}

visit! { Pairs, "a table of headers",
    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Pairs, M::Error> {
        let mut headers = Headers::default();
        while let Some((name, Values(values))) = map.next_entry::<String, Values>()? {
            for value in values {
                headers.add(&name, value);
            }
        }
        Ok(Pairs(headers))
    }
}

/// What is wanted of a value.
#[derive(Debug)]
pub(crate) enum Want {
    /// It is there, or not.
    There(bool),
    /// It is this, and the only one.
    Is(Bytes),
    /// These, in order.
    All(Vec<String>),
    /// One has this in it.
    Contains(String),
}

visit! { Want, "text, a list of texts, true, false, { hex = \"…\" } or { contains = \"…\" }",
    fn visit_bool<E: Error>(self, there: bool) -> Result<Want, E> {
        Ok(Want::There(there))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Want, E> {
        Ok(Want::Is(Bytes::copy_from_slice(text.as_bytes())))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, seq: S) -> Result<Want, S::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Want::All)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Want, M::Error> {
        let Some((key, value)) = map.next_entry::<String, String>()? else {
            return Err(M::Error::missing_field("contains"));
        };
        if let Some(more) = map.next_key::<String>()? {
            return Err(M::Error::custom(format!("`{key}` stands alone, without `{more}`")));
        }
        match &*key {
            "contains" => Ok(Want::Contains(value)),
            "hex" => unhex(&value)
                .map(|bytes| Want::Is(bytes.into()))
                .ok_or_else(|| M::Error::custom(format!("`{value}` is not hexadecimal"))),
            _ => Err(M::Error::custom(format!(
                "unknown field `{key}`, expected `contains` or `hex`"
            ))),
        }
    }
}

impl Want {
    /// Whether values are as wanted.
    pub(crate) fn fits(&self, values: &[&[u8]]) -> bool {
        match self {
            Self::There(there) => *there != values.is_empty(),
            Self::Is(one) => matches!(values, [value] if value == one),
            Self::All(all) => {
                values.len() == all.len()
                    && all
                        .iter()
                        .zip(values)
                        .all(|(all, value)| all.as_bytes() == *value)
            }
            Self::Contains(part) => values.iter().any(|value| {
                part.is_empty()
                    || value
                        .windows(part.len())
                        .any(|window| window == part.as_bytes())
            }),
        }
    }

    /// Whether a value is as wanted that is always handed over: an empty one is not there.
    pub(crate) fn fits_one(&self, value: &[u8]) -> bool {
        match self {
            Self::There(there) => *there != value.is_empty(),
            _ => self.fits(&[value]),
        }
    }
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::There(true) => f.write_str("something"),
            Self::There(false) => f.write_str("nothing"),
            Self::Is(value) => f.write_str(&show(value)),
            Self::All(values) => write!(f, "{values:?}"),
            Self::Contains(part) => write!(f, "{part:?} in it"),
        }
    }
}

/// Bytes as somebody reads them: text in quotes, or hexadecimal.
pub(crate) fn show(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("{text:?}"),
        Err(_) => {
            let hex = bytes.iter().map(|byte| format!("{byte:02x}"));
            format!("hex {}", hex.collect::<String>())
        }
    }
}

/// Values as somebody reads them.
pub(crate) fn show_all(values: &[&[u8]]) -> String {
    if values.is_empty() {
        return "nothing".into();
    }
    let shown: Vec<_> = values.iter().map(|value| show(value)).collect();
    shown.join(", ")
}
