//! Modules in the bindgen wire format, unmodified.

use functions::{ErrorKind, Value};

use crate::plugin::{Plugins, WASM};

/// A module that speaks the wire format badly or rarely: each function answers the bytes at an address of its own.
const ODD: &str = r#"(module
    (memory (export "memory") 1)
    (data (i32.const 64) "\00\80\00\00\00\01\00\00\00")
    (data (i32.const 128) "\00\01\00\00\0b\00\00\00\01\00\00\00")
    (data (i32.const 256) "\01")
    (data (i32.const 512) "\00\90\02\00\00\01\00\00\00")
    (data (i32.const 656) "\00\01\00\00\0c\00\00\00\04\00\00\00")
    (data (i32.const 700) "\07\00\00\00\00\00\00\00\00")
    (data (i32.const 720) "\00\00\00\00\00\ff\ff\ff\ff")
    (data (i32.const 740) "\00\f8\02\00\00\01\00\00\00")
    (data (i32.const 760) "\00\01\00\00\63\00\00\00\01\00\00\00")
    (data (i32.const 800) "\00\30\03\00\00\01\00\00\00")
    (data (i32.const 816) "\00\00\ff\7f\06\00\00\00\04\00\00\00")
    (data (i32.const 840) "\00\58\03\00\00\01\00\00\00")
    (data (i32.const 856) "\00\01\00\00\06\00\00\00\03\00\00\00")
    (data (i32.const 880) "\00\00\00\00\00\00\00\00\00")
    (data (i32.const 900) "\00\94\03\00\00\02\00\00\00")
    (data (i32.const 916) "\00\01\00\00\01\00\00\00\01\00\00\00\00\01\00\00\02\00\00\00\01\00\00\00")
    (func (export "allocate") (param i32) (result i32) i32.const 1024)
    (func (export "deallocate") (param i32 i32))
    (func (export "yes") (param i32 i32) (result i32) i32.const 64)
    (func (export "letter") (param i32 i32) (result i32) i32.const 512)
    (func (export "bad_flag") (param i32 i32) (result i32) i32.const 700)
    (func (export "too_many") (param i32 i32) (result i32) i32.const 720)
    (func (export "bad_type") (param i32 i32) (result i32) i32.const 740)
    (func (export "far_away") (param i32 i32) (result i32) i32.const 800)
    (func (export "short") (param i32 i32) (result i32) i32.const 840)
    (func (export "nothing") (param i32 i32) (result i32) i32.const 880)
    (func (export "pair") (param i32 i32) (result i32) i32.const 900)
    (func (export "outside") (param i32 i32) (result i32) i32.const -4))"#;

#[test]
fn two_points_become_a_line() {
    for engine in WASM {
        let plugins = Plugins::new();
        plugins.add_bindgen(engine, "'create_line'", "").unwrap();
        let args = [
            r#"{"x":1.5,"y":3.8}"#,
            r#"{"x":2.5,"y":5.8}"#,
            "A thin red line",
        ]
        .map(Value::from);
        let Value::Bytes(line) = plugins.manager.execute("create_line", &args).unwrap() else {
            panic!("no bytes")
        };
        let line = String::from_utf8(line).unwrap();
        assert_eq!(
            line,
            r#"{"points":[{"x":1.5,"y":3.8},{"x":2.5,"y":5.8}],"valid":true,"length":2.2360682,"desc":"A thin red line"}"#
        );
        let args = ["no point", "{}", ""].map(Value::from);
        let error = plugins.manager.execute("create_line", &args).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(error.message().contains("no point: expected"), "{error}");
    }
}

