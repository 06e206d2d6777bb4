//! What functions take and give.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use engine_core::json::to_json;
use engine_core::schema::Type;
use serde_json::Value as Json;

/// A value that a function takes or gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// One character.
    Char(char),
    /// A signed integer of 8 bits.
    I8(i8),
    /// A signed integer of 16 bits.
    I16(i16),
    /// A signed integer of 32 bits.
    I32(i32),
    /// A signed integer of 64 bits.
    I64(i64),
    /// An unsigned integer of 8 bits.
    U8(u8),
    /// An unsigned integer of 16 bits.
    U16(u16),
    /// An unsigned integer of 32 bits.
    U32(u32),
    /// An unsigned integer of 64 bits.
    U64(u64),
    /// A 32-bit IEEE 754 number.
    F32(f32),
    /// A 64-bit IEEE 754 number.
    F64(f64),
    /// UTF-8 text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Value>),
    /// A map from names to values, or a record, in an order of its own.
    Map(Vec<(String, Value)>),
}

impl Value {
    /// What kind of value this is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Char(_) => "char",
            Self::I8(_) => "i8",
            Self::I16(_) => "i16",
            Self::I32(_) => "i32",
            Self::I64(_) => "i64",
            Self::U8(_) => "u8",
            Self::U16(_) => "u16",
            Self::U32(_) => "u32",
            Self::U64(_) => "u64",
            Self::F32(_) => "f32",
            Self::F64(_) => "f64",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
        }
    }

    /// The integer that this is, whatever its width; a float that has no fraction is one too.
    pub(crate) fn integer(&self) -> Option<i128> {
        Some(match *self {
            Self::I8(n) => n.into(),
            Self::I16(n) => n.into(),
            Self::I32(n) => n.into(),
            Self::I64(n) => n.into(),
            Self::U8(n) => n.into(),
            Self::U16(n) => n.into(),
            Self::U32(n) => n.into(),
            Self::U64(n) => n.into(),
            Self::F32(n) => return whole(n.into()),
            Self::F64(n) => return whole(n),
            _ => return None,
        })
    }

    /// What JSON says: an integer as `i64` or, beyond that, `u64`; any other number as `f64`.
    pub fn from_json(json: &Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => Self::I64(number),
                (None, Some(number)) => Self::U64(number),
                _ => Self::F64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::Text(text.clone()),
            Json::Array(list) => Self::List(list.iter().map(Self::from_json).collect()),
            Json::Object(map) => {
                let entries = map.iter().map(|(k, v)| (k.clone(), Self::from_json(v)));
                Self::Map(entries.collect())
            }
        }
    }

    /// The same in JSON: bytes as base64 text (RFC 4648, with padding), and the floats that JSON cannot write as the texts
    /// `NaN`, `Infinity` and `-Infinity`.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Char(value) => Json::String(value.to_string()),
            Self::I8(n) => Json::from(*n),
            Self::I16(n) => Json::from(*n),
            Self::I32(n) => Json::from(*n),
            Self::I64(n) => Json::from(*n),
            Self::U8(n) => Json::from(*n),
            Self::U16(n) => Json::from(*n),
            Self::U32(n) => Json::from(*n),
            Self::U64(n) => Json::from(*n),
            Self::F32(n) => float_to_json(f64::from(*n)),
            Self::F64(n) => float_to_json(*n),
            Self::Text(text) => Json::String(text.clone()),
            Self::Bytes(bytes) => Json::String(BASE64_STANDARD.encode(bytes)),
            Self::List(list) => list.iter().map(Self::to_json).collect(),
            Self::Map(map) => {
                let entries = map.iter().map(|(k, v)| (k.clone(), v.to_json()));
                Json::Object(entries.collect())
            }
        }
    }
}

fn float_to_json(number: f64) -> Json {
    to_json(&engine_core::value::Value::Float(number), &Type::Float)
}

/// The integer that a float is, if it has no fraction.
fn whole(number: f64) -> Option<i128> {
    // Beyond 2^64 no integer type takes it.
    let fits = number.trunc() == number && number.abs() < 2e19;
    fits.then_some(number as i128)
}

macro_rules! from {
    ($($variant:ident($ty:ty))*) => {
        $(impl From<$ty> for Value {
            fn from(value: $ty) -> Self {
                Self::$variant(value)
            }
        })*
    };
}

from! {
    Bool(bool) Char(char) I8(i8) I16(i16) I32(i32) I64(i64) U8(u8) U16(u16) U32(u32) U64(u64) F32(f32) F64(f64)
    Text(String) Bytes(Vec<u8>) List(Vec<Value>)
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
