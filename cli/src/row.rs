//! A line of `extengine pipe`: a JSON object, whose values are read only where somebody asks for them.

use std::fmt;

use extengine::{Error, ErrorKind, Result};
use indexmap::IndexMap;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::Value as Json;
use serde_json::value::{RawValue, to_raw_value};

/// The fields of a line, in order. What nobody asks for is written as it was read, to the last digit.
#[derive(Default)]
pub(crate) struct Row(IndexMap<String, Box<RawValue>>);

impl Row {
    /// The value of a field.
    ///
    /// # Errors
    /// `bad_args` for a number that is none of 64 bits.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Json>> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        let read = serde_json::from_str(value.get()).map(Some);
        read.map_err(|error| Error::new(ErrorKind::BadArgs, format!("field `{name}`: {error}")))
    }

    /// Gives a field a value.
    ///
    /// # Errors
    /// `internal` for a value that JSON does not have.
    pub(crate) fn set(&mut self, name: &str, value: &Json) -> Result<()> {
        let value = to_raw_value(value);
        let value = value.map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        self.0.insert(name.to_owned(), value);
        Ok(())
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.0)
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Row;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
                let mut row = Row::default();
                while let Some((name, value)) = map.next_entry()? {
                    row.0.insert(name, value);
                }
                Ok(row)
            }
        }

        deserializer.deserialize_map(Fields)
    }
}
