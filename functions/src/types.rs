//! The types of functions' parameters and results, and how a value becomes one of a type.

use std::borrow::Cow;
use std::fmt;

use engine_core::error::{Error, ErrorKind, Result};

use crate::value::Value;

/// The width of an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Int {
    /// Signed, 8 bits.
    I8,
    /// Signed, 16 bits.
    I16,
    /// Signed, 32 bits.
    I32,
    /// Signed, 64 bits.
    I64,
    /// Unsigned, 8 bits.
    U8,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 64 bits.
    U64,
}

impl Int {
    /// Every width.
    pub const ALL: [Self; 8] = [
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
    ];

    /// The name, such as `i32`.
    pub fn name(self) -> &'static str {
        match self {
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
        }
    }

    /// The least and the greatest integer.
    pub fn range(self) -> (i128, i128) {
        match self {
            Self::I8 => (i8::MIN.into(), i8::MAX.into()),
            Self::I16 => (i16::MIN.into(), i16::MAX.into()),
            Self::I32 => (i32::MIN.into(), i32::MAX.into()),
            Self::I64 => (i64::MIN.into(), i64::MAX.into()),
            Self::U8 => (0, u8::MAX.into()),
            Self::U16 => (0, u16::MAX.into()),
            Self::U32 => (0, u32::MAX.into()),
            Self::U64 => (0, u64::MAX.into()),
        }
    }

    /// The value of this width, of an integer in its range.
    pub(crate) fn value(self, number: i128) -> Value {
        match self {
            Self::I8 => Value::I8(number as i8),
            Self::I16 => Value::I16(number as i16),
            Self::I32 => Value::I32(number as i32),
            Self::I64 => Value::I64(number as i64),
            Self::U8 => Value::U8(number as u8),
            Self::U16 => Value::U16(number as u16),
            Self::U32 => Value::U32(number as u32),
            Self::U64 => Value::U64(number as u64),
        }
    }

    /// The integer of this width that a value is.
    pub(crate) fn take(self, value: &Value) -> Result<i128> {
        let Some(number) = value.integer() else {
            return Err(mismatch(value, self.name()));
        };
        let (least, greatest) = self.range();
        if !(least..=greatest).contains(&number) {
            return Err(bad(format!(
                "{number} is beyond {} ({least} to {greatest})",
                self.name()
            )));
        }
        Ok(number)
    }
}

/// The type of a parameter or result.
///
/// The text form: `bool char i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 text bytes`, where `int` is `i64` and `float` is `f64`;
/// `[type]` for a list, `map[type]` for a map, `{name: type, …}` for a record; and `?` behind any of these for one that may
/// be null.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// True or false.
    Bool,
    /// One character.
    Char,
    /// An integer.
    Int(Int),
    /// A 32-bit IEEE 754 number.
    F32,
    /// A 64-bit IEEE 754 number.
    F64,
    /// UTF-8 text.
    Text,
    /// Bytes.
    Bytes,
    /// A list of one type.
    List(Box<Type>),
    /// A map from text to one type.
    Map(Box<Type>),
    /// A record with these fields.
    Record(Vec<(Box<str>, Type)>),
    /// The same, or null.
    Optional(Box<Type>),
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Char => f.write_str("char"),
            Self::Int(int) => f.write_str(int.name()),
            Self::F32 => f.write_str("f32"),
            Self::F64 => f.write_str("f64"),
            Self::Text => f.write_str("text"),
            Self::Bytes => f.write_str("bytes"),
            Self::List(ty) => write!(f, "[{ty}]"),
            Self::Map(ty) => write!(f, "map[{ty}]"),
            Self::Record(fields) => {
                f.write_str("{")?;
                for (place, (name, ty)) in fields.iter().enumerate() {
                    let comma = if place == 0 { "" } else { ", " };
                    write!(f, "{comma}{name}: {ty}")?;
                }
                f.write_str("}")
            }
            Self::Optional(ty) => write!(f, "{ty}?"),
        }
    }
}

/// The error of a value that does not fit.
pub(crate) fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadArgs, message)
}

#[cold]
fn mismatch(value: &Value, wanted: impl fmt::Display) -> Error {
    bad(format!("{wanted} wanted, {} given", value.kind()))
}

impl Type {
    /// Whether null is one of its values.
    pub fn takes_null(&self) -> bool {
        matches!(self, Self::Optional(_))
    }

