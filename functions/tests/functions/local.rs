//! Executors of one thread.

use functions::{ErrorKind, Value};

use crate::plugin::{PATIENCE, Plugins};

const ADD: &str = r#"(module
    (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))"#;
const SUBTRACT: &str = r#"(module
    (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.sub))"#;

#[test]
fn a_function_is_looked_up_once_and_follows_changes() {
    let plugins = Plugins::new();
    plugins.add_wat("wasmtime", "'add'", ADD).unwrap();
    let mut local = plugins.manager.local();
    let add = local.function("add").unwrap();
    let args = [Value::I32(5), Value::I32(3)];
    assert_eq!(local.call(add, &args).unwrap(), Value::I32(8));
    assert_eq!(
        local.declared(add).unwrap().to_string(),
        "add(p0: i32, p1: i32) -> i32"
    );

    plugins.file("module.wasm", wat::parse_str(SUBTRACT).unwrap());
    let config = plugins.manager.status("plugin").unwrap().config;
    plugins.manager.change(config).unwrap();
    plugins.manager.wait_ready("plugin", PATIENCE).unwrap();
    assert_eq!(local.call(add, &args).unwrap(), Value::I32(2));
    assert_eq!(local.execute("add", &args).unwrap(), Value::I32(2));

    plugins.manager.delete("plugin").unwrap();
    assert_eq!(
        local.call(add, &args).unwrap_err().kind(),
        ErrorKind::Unknown
    );
    plugins.file("module.wasm", wat::parse_str(ADD).unwrap());
    plugins.add_wat("wasmtime", "'add'", ADD).unwrap();
    assert_eq!(local.call(add, &args).unwrap(), Value::I32(8));
}

#[test]
fn what_another_executor_looked_up_is_no_function_here() {
    let plugins = Plugins::new();
    let two = r#"(module
        (func (export "one") (result i32) i32.const 1)
        (func (export "two") (result i32) i32.const 2))"#;
    plugins.add_wat("wasmtime", "'one', 'two'", two).unwrap();
    let one = plugins.manager.local().function("one").unwrap();
    let mut other = plugins.manager.local();
    // Before and after it has looked one up itself.
    for _ in 0..2 {
        for error in [
            other.call(one, &[]).unwrap_err(),
            other.declared(one).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Unknown);
            assert_eq!(error.message(), "a function of another executor");
        }
        assert_eq!(other.execute("two", &[]).unwrap(), Value::I32(2));
    }
}

#[test]
fn each_executor_has_instances_of_its_own() {
    let counter = r#"(module
        (global $calls (mut i32) (i32.const 0))
        (func (export "count") (result i32)
            global.get $calls i32.const 1 i32.add global.set $calls global.get $calls)
        (func (export "crash") unreachable))"#;
    let plugins = Plugins::new();
    plugins
        .add_wat("wasmtime", "'count', 'crash'", counter)
        .unwrap();
    let (mut one, mut two) = (plugins.manager.local(), plugins.manager.local());
    assert_eq!(one.execute("count", &[]).unwrap(), Value::I32(1));
    assert_eq!(one.execute("count", &[]).unwrap(), Value::I32(2));
    assert_eq!(
        two.execute("crash", &[]).unwrap_err().kind(),
        ErrorKind::Trap
    );
    assert_eq!(two.execute("count", &[]).unwrap(), Value::I32(1));
    assert_eq!(one.execute("count", &[]).unwrap(), Value::I32(3));
}

#[test]
fn a_batch_is_as_its_rows() {
    let plugins = Plugins::new();
    plugins.add_wat("wasmtime", "'add'", ADD).unwrap();
    let rows: Vec<_> = (0..100)
        .map(|n| vec![Value::I32(n), Value::I32(1)])
        .collect();
    let mut local = plugins.manager.local();
    let results = local.execute_batch("add", &rows).unwrap();
    for (n, result) in (1..).zip(results) {
        assert_eq!(result.unwrap(), Value::I32(n));
    }
}
