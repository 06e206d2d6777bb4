//! Keys and rows in their encodings: what decodes encodes to the same bytes, the checks without decoding agree, keys sort as
//! their fields do, and rows of an older schema are made whole once.
#![no_main]

use std::cmp::Ordering;
use std::sync::LazyLock;

use engine_core::catalog::{Catalog, StorageId};
use engine_core::json::{row_from_json, row_to_json};
use engine_core::key::{self, Extent};
use engine_core::schema::Schema;
use engine_core::value::{self, Reader, Value};
use fuzz::input::Input;
use libfuzzer_sys::fuzz_target;
use serde_json::Value as Json;

static KEYS: LazyLock<Vec<Schema>> = LazyLock::new(|| {
    parsed(&[
        "",
        "id: int",
        "a: int, b: int?",
        "a: text, b: int",
        "a: bytes?, b: text?, c: bool",
        "a: float, b: bool?, c: float?",
        "a: bool, b: int, c: float, d: text, e: bytes",
    ])
});

static ROWS: LazyLock<Vec<Schema>> = LazyLock::new(|| {
    let mut rows = parsed(&[
        "",
        "n: int",
        "a: int, b: text?, c: float = 1.5, d: bytes",
        "a: [int], b: [[text]]",
        "a: {x: int, y: {z: bool?}?}, b: [{t: text, n: int = 7}]",
        "a: bool?, b: int?, c: float?, d: text?, e: bytes?, f: [int]?, g: {}?",
        "a: [[[[[[[[[[[[[[[int]]]]]]]]]]]]]]]",
    ]);
    rows.push(Catalog::default().storage(StorageId::EVENT).value.clone());
    rows
});

fn parsed(texts: &[&str]) -> Vec<Schema> {
    texts
        .iter()
        .map(|text| Schema::parse(text).expect("a schema"))
        .collect()
}

/// The order of two keys' fields.
fn order(one: &[Value], other: &[Value]) -> Ordering {
    let fields = one.iter().zip(other).map(|fields| match fields {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Less,
        _ => Ordering::Greater,
    });
    fields
        .fold(Ordering::Equal, Ordering::then)
        .then(one.len().cmp(&other.len()))
}

fn key(schema: &Schema, bytes: &[u8]) -> Option<Vec<Value>> {
    let is_prefix = schema.check_key(bytes, Extent::Prefix).is_ok();
    let decoded = schema.decode_key(bytes);
    assert_eq!(decoded.is_ok(), is_prefix);
    let values = decoded.ok()?;
    assert_eq!(
        schema.check_key(bytes, Extent::Full).is_ok(),
        values.len() == schema.len()
    );
    assert_eq!(key::encode(&values).expect("a key's fields"), bytes);
    Some(values)
}

fn row(schema: &Schema, bytes: &[u8]) {
    let checked = schema.check(bytes);
    let whole = value::decode(bytes);
    if let Ok(values) = &whole {
        assert_eq!(value::encode(values), bytes, "{values:?}");
        let mut reader = Reader::new(bytes);
        reader.skip().expect("what decodes");
        assert!(reader.is_at_end());
    }
    if let Err(error) = whole.as_ref().and(checked.as_ref()) {
        assert!(!error.message().is_empty());
    }
    let decoded = schema.decode(bytes);
    if checked.is_ok() {
        let values = decoded.as_ref().expect("what was checked");
        assert_eq!(value::encode(values), bytes, "{values:?}");
    }
    let normal = schema.normalise(bytes);
    assert_eq!(normal.is_ok(), decoded.is_ok());
    let (Ok(values), Ok(normal)) = (decoded, normal) else {
        return;
    };
    schema.check(&normal).expect("what was made whole");
    assert_eq!(value::encode(&values), *normal);
    json(schema, &values, &normal);
}

/// A row in JSON text and back; what `sys.event` has of a command is not read from JSON.
fn json(schema: &Schema, values: &[Value], row: &[u8]) {
    let text = Json::Object(row_to_json(values, schema)).to_string();
    let json: Json = serde_json::from_str(&text).expect("JSON");
    if let Ok(again) = row_from_json(&json, schema) {
        assert_eq!(value::encode(&again), row, "{text}");
    } else {
        assert!(schema.position("command").is_some(), "{text}");
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    if input.flag() {
        let schema = input.one_of(&ROWS);
        row(schema, input.rest());
        return;
    }
    let schema = input.one_of(&KEYS);
    let one = input.bytes();
    let other = input.rest();
    if let (Some(fields), Some(others)) = (key(schema, one), key(schema, other)) {
        assert_eq!(
            one.cmp(other),
            order(&fields, &others),
            "{fields:?} {others:?}"
        );
    }
});
