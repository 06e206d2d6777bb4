//! Keys and rows have one encoding each: it is taken, and every other one of the same numbers is refused.

use engine_core::catalog::{Catalog, StorageId};
use engine_core::key::{self, Extent};
use engine_core::schema::{MAX_DEPTH, Schema};
use engine_core::value::{self, Value};
use proptest::prelude::*;

fn schema() -> Schema {
    Schema::parse("a: int, b: int").expect("a schema")
}

/// Numbers at and around every length.
fn number() -> impl Strategy<Value = i64> {
    let edges = (0..64_u32, -2..3_i64).prop_map(|(bits, near)| {
        let edge = 1_i64.checked_shl(bits).unwrap_or(i64::MAX);
        edge.wrapping_add(near)
    });
    let edges = edges.prop_flat_map(|edge| prop_oneof![Just(edge), Just(edge.wrapping_neg())]);
    prop_oneof![edges, any::<i64>()]
}

/// An integer in MessagePack with this tag and so many bytes, where it fits.
fn tagged(tag: u8, len: usize, number: i64) -> Option<Vec<u8>> {
    let wide = i128::from(number);
    let range = match tag {
        0xcc..=0xcf => 0..1_i128 << (8 * len),
        _ => -(1_i128 << (8 * len - 1))..1_i128 << (8 * len - 1),
    };
    let bytes = number.to_be_bytes();
    range
        .contains(&wide)
        .then(|| [&[tag], &bytes[8 - len..]].concat())
}

#[test]
fn an_event_of_a_command_whose_schemas_are_as_deep_as_may_be_decodes() {
    let deep = (1..MAX_DEPTH).fold(Value::Int(7), |inner, _| Value::List(vec![inner]));
    let row = Value::List(vec![deep.clone()]);
    let event = [
        Value::Text("c".into()),
        Value::List(vec![deep]),
        Value::List(vec![row]),
    ];
    let catalog = Catalog::default();
    let schema = &catalog.storage(StorageId::EVENT).value;
    let bytes = value::encode(&event);
    schema.check(&bytes).unwrap();
    assert_eq!(schema.decode(&bytes).unwrap(), event);
    let more = |result: &Value| {
        [
            event[0].clone(),
            event[1].clone(),
            Value::List(vec![result.clone()]),
        ]
    };
    let mut result = event[2].clone();
    for _ in 0..3 {
        let bytes = value::encode(&more(&result));
        assert_eq!(schema.check(&bytes).is_ok(), schema.decode(&bytes).is_ok());
        result = Value::List(vec![result]);
    }
    assert!(schema.check(&value::encode(&more(&result))).is_err());
}

proptest! {
    #[test]
    fn a_row_has_one_encoding_of_its_numbers(a in number(), b in number()) {
        let row = value::encode(&[Value::Int(a), Value::Int(b)]);
        prop_assert!(schema().check(&row).is_ok());
        let first = value::encode(&[Value::Int(a)])[1..].to_vec();
        let second = value::encode(&[Value::Int(b)])[1..].to_vec();
        for (shift, len) in [(0, 1), (1, 2), (2, 4), (3, 8)] {
            for tag in [0xcc + shift, 0xd0 + shift] {
                let Some(other) = tagged(tag, len, a) else { continue };
                let row = [&[0x92], &other[..], &second].concat();
                prop_assert_eq!(schema().check(&row).is_ok(), other == first, "{:x?}", row);
            }
        }
    }

    #[test]
    fn a_key_has_one_encoding_of_its_numbers(a in number(), b in number()) {
        let key = key::encode(&[Value::Int(a), Value::Int(b)]).unwrap();
        prop_assert!(schema().check_key(&key, Extent::Full).is_ok());
        let first = key::encode(&[Value::Int(a)]).unwrap();
        prop_assert!(schema().check_key(&first, Extent::Prefix).is_ok());
        prop_assert!(schema().check_key(&first, Extent::Full).is_err());
        // The same number with a byte more in front of it.
        let (code, digits) = first.split_first().unwrap();
        let (longer, fill) = if a < 0 { (code - 1, 0xff) } else { (code + 1, 0) };
        let padded = [&[longer, fill], digits].concat();
        prop_assert!(schema().check_key(&padded, Extent::Prefix).is_err(), "{:x?}", padded);
    }

    #[test]
    fn bytes_cut_anywhere_are_refused_and_harm_nothing(a in number(), b in number(), at: prop::sample::Index) {
        let values = [Value::Int(a), Value::Int(b)];
        let row = value::encode(&values);
        prop_assert!(schema().check(&row[..at.index(row.len())]).is_err());
        let key = key::encode(&values).unwrap();
        let cut = &key[..at.index(key.len())];
        prop_assert!(schema().check_key(cut, Extent::Full).is_err());
        let _ = schema().check_key(cut, Extent::Prefix);
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic(bytes: Vec<u8>) {
        let _ = schema().check(&bytes);
        let _ = schema().check_key(&bytes, Extent::Prefix);
    }
}
