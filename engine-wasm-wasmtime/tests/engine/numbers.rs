//! Functions of numbers, whose calls are unchecked: each is compared with what it is called by before anything is linked.

use std::sync::Arc;

use engine_core::error::ErrorKind;
use engine_core::factory::EngineLimits;
use engine_core::limits::Limits;
use engine_wasm_abi::inspect::{FuncSig, ValType};
use engine_wasm_abi::runtime::{Blueprint, NumberFunction, Runtime};
use engine_wasm_wasmtime::WasmtimeRuntime;

#[test]
fn a_function_that_is_called_by_another_type_is_not_linked() {
    use ValType::{F32, F64, I32, I64, V128};
    let many = "i32 ".repeat(NumberFunction::MAX_VALUES + 1);
    let code = format!(
        r#"(module (memory (export "memory") 1)
            (func (export "sum") (param i32 f64) (result i64) i64.const 0)
            (func (export "wide") (param v128))
            (func (export "many") (param {many})))"#
    );
    let code = wat::parse_str(code).unwrap();
    let limits = Limits::default();
    let runtime = Arc::new(WasmtimeRuntime::new(&EngineLimits::from(&limits)).unwrap());
    let compile = |name: &str, params: &[ValType], results: &[ValType]| {
        let function = NumberFunction {
            name: name.into(),
            signature: FuncSig {
                params: params.to_vec(),
                results: results.to_vec(),
            },
        };
        let compiled = runtime.compile::<()>(&Blueprint {
            code: &code,
            metered: false,
            imports: Vec::new(),
            exports: &[],
            functions: &[function],
            limits: &limits,
        });
        compiled.map(drop).map_err(|error| error.kind())
    };
    assert_eq!(compile("sum", &[I32, F64], &[I64]), Ok(()));
    let many = vec![I32; NumberFunction::MAX_VALUES + 1];
    for (name, params, results) in [
        ("sum", &[I32][..], &[I64][..]),
        ("sum", &[I32, F64, I32], &[I64]),
        ("sum", &[I64, F64], &[I64]),
        ("sum", &[I32, F32], &[I64]),
        ("sum", &[I32, F64], &[]),
        ("sum", &[I32, F64], &[I32]),
        ("wide", &[V128], &[]),
        ("many", &many, &[]),
        ("memory", &[], &[]),
        ("nothing", &[], &[]),
    ] {
        let refused = compile(name, params, results);
        assert_eq!(refused, Err(ErrorKind::Internal), "{name} {params:?}");
    }
}