#[test]
fn every_type_comes_back_as_it_went() {
    let values = [
        ("echo_i8", Value::I8(-128)),
        ("echo_i16", Value::I16(i16::MIN)),
        ("echo_i32", Value::I32(i32::MIN)),
        ("echo_i64", Value::I64(i64::MIN)),
        ("echo_u8", Value::U8(255)),
        ("echo_u16", Value::U16(u16::MAX)),
        ("echo_u32", Value::U32(u32::MAX)),
        ("echo_u64", Value::U64(u64::MAX)),
        ("echo_f32", Value::F32(-0.0)),
        ("echo_f64", Value::F64(f64::INFINITY)),
        ("echo_text", Value::from("naïve \0 text")),
        ("echo_text", Value::from("")),
        ("echo_bytes", Value::Bytes(vec![0, 255])),
        ("echo_i8s", Value::List(vec![Value::I8(-1), Value::I8(2)])),
        (
            "echo_i16s",
            Value::List(vec![Value::I16(-1), Value::I16(300)]),
        ),
        (
            "echo_i32s",
            Value::List(vec![Value::I32(-1), Value::I32(70_000)]),
        ),
        (
            "echo_i64s",
            Value::List(vec![Value::I64(-1), Value::I64(i64::MAX)]),
        ),
        ("echo_u16s", Value::List(vec![Value::U16(1)])),
        ("echo_u32s", Value::List(vec![Value::U32(u32::MAX); 3])),
        ("echo_u64s", Value::List(vec![Value::U64(u64::MAX)])),
    ];
    let names: Vec<_> = values.iter().map(|(name, _)| format!("'{name}'")).collect();
    let mut names: Vec<_> = names.iter().map(String::as_str).collect();
    names.dedup();
    for engine in WASM {
        let plugins = Plugins::new();
        plugins
            .add_bindgen(
                engine,
                &format!("{},'bool_number','char_number'", names.join(",")),
                "",
            )
            .unwrap();
        for (name, value) in &values {
            let back = plugins.manager.execute(name, std::slice::from_ref(value));
            assert_eq!(back.unwrap(), *value, "{name} on {engine}");
        }
        let call = |name, value| plugins.manager.execute(name, &[value]).unwrap();
        assert_eq!(call("bool_number", Value::Bool(true)), Value::U8(1));
        assert_eq!(call("char_number", Value::Char('é')), Value::U32(233));
    }
}

#[test]
fn rare_results_are_read_and_broken_ones_refused() {
    let names = "'yes','letter','bad_flag','too_many','bad_type','far_away','short','nothing','pair','outside'";
    for engine in WASM {
        let plugins = Plugins::new();
        plugins.add_wat(engine, names, ODD).unwrap();
        let call = |name| plugins.manager.execute(name, &[]);
        assert_eq!(call("yes").unwrap(), Value::Bool(true));
        assert_eq!(call("letter").unwrap(), Value::Char('\u{1}'));
        assert_eq!(call("nothing").unwrap(), Value::Null);
        assert_eq!(
            call("pair").unwrap(),
            Value::List(vec![Value::U8(1), Value::I8(1)])
        );
        for name in [
            "bad_flag", "too_many", "bad_type", "far_away", "short", "outside",
        ] {
            let error = call(name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Abi, "{name} on {engine}: {error}");
            assert_eq!(call("yes").unwrap(), Value::Bool(true), "after {name}");
        }
    }
}

#[test]
fn what_a_call_was_given_is_freed() {
    for engine in WASM {
        let plugins = Plugins::new();
        // Four pages beside stack and data: a leak of thirty bytes a call would not fit.
        let limits = "[limits]\nmemory = 1376256";
        plugins
            .add_bindgen(engine, "'create_line','echo_text'", limits)
            .unwrap();
        let mut local = plugins.manager.local();
        let points = [r#"{"x":1,"y":3}"#, r#"{"x":2,"y":5}"#, "x"].map(Value::from);
        let long = [Value::from("x".repeat(1000))];
        for _ in 0..4_000 {
            local.execute("create_line", &points).unwrap();
            local.execute("echo_text", &long).unwrap();
        }
    }
}

#[test]
fn what_the_format_cannot_carry_is_refused_before_the_guest_runs() {
    let plugins = Plugins::new();
    plugins
        .add_bindgen(
            "wasmtime",
            "'echo_text','divide(a: i32, b: i32) -> i32'",
            "",
        )
        .unwrap();
    let call = |name, args: &[Value]| plugins.manager.execute(name, args).unwrap_err();
    for value in [
        Value::Null,
        Value::Map(Vec::new()),
        Value::List(vec![Value::F64(1.0)]),
        Value::List(vec![Value::I8(1), Value::I16(1)]),
    ] {
        assert_eq!(call("echo_text", &[value]).kind(), ErrorKind::BadArgs);
    }
    let error = call("divide", &[Value::I32(1)]);
    assert_eq!(error.kind(), ErrorKind::BadArgs);
    assert!(
        error.message().contains("2 arguments wanted, 1 given"),
        "{error}"
    );
    let error = call("divide", &[Value::I64(1 << 31), Value::I32(1)]);
    assert!(
        error
            .message()
            .contains("argument 1 `a`: 2147483648 is beyond i32"),
        "{error}"
    );
    // Without a declaration it is the guest that counts.
    let error = call("echo_text", &[]);
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.message().contains("expect 1, got 0"), "{error}");
}

