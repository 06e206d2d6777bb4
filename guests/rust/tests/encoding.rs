//! What the SDK writes and reads is what the contract's own encodings say, for all types and their edges.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panics too")]

use engine_core::error::ErrorKind as CoreKind;
use engine_core::key;
use engine_core::schema::{Schema, Type};
use engine_core::value::{self, Value};
use extengine_guest::{Error, Fields, Key, KeyBuilder, Row, RowBuilder};
use proptest::prelude::*;

fn build_row(values: &[Value]) -> RowBuilder {
    values
        .iter()
        .fold(extengine_guest::row(), |row, value| match value {
            Value::Null => row.null(),
            Value::Bool(value) => row.bool(*value),
            Value::Int(value) => row.int(*value),
            Value::Float(value) => row.float(*value),
            Value::Text(value) => row.text(value),
            Value::Bytes(value) => row.bytes(value),
            Value::List(values) => row.list(&build_row(values)),
        })
}

fn build_key(values: &[Value]) -> KeyBuilder<'static> {
    values
        .iter()
        .fold(extengine_guest::key("storage"), |key, value| match value {
            Value::Null => key.null(),
            Value::Bool(value) => key.bool(*value),
            Value::Int(value) => key.int(*value),
            Value::Float(value) => key.float(*value),
            Value::Text(value) => key.text(value),
            Value::Bytes(value) => key.bytes(value),
            Value::List(_) => unreachable!("keys have no lists"),
        })
}

/// Reads the fields back by the types of the values that were written.
fn read_row(mut fields: Fields<'_>, like: &[Value]) -> Result<Vec<Value>, Error> {
    assert_eq!(fields.len(), like.len());
    like.iter()
        .map(|value| {
            Ok(match value {
                Value::Null => {
                    assert!(fields.is_null());
                    assert_eq!(fields.opt_int()?, None);
                    Value::Null
                }
                Value::Bool(_) => Value::Bool(fields.bool()?),
                Value::Int(_) => Value::Int(fields.int()?),
                Value::Float(_) => Value::Float(fields.float()?),
                Value::Text(_) => Value::Text(fields.text()?.to_owned()),
                Value::Bytes(_) => Value::Bytes(fields.bytes()?.to_owned()),
                Value::List(like) => Value::List(read_row(fields.list()?, like)?),
            })
        })
        .collect()
}

fn read_key(key: &Key<'_>, like: &[Value]) -> Result<Vec<Value>, Error> {
    let mut fields = key.fields();
    let values = like
        .iter()
        .map(|value| {
            Ok(match value {
                Value::Null => {
                    assert!(fields.is_null());
                    assert_eq!(fields.opt_text()?, None);
                    Value::Null
                }
                Value::Bool(_) => Value::Bool(fields.bool()?),
                Value::Int(_) => Value::Int(fields.int()?),
                Value::Float(_) => Value::Float(fields.float()?),
                Value::Text(_) => Value::Text(fields.text()?.into_owned()),
                Value::Bytes(_) => Value::Bytes(fields.bytes()?.into_owned()),
                Value::List(_) => unreachable!("keys have no lists"),
            })
        })
        .collect();
    assert!(fields.is_empty());
    values
}

/// Every boundary at which an encoding of integers changes, and its neighbours.
fn edge_ints() -> Vec<i64> {
    let mut edges = vec![0, i64::MIN, i64::MIN + 1, i64::MAX];
    for bit in 3..63 {
        for offset in -2..=2 {
            edges.extend([(1i64 << bit) + offset, -(1i64 << bit) + offset]);
        }
    }
    edges
}

const EDGE_FLOATS: [f64; 8] = [
    0.0,
    -0.0,
    1.5,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::MIN_POSITIVE,
    f64::MAX,
    f64::MIN,
];

fn edge_lengths() -> impl Iterator<Item = usize> {
    [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536, 1 << 20].into_iter()
}

fn assert_row(values: &[Value]) {
    let built = build_row(values);
    assert_eq!(built.as_bytes(), value::encode(values));
    let row = Row::new(built.as_bytes());
    assert_eq!(row.len(), values.len());
    // Through the encoding, in which NaN equals NaN.
    let read = read_row(row.fields(), values).unwrap();
    assert_eq!(value::encode(&read), built.as_bytes());
    assert_eq!(RowBuilder::from(&row), built);
}

fn assert_key(values: &[Value]) {
    let built = build_key(values);
    assert_eq!(built.as_bytes(), key::encode(values).unwrap());
    assert_eq!(
        read_key(&Key::new(built.as_bytes()), values).unwrap(),
        values
    );
}

#[test]
fn integers_and_floats_are_encoded_as_the_contract_says_at_every_edge() {
    let ints = edge_ints().into_iter().map(Value::Int);
    let floats = EDGE_FLOATS.into_iter().map(Value::Float);
    for value in ints.chain(floats) {
        assert_row(std::slice::from_ref(&value));
        assert_key(&[value]);
    }
}

