//! Functions over Arrow record batches.

use std::sync::Arc;

use arrow_array::builder::{Int32Builder, ListBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int8Array, Int32Array, Int64Array, RecordBatch,
    StringArray,
};
use arrow_schema::DataType;
use contract_guest as _;
use engine_core::limits::Limit;
use functions::{ErrorKind, Result};

use crate::plugin::{Plugins, WASM};

const NUMBERS: &str = r#"(module
    (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
    (func (export "divide") (param i64 i64) (result i64) local.get 0 local.get 1 i64.div_s)
    (func (export "mean") (param f64 f64) (result f64) local.get 0 local.get 1 f64.add f64.const 2 f64.div)
    (func (export "less") (param i32 i32) (result i32) local.get 0 local.get 1 i32.lt_s)
    (func (export "nothing") (param i32)))"#;

fn batch(columns: Vec<ArrayRef>) -> RecordBatch {
    let named = columns.into_iter().enumerate();
    let named = named.map(|(place, column)| (format!("c{place}"), column, true));
    RecordBatch::try_from_iter_with_nullable(named).expect("columns of one length")
}

/// The same function through the manager and through a local executor.
fn both(plugins: &Plugins, function: &str, batch: &RecordBatch) -> Result<ArrayRef> {
    let one = plugins.manager.execute_arrow(function, batch);
    let other = plugins.manager.local().execute_arrow(function, batch);
    match (&one, &other) {
        (Ok(one), Ok(other)) => assert_eq!(one, other),
        (Err(one), Err(other)) => assert_eq!(
            (one.kind(), one.to_string()),
            (other.kind(), other.to_string())
        ),
        _ => panic!("{one:?} and {other:?}"),
    }
    one
}

#[test]
fn arrays_go_in_and_an_array_comes_out_with_its_nulls() {
    for engine in WASM {
        let plugins = Plugins::new();
        let functions = "'add','divide','mean','less(a: i32, b: i32) -> bool','nothing'";
        plugins.add_wat(engine, functions, NUMBERS).unwrap();
        let a: ArrayRef = Arc::new(Int32Array::from(vec![
            Some(1),
            None,
            Some(3),
            Some(i32::MAX),
        ]));
        let b: ArrayRef = Arc::new(Int32Array::from(vec![Some(10), Some(20), None, Some(1)]));
        let ints = batch(vec![a, b]);
        let sum = both(&plugins, "add", &ints).unwrap();
        assert_eq!(
            *sum,
            Int32Array::from(vec![Some(11), None, None, Some(i32::MIN)])
        );
        let less = both(&plugins, "less", &ints).unwrap();
        assert_eq!(
            *less,
            BooleanArray::from(vec![Some(true), None, None, Some(false)])
        );
        let floats = batch(vec![
            Arc::new(Float64Array::from(vec![1.0, -0.0])),
            Arc::new(Float64Array::from(vec![2.0, -0.0])),
        ]);
        let mean = both(&plugins, "mean", &floats).unwrap();
        assert_eq!(mean.as_primitive::<Float64Type>().value(0), 1.5);
        let column = batch(vec![Arc::new(Int32Array::from(vec![1, 2]))]);
        let nothing = both(&plugins, "nothing", &column).unwrap();
        assert_eq!((nothing.data_type(), nothing.len()), (&DataType::Null, 2));
    }
}

#[test]
fn columns_of_other_types_are_checked_value_by_value() {
    let plugins = Plugins::new();
    plugins.add_wat("wasmtime", "'add'", NUMBERS).unwrap();
    let narrow = batch(vec![
        Arc::new(Int8Array::from(vec![Some(-1), None])),
        Arc::new(Int64Array::from(vec![5, 6])),
    ]);
    let sum = both(&plugins, "add", &narrow).unwrap();
    assert_eq!(*sum, Int32Array::from(vec![Some(4), None]));
    let wide = batch(vec![
        Arc::new(Int64Array::from(vec![1, 1 << 40])),
        Arc::new(Int64Array::from(vec![1, 1])),
    ]);
    let error = both(&plugins, "add", &wide).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadArgs);
    assert!(error.to_string().contains("row 1"), "{error}");
    let one = batch(vec![Arc::new(Int32Array::from(vec![1]))]);
    let error = both(&plugins, "add", &one).unwrap_err();
    assert!(
        error.message().contains("2 columns wanted, 1 given"),
        "{error}"
    );
}

