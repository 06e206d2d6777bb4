//! Plain exports: functions of numbers, called as they are.

use functions::{ErrorKind, Value};

use crate::plugin::{Plugins, WASM};

const NUMBERS: &str = r#"(module
    (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
    (func (export "add64") (param i64 i64) (result i64) local.get 0 local.get 1 i64.add)
    (func (export "half") (param f64) (result f64) local.get 0 f64.const 2 f64.div)
    (func (export "half32") (param f32) (result f32) local.get 0 f32.const 2 f32.div)
    (func (export "both") (param i32) (result i32 f64) local.get 0 local.get 0 f64.convert_i32_s)
    (func (export "not") (param i32) (result i32) local.get 0 i32.eqz)
    (func (export "nothing"))
    (func (export "divide") (param i32 i32) (result i32) local.get 0 local.get 1 i32.div_s)
    (func (export "spin") (loop $again br $again)))"#;

#[test]
fn numbers_are_added_as_they_are() {
    for engine in WASM {
        let plugins = Plugins::new();
        plugins
            .add_wat(
                engine,
                "'add','add64','half','half32','both','nothing'",
                NUMBERS,
            )
            .unwrap();
        let call = |name, args: &[Value]| plugins.manager.execute(name, args).unwrap();
        assert_eq!(
            call("add", &[Value::I32(i32::MAX), Value::I32(1)]),
            Value::I32(i32::MIN)
        );
        assert_eq!(call("add", &[Value::U8(1), Value::I64(-3)]), Value::I32(-2));
        assert_eq!(
            call("add", &[Value::F64(2.0), Value::I16(3)]),
            Value::I32(5)
        );
        assert_eq!(
            call("add64", &[Value::I64(i64::MAX - 1), Value::U8(1)]),
            Value::I64(i64::MAX)
        );
        assert_eq!(call("half", &[Value::F64(-0.0)]), Value::F64(-0.0));
        assert_eq!(call("half", &[Value::I32(3)]), Value::F64(1.5));
        assert_eq!(call("half32", &[Value::F64(0.5)]), Value::F32(0.25));
        let both = vec![
            ("r0".to_owned(), Value::I32(4)),
            ("r1".to_owned(), Value::F64(4.0)),
        ];
        assert_eq!(call("both", &[Value::I32(4)]), Value::Map(both));
        assert_eq!(call("nothing", &[]), Value::Null);
    }
}

#[test]
fn a_declared_signature_gives_numbers_a_meaning() {
    for engine in WASM {
        let plugins = Plugins::new();
        let functions =
            "'add(a: u8, b: i8) -> u8', 'not(yes: bool) -> bool', 'add64(a: u64, b: u64) -> u64'";
        plugins.add_wat(engine, functions, NUMBERS).unwrap();
        let call = |name, args: &[Value]| plugins.manager.execute(name, args);
        assert_eq!(
            call("not", &[Value::Bool(true)]).unwrap(),
            Value::Bool(false)
        );
        assert_eq!(
            call("add", &[Value::U8(250), Value::I8(-3)]).unwrap(),
            Value::U8(247)
        );
        let most = [Value::U64(u64::MAX - 1), Value::U64(1)];
        assert_eq!(call("add64", &most).unwrap(), Value::U64(u64::MAX));
        let error = call("add", &[Value::U8(250), Value::I8(100)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadIntent, "{error}");
    }
}

#[test]
fn a_record_of_one_field_carries_the_only_result() {
    for engine in WASM {
        let plugins = Plugins::new();
        let functions = "'not(yes: bool) -> {no: bool}'";
        plugins.add_wat(engine, functions, NUMBERS).unwrap();
        assert_eq!(
            plugins
                .manager
                .execute("not", &[Value::Bool(true)])
                .unwrap(),
            Value::Map(vec![("no".to_owned(), Value::Bool(false))])
        );
    }
}

#[test]
fn what_does_not_fit_is_refused_before_the_guest_runs() {
    let plugins = Plugins::new();
    plugins
        .add_wat("wasmtime", "'add','half','half32'", NUMBERS)
        .unwrap();
    for (name, args, part) in [
        ("add", vec![Value::I32(1)], "2 arguments wanted, 1 given"),
        (
            "add",
            vec![Value::from("1"), Value::I32(1)],
            "argument 1 `p0`: i32 wanted, text given",
        ),
        (
            "add",
            vec![Value::I32(1), Value::Null],
            "argument 2 `p1`: i32 wanted, null given",
        ),
        (
            "add",
            vec![Value::Bool(true), Value::I32(1)],
            "i32 wanted, bool given",
        ),
        (
            "add",
            vec![Value::F64(1.5), Value::I32(1)],
            "i32 wanted, f64 given",
        ),
        (
            "add",
            vec![Value::F64(f64::NAN), Value::I32(1)],
            "i32 wanted, f64 given",
        ),
        (
            "add",
            vec![Value::I64(1 << 31), Value::I32(1)],
            "2147483648 is beyond i32",
        ),
        ("half", vec![Value::I64((1 << 53) + 1)], "has no exact f64"),
        ("half32", vec![Value::F64(1e300)], "is beyond f32"),
        (
            "half32",
            vec![Value::I32((1 << 24) + 1)],
            "has no exact f32",
        ),
    ] {
        let error = plugins.manager.execute(name, &args).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadArgs, "{error}");
        assert!(error.message().contains(part), "{error}");
        assert_eq!(error.place(), Some(&*format!("plugin/{name}")));
    }
}

#[test]
fn a_module_that_does_not_fit_hears_everything_at_once() {
    for engine in WASM {
        let plugins = Plugins::new();
        let wat = r#"(module
            (import "env" "clock" (func (result i64)))
            (memory 1)
            (global (export "size") i32 (i32.const 0))
            (func (export "take") (param funcref))
            (func (export "add") (param i32 i32) (result i32) i32.const 0))"#;
        let functions = "'size', 'take', 'gone', 'add(a: text, b: i32) -> i32'";
        let error = plugins.add_wat(engine, functions, wat).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Package);
        for part in [
            "import `env.clock`",
            "no export `memory`",
            "export `size` is a global i32, not a function",
            "function `take` has the type (funcref): only numbers",
            "no export `gone`",
            "function `add` is declared as (a: text, b: i32) -> i32, which the module's (i32, i32) -> i32 cannot be",
        ] {
            assert!(error.message().contains(part), "{part}: {error}");
        }
    }
}

#[test]
fn traps_and_endless_loops_end_the_call_alone() {
    for engine in WASM {
        let plugins = Plugins::new();
        plugins
            .add_wat(engine, "'add','divide','spin'", NUMBERS)
            .unwrap();
        let call = |name, args: &[Value]| plugins.manager.execute(name, args);
        let by_zero = [Value::I32(1), Value::I32(0)];
        assert_eq!(
            call("divide", &by_zero).unwrap_err().kind(),
            ErrorKind::Trap
        );
        let deadline = ErrorKind::Limit(engine_core::limits::Limit::Deadline);
        assert_eq!(call("spin", &[]).unwrap_err().kind(), deadline);
        assert_eq!(call("add", &by_zero).unwrap(), Value::I32(1));
    }
}
