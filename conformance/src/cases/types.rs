//! Every type at its edges: in arguments, rows, intents, results and keys.

use engine_core::error::ErrorKind;
use engine_core::value::{self, Value};
use engine_core::{key, manifest::Verb};

use crate::host::TestHost;
use crate::subject::Subject;
use crate::suite;

/// Texts that engines have got wrong.
const TEXTS: [&str; 5] = ["", "\0", "a\0b", "é 漢 🦀", "\u{ffff}\u{10ffff}"];

/// Integers on both sides of every limit of an encoding or of a Lua number.
pub const INTS: [i64; 22] = [
    0,
    1,
    -1,
    127,
    128,
    -32,
    -33,
    255,
    256,
    -128,
    -129,
    65_535,
    65_536,
    -32_769,
    u32::MAX as i64,
    u32::MAX as i64 + 1,
    i32::MIN as i64 - 1,
    (1 << 53) - 1,
    1 << 53,
    -(1 << 53) - 1,
    i64::MAX,
    i64::MIN,
];

/// Floats that compare equal or unordered though their bits differ, and the ends of the range.
pub const FLOATS: [f64; 11] = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    f64::MIN_POSITIVE,
    5e-324,
    f64::MAX,
    f64::MIN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    9_007_199_254_740_993.0,
];

/// A row of the schema [`suite::EVERY`] with the zero of every type.
pub fn zeros() -> Vec<Value> {
    let schema = suite::schema(suite::EVERY);
    let fields = schema.fields().iter();
    fields.map(|field| field.default.clone()).collect()
}