#[test]
fn every_nan_becomes_the_one_nan_in_a_row() {
    for bits in [
        0x7ff8_0000_0000_0000,
        0xfff8_0000_0000_0001,
        0x7ff0_0000_0000_0001,
    ] {
        assert_row(&[Value::Float(f64::from_bits(bits))]);
    }
}

#[test]
fn a_nan_in_a_key_is_a_bad_key_for_the_host() {
    let schema = Schema::parse("x: float").unwrap();
    for nan in [f64::NAN, -f64::NAN] {
        let key = extengine_guest::key("storage").float(nan);
        let error = schema
            .check_key(key.as_bytes(), key::Extent::Full)
            .unwrap_err();
        assert_eq!(error.kind(), CoreKind::BadKey);
    }
}

#[test]
fn texts_bytes_and_lists_are_encoded_as_the_contract_says_at_every_length() {
    for len in edge_lengths() {
        assert_row(&[Value::Text("x".repeat(len)), Value::Int(7)]);
        assert_row(&[Value::Bytes(vec![0; len]), Value::Int(7)]);
        assert_row(&[Value::List(vec![Value::Null; len]), Value::Int(7)]);
        assert_row(&vec![Value::Int(1); len]);
        assert_key(&[Value::Text("\0".repeat(len)), Value::Int(7)]);
        assert_key(&[Value::Bytes(vec![0xff; len]), Value::Int(7)]);
    }
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<i16>().prop_map(|int| Value::Int(int.into())),
        any::<f64>().prop_map(Value::Float),
        any::<String>().prop_map(Value::Text),
        "[a\0é]{0,8}".prop_map(Value::Text),
        proptest::collection::vec(prop_oneof![Just(0), Just(0xff), any::<u8>()], 0..40)
            .prop_map(Value::Bytes),
    ]
}

fn anything() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 64, 20, |inner| {
        proptest::collection::vec(inner, 0..20).prop_map(Value::List)
    })
}

fn is_nan(value: &Value) -> bool {
    matches!(value, Value::Float(float) if float.is_nan())
}

proptest! {
    #[test]
    fn rows_are_encoded_and_read_as_the_contract_says(
        values in proptest::collection::vec(anything(), 0..20)
    ) {
        assert_row(&values);
    }

    #[test]
    fn keys_are_encoded_and_read_as_the_contract_says(
        values in proptest::collection::vec(scalar(), 0..6)
    ) {
        prop_assume!(!values.iter().any(is_nan));
        assert_key(&values);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let row = Row::new(bytes.as_slice());
        let _ = (row.int(0), row.text(1), row.row(2), format!("{row:?}"));
        let key = Key::new(&bytes);
        let _ = (key.int(0), key.text(1), format!("{key:?}"));
    }

    #[test]
    fn fields_are_found_by_position_behind_fields_of_any_kind(
        before in proptest::collection::vec(anything(), 0..5)
    ) {
        let row = build_row(&before).int(42);
        prop_assert_eq!(Row::new(row.as_bytes()).int(before.len()), Ok(42));
    }
}

#[test]
fn fields_beyond_an_older_row_are_the_zeros_of_their_types() {
    let types = [Type::Bool, Type::Int, Type::Float, Type::Text, Type::Bytes];
    let zeros: Vec<Value> = types.iter().map(Type::zero).collect();
    let row = Row::new(&[0x90][..]);
    assert_eq!(
        (
            row.bool(0),
            row.int(1),
            row.float(2),
            row.text(3),
            row.bytes(4)
        ),
        (Ok(false), Ok(0), Ok(0.0), Ok(""), Ok(&[][..]))
    );
    assert_eq!(
        zeros,
        [
            Value::Bool(false),
            Value::Int(0),
            Value::Float(0.0),
            Value::Text(String::new()),
            Value::Bytes(Vec::new()),
        ]
    );
    assert_eq!(row.opt_int(5), Ok(None));
    assert!(row.is_null(6));
    assert!(row.row(7).unwrap().is_empty() && row.list(8).unwrap().is_empty());
}

#[test]
fn a_field_of_another_type_is_a_misfit_that_names_it() {
    let row = extengine_guest::row().int(1).text("x").null();
    let row = Row::new(row.as_bytes());
    for (error, message) in [
        (row.int(1).unwrap_err(), "field 1: expected int, found text"),
        (row.int(2).unwrap_err(), "field 2: expected int, found null"),
        (
            row.opt_text(0).unwrap_err(),
            "field 0: expected text, found int",
        ),
    ] {
        assert_eq!(error.kind(), extengine_guest::ErrorKind::Misfit);
        assert_eq!(error.message(), message);
    }
    let key = extengine_guest::key("s").bool(true);
    let key = Key::new(key.as_bytes());
    assert_eq!(
        key.int(0).unwrap_err().message(),
        "key field 0: expected int, found bool"
    );
    assert_eq!(
        key.bool(1).unwrap_err().message(),
        "key field 1: the key has no such field"
    );
}
