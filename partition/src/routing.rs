//! Which partition an invocation goes to: the hash of its routing field, encoded as a key.

use engine_core::error::Result;
use engine_core::key::KeyWriter;
use engine_core::value::{Reader, Token, Value};

/// The partition of so many that a value of the routing field chooses.
pub(crate) fn of_value(value: &Value, partitions: usize) -> usize {
    let mut key = Vec::new();
    // A NaN has no key, and belongs to some partition all the same.
    drop(KeyWriter(&mut key).value(value));
    of_key(&key, partitions)
}

/// The partition that an encoded row chooses by one of its fields, which is read where it stands. The row fits its schema.
///
/// # Errors
/// `bad_intent` where it does not.
pub(crate) fn of_row(row: &[u8], field: usize, partitions: usize) -> Result<usize> {
    let mut reader = Reader::new(row);
    reader.token()?;
    (0..field).try_for_each(|_| reader.skip())?;
    let mut bytes = Vec::new();
    let mut key = KeyWriter(&mut bytes);
    match reader.token()? {
        Token::Null => key.null(),
        Token::Bool(value) => key.bool(value),
        Token::Int(value) => key.int(value),
        // As above.
        Token::Float(value) => drop(key.float(value)),
        Token::Text(value) => key.text(value),
        Token::Bytes(value) => key.bytes(value),
        // No routing field is of such a type.
        Token::List(_) => {}
    }
    Ok(of_key(&bytes, partitions))
}

fn of_key(key: &[u8], partitions: usize) -> usize {
    let hash = blake3::hash(key);
    let mut head = [0; 8];
    head.copy_from_slice(&hash.as_bytes()[..8]);
    (u64::from_le_bytes(head) % partitions as u64) as usize
}

#[cfg(test)]
mod tests {
    use engine_core::value::encode;
    use proptest::prelude::*;

    use super::*;

    fn scalar() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            (-300_i64..300).prop_map(Value::Int),
            any::<u64>().prop_map(|bits| Value::Float(f64::from_bits(bits))),
            Just(Value::Float(f64::NAN)),
            Just(Value::Float(-0.0)),
            ".{0,40}".prop_map(Value::Text),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        ]
    }

    fn value() -> impl Strategy<Value = Value> {
        scalar().prop_recursive(3, 20, 4, |inner| {
            prop::collection::vec(inner, 0..4).prop_map(Value::List)
        })
    }

    proptest! {
        #[test]
        fn a_row_goes_where_its_values_go(
            before in prop::collection::vec(value(), 0..20),
            routing in prop_oneof![scalar(), value()],
            behind in prop::collection::vec(value(), 0..3),
            partitions in 1_usize..1024,
        ) {
            let field = before.len();
            let expected = of_value(&routing, partitions);
            let row = encode(&[before, vec![routing], behind].concat());
            prop_assert_eq!(of_row(&row, field, partitions).unwrap(), expected);
        }
    }
}
