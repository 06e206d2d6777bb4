//! Values as JSON and back, by schema.
//!
//! Integers are exact to 64 bits. Bytes travel as base64 text (RFC 4648, with padding). Floats that JSON cannot
//! write travel as the texts `NaN`, `Infinity` and `-Infinity`.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Map, Value as Json};

use crate::error::{Error, ErrorKind, Result};
use crate::schema::{Field, Schema, Type};
use crate::value::Value;

fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadArgs, message)
}

/// Writes a value as JSON.
pub fn to_json(value: &Value, ty: &Type) -> Json {
    match (value, ty) {
        (Value::Null, _) => Json::Null,
        (Value::Bool(value), _) => Json::Bool(*value),
        (Value::Int(value), _) => Json::from(*value),
        (Value::Float(value), _) if value.is_finite() => Json::from(*value),
        (Value::Float(value), _) => Json::from(if value.is_nan() {
            "NaN"
        } else if *value > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }),
        (Value::Text(value), _) => Json::from(value.as_str()),
        (Value::Bytes(value), _) => Json::from(BASE64_STANDARD.encode(value)),
        (Value::List(values), Type::Record(schema)) => Json::Object(row_to_json(values, schema)),
        (Value::List(values), Type::List(ty)) => {
            values.iter().map(|value| to_json(value, ty)).collect()
        }
        (Value::List(values), untyped) => {
            values.iter().map(|value| to_json(value, untyped)).collect()
        }
    }
}

/// Writes a row as one JSON object, in schema order.
pub fn row_to_json(values: &[Value], schema: &Schema) -> Map<String, Json> {
    let pairs = schema.fields().iter().zip(values);
    pairs
        .map(|(field, value)| (field.name.to_string(), to_json(value, &field.ty)))
        .collect()
}

/// Reads a value of a type from JSON.
///
/// # Errors
/// `bad_args` with what was expected.
pub fn from_json(json: &Json, ty: &Type) -> Result<Value> {
    let value = match (ty, json) {
        (Type::Bool, Json::Bool(value)) => Value::Bool(*value),
        (Type::Int, Json::Number(number)) => match number.as_i64() {
            Some(value) => Value::Int(value),
            None => {
                return Err(bad(format!(
                    "expected int, found {number}; an int is whole and fits 64 bits"
                )));
            }
        },
        (Type::Float, Json::Number(number)) => match number.as_f64() {
            Some(value) => Value::Float(value),
            None => return Err(bad(format!("expected float, found {number}"))),
        },
        (Type::Float, Json::String(text)) => match text.as_str() {
            "NaN" => Value::Float(f64::NAN),
            "Infinity" => Value::Float(f64::INFINITY),
            "-Infinity" => Value::Float(f64::NEG_INFINITY),
            _ => return Err(bad(format!("expected float, found \"{text}\""))),
        },
        (Type::Text, Json::String(text)) => Value::Text(text.clone()),
        (Type::Bytes, Json::String(text)) => match BASE64_STANDARD.decode(text) {
            Ok(bytes) => Value::Bytes(bytes),
            Err(_) => return Err(bad("expected bytes as base64 with padding")),
        },
        (Type::List(ty), Json::Array(values)) => Value::List(
            values
                .iter()
                .map(|json| from_json(json, ty))
                .collect::<Result<_>>()?,
        ),
        (Type::Record(schema), Json::Object(_)) => Value::List(row_from_json(json, schema)?),
        (ty, json) => return Err(bad(format!("expected {ty}, found {}", name_of(json)))),
    };
    Ok(value)
}

/// Reads a row from a JSON object: an optional field and one with a declared default may be left out, an unknown one is
/// refused.
///
/// # Errors
/// `bad_args` with the field that does not fit.
pub fn row_from_json(json: &Json, schema: &Schema) -> Result<Vec<Value>> {
    let Json::Object(map) = json else {
        return Err(bad(format!(
            "expected an object with the fields ({schema}), found {}",
            name_of(json)
        )));
    };
    if let Some(name) = map.keys().find(|name| schema.position(name).is_none()) {
        return Err(bad(format!(
            "unknown field `{name}`; the fields are ({schema})"
        )));
    }
    let fields = schema.fields().iter();
    fields.map(|field| field_from_json(map, field)).collect()
}

fn field_from_json(map: &Map<String, Json>, field: &Field) -> Result<Value> {
    match map.get(&*field.name) {
        None if field.has_default || field.optional => Ok(field.default.clone()),
        Some(Json::Null) if field.optional => Ok(Value::Null),
        None => Err(bad(format!("field `{}` is missing", field.name))),
        Some(json) => from_json(json, &field.ty)
            .map_err(|error| bad(format!("field `{}`: {}", field.name, error.message()))),
    }
}

fn name_of(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_that_is_left_out_has_its_declared_default_or_is_null_or_is_missed() {
        let schema = "n: int = 0, b: bool = false, o: int? = 4, p: int?, q: int";
        let schema = Schema::parse(schema).unwrap();
        let row = row_from_json(&json!({"q": 1}), &schema).unwrap();
        let expected = [
            Value::Int(0),
            Value::Bool(false),
            Value::Int(4),
            Value::Null,
            Value::Int(1),
        ];
        assert_eq!(row, expected);
        let row = row_from_json(&json!({"q": 1, "o": null}), &schema).unwrap();
        assert_eq!(row[2], Value::Null);
        let error = row_from_json(&json!({}), &schema).unwrap_err();
        assert_eq!(error.message(), "field `q` is missing");
        assert!(row_from_json(&json!({"q": 1, "n": null}), &schema).is_err());
    }
}
