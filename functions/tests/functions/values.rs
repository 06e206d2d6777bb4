//! Signatures and values: what fits, and that nothing is lost on the way.

use functions::{Function, Int, Type, Value};
use proptest::prelude::*;

fn ty(text: &str) -> Type {
    let function = Function::parse(&format!("f() -> {text}")).expect("a function");
    let result = function.signature.and_then(|signature| signature.result);
    result.expect("a result")
}

#[test]
fn signatures_are_written_as_they_are_read() {
    for text in [
        "f()",
        "f(a: bool, b: char, c: i8?) -> [u64]",
        "f(r: {x: f32, y: map[text]?}) -> bytes",
        "f",
    ] {
        assert_eq!(Function::parse(text).unwrap().to_string(), text);
    }
    assert_eq!(ty("int"), Type::Int(Int::I64));
    assert_eq!(ty("float"), Type::F64);
}

#[test]
fn what_is_no_signature_says_where() {
    for (text, part) in [
        (
            "",
            "expected a function's name, found the end at character 1",
        ),
        ("f(a)", "expected `:`, found `)` at character 4"),
        (
            "f(a: int b: int)",
            "expected `,`, found `b: int)` at character 10",
        ),
        ("f(a: int, a: int)", "`a` stands twice"),
        ("f(a: what)", "expected a type: bool, char"),
        ("f() ->", "expected a type: bool, char"),
        ("f() -> {}", "a record has fields"),
        (
            "f() -> int int",
            "expected the end, found `int` at character 12",
        ),
        ("é(a: [int)", "expected `]`"),
    ] {
        let error = Function::parse(text).unwrap_err();
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
    let deep = format!("f(a: {}int{})", "[".repeat(100), "]".repeat(100));
    assert!(
        Function::parse(&deep)
            .unwrap_err()
            .to_string()
            .contains("deep")
    );
}

#[test]
fn records_are_taken_by_field_name() {
    let record = ty("{x: f64, y: i8?}");
    let map = |entries: &[(&str, Value)]| {
        Value::Map(
            entries
                .iter()
                .map(|(k, v)| ((*k).to_owned(), v.clone()))
                .collect(),
        )
    };
    let taken = record
        .take(&map(&[("x", Value::I8(1))]))
        .unwrap()
        .into_owned();
    assert_eq!(taken, map(&[("x", Value::F64(1.0)), ("y", Value::Null)]));
    for (given, part) in [
        (
            map(&[("z", Value::Null), ("x", Value::I8(1))]),
            "no field `z`",
        ),
        (map(&[]), "in x: f64 wanted, null given"),
        (
            map(&[("x", Value::I8(1)), ("y", Value::I32(128))]),
            "in y: 128 is beyond i8 (-128 to 127)",
        ),
    ] {
        let error = record.take(&given).unwrap_err();
        assert!(error.message().contains(part), "{error}");
    }
}

fn any_integer() -> impl Strategy<Value = (Value, i128)> {
    prop_oneof![
        any::<i8>().prop_map(|n| (Value::I8(n), n.into())),
        any::<i16>().prop_map(|n| (Value::I16(n), n.into())),
        any::<i32>().prop_map(|n| (Value::I32(n), n.into())),
        any::<i64>().prop_map(|n| (Value::I64(n), n.into())),
        any::<u8>().prop_map(|n| (Value::U8(n), n.into())),
        any::<u16>().prop_map(|n| (Value::U16(n), n.into())),
        any::<u32>().prop_map(|n| (Value::U32(n), n.into())),
        any::<u64>().prop_map(|n| (Value::U64(n), n.into())),
    ]
}

proptest! {
    #[test]
    fn an_integer_fits_exactly_where_its_range_has_it((value, number) in any_integer()) {
        for int in Int::ALL {
            let (least, greatest) = int.range();
            match Type::Int(int).take(&value) {
                Ok(taken) => {
                    prop_assert!((least..=greatest).contains(&number));
                    let back = ty("i64").take(&taken).or(ty("u64").take(&taken)).unwrap().into_owned();
                    let same = match back { Value::I64(n) => i128::from(n), Value::U64(n) => n.into(), _ => unreachable!() };
                    prop_assert_eq!(same, number);
                }
                Err(_) => prop_assert!(!(least..=greatest).contains(&number)),
            }
        }
    }

    #[test]
    fn an_integer_becomes_a_float_only_without_loss((value, number) in any_integer()) {
        if let Ok(taken) = ty("f64").take(&value) {
            prop_assert_eq!(taken.into_owned(), Value::F64(number as f64));
            prop_assert_eq!(number as f64 as i128, number);
        }
    }

    #[test]
    fn any_text_is_a_signature_or_an_error(text in "\\PC{0,40}") {
        if let Ok(function) = Function::parse(&text) {
            prop_assert_eq!(Function::parse(&function.to_string()).unwrap(), function);
        }
    }

    #[test]
    fn json_keeps_its_numbers(integer in any::<i64>(), natural in any::<u64>(), float in any::<f64>()) {
        let json = serde_json::json!([integer, natural, null, true, {"a": "b"}]);
        prop_assert_eq!(Value::from_json(&json).to_json(), json);
        if float.is_finite() {
            let Value::F64(back) = Value::from_json(&Value::F64(float).to_json()) else { panic!("no float") };
            prop_assert_eq!(back.to_bits(), float.to_bits());
        }
    }
}