#[test]
fn a_signature_that_the_format_cannot_carry_does_not_load() {
    let load = |functions: &str| Plugins::new().add_bindgen("wasmtime", functions, "");
    for ty in [
        "map[i32]",
        "{x: f64}",
        "[[i32]]?",
        "[text]",
        "[f64]",
        "map[text]?",
    ] {
        let error = load(&format!("'echo_text(a: i32, b: {ty}) -> text'")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Package, "{ty}");
        let part = format!("nothing for parameter `b`, of type {ty}");
        assert!(error.message().contains(&part), "{error}");
    }
    for ty in ["map[i32]", "{x: f64}", "[map[i32]]", "[[text]]"] {
        let error = load(&format!("'echo_text(a: text) -> {ty}'")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Package, "{ty}");
        let part = format!("nothing for the result, of type {ty}");
        assert!(error.message().contains(&part), "{error}");
    }
    load("'echo_text(a: [u8]?, b: char, c: [i64?]) -> [text]'").unwrap();
}

#[test]
fn a_declared_result_is_what_comes_back() {
    let plugins = Plugins::new();
    let functions =
        "'create_line(p1: text, p2: text, desc: text) -> text', 'divide(a: i32, b: i32) -> u8'";
    plugins.add_bindgen("wasmtime", functions, "").unwrap();
    let points = [r#"{"x":1,"y":3}"#, r#"{"x":1,"y":3}"#, "x"].map(Value::from);
    let line = plugins.manager.execute("create_line", &points).unwrap();
    assert!(matches!(line, Value::Text(text) if text.contains(r#""valid":false"#)));
    let call = |a, b| {
        plugins
            .manager
            .execute("divide", &[Value::I32(a), Value::I32(b)])
    };
    assert_eq!(call(7, 2).unwrap(), Value::U8(3));
    let error = call(-7, 2).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadIntent);
    assert!(error.message().contains("-3 is beyond u8"), "{error}");
}

#[test]
fn bytes_are_a_declared_list_of_u8() {
    for engine in WASM {
        let plugins = Plugins::new();
        let functions = "'echo_bytes(bytes: [u8]) -> [u8]'";
        plugins.add_bindgen(engine, functions, "").unwrap();
        let list = Value::List(vec![Value::U8(0), Value::U8(255)]);
        for given in [list.clone(), Value::Bytes(vec![0, 255])] {
            let back = plugins.manager.execute("echo_bytes", &[given]);
            assert_eq!(back.unwrap(), list);
        }
    }
}

#[test]
fn arguments_that_the_guest_miscounted_do_not_fill_its_memory() {
    for engine in WASM {
        let plugins = Plugins::new();
        let limits = "[limits]\nmemory = 1376256";
        plugins.add_bindgen(engine, "'echo_text'", limits).unwrap();
        let mut local = plugins.manager.local();
        let two = [Value::from("x".repeat(1000)), Value::from("y")];
        for call in 0..1_000 {
            let error = local.execute("echo_text", &two).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Rejected, "{call}: {error}");
        }
    }
}