fn with(name: &str, value: Value) -> Vec<Value> {
    let mut row = zeros();
    let position = suite::schema(suite::EVERY).position(name);
    row[position.expect("a field")] = value;
    row
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

/// Makes sure that a row comes back as a result and goes out as an intent, byte for byte.
fn comes_back(subject: &Subject, rows: Vec<Vec<Value>>) {
    let mut instance = subject.instance();
    let host = TestHost::new();
    for row in rows {
        let bytes = value::encode(&row);
        let answer = instance.call_with(&host, "Echo", &row).ok();
        assert!(answer.results == [bytes.clone()], "{row:?} changed");
        let answer = instance.call_with(&host, "Keep", &row).ok();
        assert_eq!(answer.intents.len(), 1);
        assert!(answer.intents[0].value == bytes, "{row:?} changed");
    }
}

/// Rows of zeros, of false and true.
pub fn booleans_come_back(subject: &Subject) {
    comes_back(
        subject,
        vec![
            zeros(),
            with("b", Value::Bool(true)),
            with("ob", Value::Bool(false)),
            with("ob", Value::Bool(true)),
        ],
    );
}

/// Integers of 64 bits, exact beyond what a float holds.
pub fn integers_come_back_exactly(subject: &Subject) {
    let mut rows: Vec<_> = INTS.map(|n| with("i", Value::Int(n))).into();
    rows.extend(INTS.map(|n| with("oi", Value::Int(n))));
    rows.push(with("ints", Value::List(INTS.map(Value::Int).into())));
    comes_back(subject, rows);
}

/// An integer that is all of a result, which a guest may give without its row.
pub fn a_lone_integer_comes_back_exactly(subject: &Subject) {
    let mut instance = subject.instance();
    let key = keys().remove(0);
    for n in INTS {
        let row = [Value::Int(n)];
        let host = TestHost::new().values("keyed", &key, &row);
        let answer = instance.call_with(&host, "Find", &key).ok();
        assert_eq!(answer.results, [value::encode(&row)], "{n} changed");
    }
}

/// Floats keep the sign of zero, infinities and subnormal numbers.
pub fn floats_come_back_bit_by_bit(subject: &Subject) {
    let mut rows: Vec<_> = FLOATS.map(|x| with("f", Value::Float(x))).into();
    rows.extend(FLOATS.map(|x| with("of", Value::Float(x))));
    rows.push(with("floats", Value::List(FLOATS.map(Value::Float).into())));
    comes_back(subject, rows);
}

/// A NaN comes back as the one NaN.
pub fn a_nan_comes_back_as_the_one_nan(subject: &Subject) {
    comes_back(subject, vec![with("f", Value::Float(f64::NAN))]);
}

/// Empty texts, NUL and characters of every length in UTF-8.
pub fn texts_come_back(subject: &Subject) {
    let mut rows: Vec<_> = TEXTS.map(|t| with("t", text(t))).into();
    rows.extend(TEXTS.map(|t| with("ot", text(t))));
    rows.push(with("texts", Value::List(TEXTS.map(text).into())));
    for len in [31, 32, 255, 256, 65_535, 65_536] {
        rows.push(with("t", text(&"x".repeat(len))));
    }
    comes_back(subject, rows);
}

/// Bytes that are no text.
pub fn bytes_come_back(subject: &Subject) {
    let all: Vec<u8> = (0..=255).collect();
    let values = [vec![], vec![0], vec![0xff, 0xfe], all, vec![0; 65_536]];
    let mut rows = Vec::new();
    for bytes in values {
        rows.push(with("y", Value::Bytes(bytes.clone())));
        rows.push(with("oy", Value::Bytes(bytes)));
    }
    comes_back(subject, rows);
}

/// Null stands apart from the zero of a type.
pub fn null_is_not_zero(subject: &Subject) {
    comes_back(
        subject,
        vec![
            with("oi", Value::Null),
            with("oi", Value::Int(0)),
            with("ot", Value::Null),
            with("ot", text("")),
            with("oy", Value::Bytes(vec![])),
            with("of", Value::Float(0.0)),
            with("floats", Value::Null),
            with("floats", Value::List(vec![])),
            with("record", Value::Null),
        ],
    );
}

/// Lists of many elements, empty lists, records in lists and records in records.
pub fn lists_and_records_come_back(subject: &Subject) {
    let record =
        |tags: Vec<Value>, inner| Value::List(vec![Value::Float(-0.0), Value::List(tags), inner]);
    let pair = |a, b| Value::List(vec![Value::Int(a), b]);
    comes_back(
        subject,
        vec![
            with("ints", Value::List((0..20).map(Value::Int).collect())),
            with("ints", Value::List((0..70_000).map(Value::Int).collect())),
            with("texts", Value::List(vec![text("")])),
            with("record", record(vec![], Value::Null)),
            with(
                "record",
                record(
                    vec![Value::Bytes(vec![]), Value::Bytes(vec![0])],
                    Value::List(vec![Value::Null]),
                ),
            ),
            with(
                "record",
                record(vec![], Value::List(vec![Value::Int(i64::MIN)])),
            ),
            with(
                "records",
                Value::List(vec![pair(1, Value::Null), pair(2, text("b"))]),
            ),
        ],
    );
}

/// A text and bytes of a megabyte each.
pub fn a_megabyte_comes_back(subject: &Subject) {
    comes_back(
        subject,
        vec![
            with("t", text(&"é".repeat(1 << 19))),
            with("y", Value::Bytes(vec![0xa5; 1 << 20])),
        ],
    );
}

/// A row that is read and written again has the bytes that it had.
pub fn a_row_of_the_state_is_written_back_unchanged(subject: &Subject) {
    let mut row = zeros();
    row[1] = Value::Int(i64::MIN);
    row[2] = Value::Float(-0.0);
    row[3] = text("a\0é");
    row[4] = Value::Bytes(vec![0, 0xff]);
    row[6] = Value::Int(i64::MAX);
    let host = TestHost::new().values("every", &[Value::Int(i64::MIN)], &row);
    let args = [Value::Int(i64::MIN), Value::Int(i64::MAX)];
    let answer = subject.instance().call_with(&host, "Copy", &args).ok();
    let [write] = answer.intents.as_slice() else {
        panic!("one intent is due");
    };
    assert_eq!(write.verb, Verb::Insert);
    assert_eq!(
        write.key,
        key::encode(&[Value::Int(i64::MAX)]).expect("a key")
    );
    assert_eq!(write.value, value::encode(&row));
}

fn keys() -> Vec<Vec<Value>> {
    let plain = [
        Value::Bool(true),
        Value::Int(7),
        Value::Float(0.5),
        text("t"),
        Value::Bytes(vec![1]),
        Value::Null,
    ];
    let mut keys = Vec::new();
    let mut vary = |at: usize, value| {
        let mut key = plain.to_vec();
        key[at] = value;
        keys.push(key);
    };
    vary(0, Value::Bool(false));
    INTS.into_iter().for_each(|n| vary(1, Value::Int(n)));
    FLOATS.into_iter().for_each(|x| vary(2, Value::Float(x)));
    TEXTS.into_iter().for_each(|t| vary(3, text(t)));
    for bytes in [vec![], vec![0], vec![0, 0xff, 0], vec![0xff; 300]] {
        vary(4, Value::Bytes(bytes));
    }
    INTS.into_iter().for_each(|n| vary(5, Value::Int(n)));
    keys
}

/// A guest finds rows by keys of every type, and what it writes goes under the same keys.
pub fn keys_of_every_type_find_their_rows(subject: &Subject) {
    let mut instance = subject.instance();
    for key in keys() {
        let host = TestHost::new().values("keyed", &key, &[Value::Int(5)]);
        let answer = instance.call_with(&host, "Find", &key).ok();
        assert_eq!(
            answer.results,
            [value::encode(&[Value::Int(5)])],
            "{key:?} was not found"
        );
        assert_eq!(answer.intents[0].key, key::encode(&key).expect("a key"));
    }
}

/// NaN cannot stand in a key.
pub fn a_nan_in_a_key_is_a_bad_key(subject: &Subject) {
    let mut key = keys().remove(0);
    key[2] = Value::Float(f64::NAN);
    let host = TestHost::new();
    let answer = subject.instance().call_with(&host, "Find", &key);
    answer.fails(ErrorKind::BadKey);
}