#[test]
fn the_first_row_that_fails_names_itself() {
    for engine in WASM {
        let plugins = Plugins::new();
        plugins.add_wat(engine, "'divide'", NUMBERS).unwrap();
        let ten: ArrayRef = Arc::new(Int64Array::from(vec![10; 4]));
        let by: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(0), Some(5)]));
        let error = both(&plugins, "divide", &batch(vec![ten.clone(), by])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Trap);
        assert_eq!(error.place(), Some("plugin/divide, row 2"), "{error}");
        let by: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 5, 10]));
        let fine = both(&plugins, "divide", &batch(vec![ten, by])).unwrap();
        assert_eq!(fine.as_primitive::<Int64Type>().values(), &[10, 5, 2, 1]);
    }
}

/// Prints so many lines, and a letter without the line's end where `rest` is not 0.
const CHATTY: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\10\00\00\00\02\00\00\00\10\00\00\00\01\00\00\00x\n")
    (func (export "say") (param $lines i32) (param $rest i32) (result i32)
        (block $said
            (loop $again
                (br_if $said (i32.eqz (local.get $lines)))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))
                (local.set $lines (i32.sub (local.get $lines) (i32.const 1)))
                (br $again)))
        (if (local.get $rest)
            (then (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 32)))))
        (i32.const 7)))"#;

#[test]
fn each_row_has_the_limits_of_a_call() {
    for engine in WASM {
        let plugins = Plugins::new();
        plugins.file("say.wasm", wat::parse_str(CHATTY).expect("a module"));
        let toml = format!(
            "name = 'chatty'\nengine = '{engine}'\npath = 'say.wasm'\nfunctions = ['say']\nlimits.log_lines = 2"
        );
        plugins.add(&toml).unwrap();
        let say = |rows: &[(i32, i32)]| {
            let (lines, rest): (Vec<_>, Vec<_>) = rows.iter().copied().unzip();
            let columns: [ArrayRef; 2] =
                [lines, rest].map(|column| Arc::new(Int32Array::from(column)) as _);
            both(&plugins, "say", &batch(columns.into()))
        };
        let fine = say(&[(2, 0), (1, 1), (0, 0), (2, 0), (0, 1)]).unwrap();
        assert_eq!(*fine, Int32Array::from(vec![7; 5]));
        for too_much in [(3, 0), (2, 1)] {
            let error = say(&[(2, 0), (0, 0), too_much, (0, 0), (0, 0)]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Limit(Limit::LogLines));
            assert_eq!(error.place(), Some("chatty/say, row 2"), "{error}");
        }
    }
}

#[test]
fn texts_lists_and_records_have_arrays_too() {
    let plugins = Plugins::new();
    let script = "
        function both(args) return args.a .. args.b end
        function sums(args)
            local total = 0
            for _, n in args.all do total += n end
            return { result = { total = total, all = args.all } }
        end
        function names(args) return { result = { { key = args.a, value = #args.a } } } end";
    plugins.file("texts.lua", script);
    plugins
        .add(
            "name = 'texts'\nengine = 'lua'\npath = 'texts.lua'\nfunctions = ['both(a: text, b: text?) -> text',
            'sums(all: [i32]) -> {total: i64, all: [i32]}', 'names(a: text) -> map[u8]']",
        )
        .unwrap();
    let a: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None, Some("")]));
    let b: ArrayRef = Arc::new(StringArray::from(vec!["y", "z", "é"]));
    let texts = both(&plugins, "both", &batch(vec![a.clone(), b])).unwrap();
    assert_eq!(*texts, StringArray::from(vec![Some("xy"), None, Some("é")]));

    let mut lists = ListBuilder::new(Int32Builder::new());
    lists.append_value([Some(1), Some(2)]);
    lists.append_null();
    lists.append_value([]);
    let lists: ArrayRef = Arc::new(lists.finish());
    let sums = both(&plugins, "sums", &batch(vec![lists])).unwrap();
    let sums = sums.as_struct();
    assert_eq!(sums.column(0).as_primitive::<Int64Type>().value(0), 3);
    assert_eq!(
        sums.column(1)
            .as_list::<i32>()
            .value(0)
            .as_primitive::<Int32Type>()
            .values(),
        &[1, 2]
    );
    assert!(sums.is_null(1) && !sums.is_null(2));

    let names = both(&plugins, "names", &batch(vec![a])).unwrap();
    let names = names.as_map();
    assert_eq!(names.value(0).column(0).as_string::<i32>().value(0), "x");
    assert!(names.is_null(1));
}

#[test]
fn a_column_that_no_parameter_takes_is_refused() {
    let plugins = Plugins::new();
    plugins.add_wat("wasmtime", "'nothing'", NUMBERS).unwrap();
    let dates = batch(vec![Arc::new(arrow_array::Date32Array::from(vec![1]))]);
    let error = both(&plugins, "nothing", &dates).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadArgs);
    assert!(error.message().contains("Date32"), "{error}");
}