    /// The value as one of this type, without loss.
    ///
    /// Any integer that is in its range fits an integer, also a float without a fraction; an integer that a float can hold
    /// exactly fits a float; an `f64` fits an `f32`, rounded, unless it is too large; the texts `NaN`, `Infinity` and
    /// `-Infinity`, which [`Value::to_json`] makes of these floats, are floats; a character is a text; a text is bytes, and
    /// bytes that are UTF-8 are a text, and bytes are a list of `u8`; a map with the
    /// fields of a record is that record, and one that lacks an optional field has null there. Nothing else is converted.
    ///
    /// # Errors
    /// `bad_args`, saying what does not fit.
    pub fn take<'v>(&self, value: &'v Value) -> Result<Cow<'v, Value>> {
        Ok(match (self, value) {
            (Self::Optional(_), Value::Null)
            | (Self::Bool, Value::Bool(_))
            | (Self::Char, Value::Char(_))
            | (Self::F32, Value::F32(_))
            | (Self::F64, Value::F64(_))
            | (Self::Text, Value::Text(_))
            | (Self::Bytes, Value::Bytes(_)) => Cow::Borrowed(value),
            (Self::Optional(ty), _) => return ty.take(value),
            (Self::Int(int), _) => Cow::Owned(int.value(int.take(value)?)),
            (Self::F32, _) => Cow::Owned(Value::F32(f32_of(value)?)),
            (Self::F64, _) => Cow::Owned(Value::F64(f64_of(value)?)),
            (Self::Text, Value::Char(c)) => Cow::Owned(Value::Text(c.to_string())),
            (Self::Bytes, Value::Text(text)) => Cow::Owned(Value::Bytes(text.as_bytes().to_vec())),
            (Self::Text, Value::Bytes(bytes)) => match std::str::from_utf8(bytes) {
                Ok(text) => Cow::Owned(Value::Text(text.to_owned())),
                Err(_) => return Err(bad("text wanted, bytes that are no UTF-8 given")),
            },
            (Self::Char, Value::Text(text)) => {
                let mut chars = text.chars();
                match (chars.next(), chars.next()) {
                    (Some(c), None) => Cow::Owned(Value::Char(c)),
                    _ => return Err(bad("char wanted, a text of another length given")),
                }
            }
            (Self::List(ty), Value::List(list)) => {
                let taken = list.iter().enumerate().map(|(place, value)| {
                    let taken = ty.take(value).map_err(|e| within(place, &e));
                    Ok(taken?.into_owned())
                });
                Cow::Owned(Value::List(taken.collect::<Result<_>>()?))
            }
            (Self::List(ty), Value::Bytes(bytes)) if **ty == Self::Int(Int::U8) => {
                Cow::Owned(Value::List(bytes.iter().copied().map(Value::U8).collect()))
            }
            (Self::Map(ty), Value::Map(map)) => {
                let taken = map.iter().map(|(name, value)| {
                    let taken = ty.take(value).map_err(|e| within(name, &e))?;
                    Ok((name.clone(), taken.into_owned()))
                });
                Cow::Owned(Value::Map(taken.collect::<Result<_>>()?))
            }
            (Self::Record(fields), Value::Map(map)) => Cow::Owned(record(fields, map)?),
            _ => return Err(mismatch(value, self)),
        })
    }

    /// A function's result as one of this type, which it declares.
    ///
    /// # Errors
    /// `bad_intent` where it does not fit.
    pub(crate) fn give(&self, value: Value) -> Result<Value> {
        let taken = match self.take(&value) {
            Ok(Cow::Borrowed(_)) => None,
            Ok(Cow::Owned(taken)) => Some(taken),
            Err(error) => {
                let message = format!("the result: {}", error.message());
                return Err(Error::new(ErrorKind::BadIntent, message));
            }
        };
        Ok(taken.unwrap_or(value))
    }
}

fn record(fields: &[(Box<str>, Type)], map: &[(String, Value)]) -> Result<Value> {
    let unknown = |name: &String| !fields.iter().any(|(field, _)| **field == **name);
    if let Some((name, _)) = map.iter().find(|(name, _)| unknown(name)) {
        return Err(bad(format!("the record has no field `{name}`")));
    }
    let taken = fields.iter().map(|(field, ty)| {
        let given = map.iter().find(|(name, _)| **name == **field);
        let value = given.map_or(&Value::Null, |(_, value)| value);
        let taken = ty.take(value).map_err(|e| within(field, &e))?;
        Ok((field.to_string(), taken.into_owned()))
    });
    Ok(Value::Map(taken.collect::<Result<_>>()?))
}

fn within(place: impl fmt::Display, error: &Error) -> Error {
    bad(format!("in {place}: {}", error.message()))
}

/// The float that JSON has no number for, and [`Value::to_json`] writes as this text.
fn not_finite(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// The 64-bit float that a value is exactly.
pub(crate) fn f64_of(value: &Value) -> Result<f64> {
    match value {
        Value::F64(number) => Ok(*number),
        Value::F32(number) => Ok((*number).into()),
        Value::Text(text) => not_finite(text).ok_or_else(|| mismatch(value, "f64")),
        _ => match value.integer() {
            Some(number) if (number as f64) as i128 == number => Ok(number as f64),
            Some(number) => Err(bad(format!("{number} has no exact f64"))),
            None => Err(mismatch(value, "f64")),
        },
    }
}

/// The 32-bit float nearest to a value.
pub(crate) fn f32_of(value: &Value) -> Result<f32> {
    match value {
        Value::F32(number) => Ok(*number),
        Value::F64(number) => {
            let near = *number as f32;
            if near.is_infinite() && number.is_finite() {
                return Err(bad(format!("{number} is beyond f32")));
            }
            Ok(near)
        }
        Value::Text(text) => match not_finite(text) {
            Some(number) => Ok(number as f32),
            None => Err(mismatch(value, "f32")),
        },
        _ => match value.integer() {
            Some(number) if (number as f32) as i128 == number => Ok(number as f32),
            Some(number) => Err(bad(format!("{number} has no exact f32"))),
            None => Err(mismatch(value, "f32")),
        },
    }
}
