//! What metering does to the rest of a module.

use engine_wasm_abi::fuel::{Costs, FUEL_GLOBAL, FuelError, REFILL_MODULE, REFILL_NAME, meter};
use engine_wasm_abi::inspect::{FEATURES, ItemType, ValType, inspect};
use wasmparser::{KnownCustom, Name, Parser, Payload, Validator};

fn metered(text: &str) -> Vec<u8> {
    let metered = meter(&wat::parse_str(text).unwrap(), &Costs::default()).unwrap();
    let mut validator = Validator::new_with_features(FEATURES);
    validator.validate_all(&metered).unwrap();
    metered
}

#[test]
fn the_fuel_and_its_refill_come_last() {
    for text in [
        "(module)",
        "(module (func))",
        "(module (memory 1) (data (i32.const 0) \"x\"))",
        r#"(module (import "a" "f" (func)) (import "a" "g" (global i32)) (func) (export "e" (func 1)))"#,
        r#"(module (global i32 (i32.const 1)) (export "g" (global 0)))"#,
        r#"(module (type (func)) (table 1 funcref) (elem (i32.const 0) func 0) (func))"#,
    ] {
        let original = inspect(&wat::parse_str(text).unwrap()).info;
        let info = inspect(&metered(text)).info;
        let (import, imports) = info.imports.split_last().unwrap();
        assert_eq!(imports, original.imports, "{text}");
        assert_eq!(
            (import.module.as_str(), import.name.as_str()),
            (REFILL_MODULE, REFILL_NAME)
        );
        assert_eq!(import.ty, ItemType::Func(Default::default()));

        let (export, exports) = info.exports.split_last().unwrap();
        assert_eq!(exports, original.exports, "{text}");
        let fuel = ItemType::Global {
            value: ValType::I64,
            mutable: true,
        };
        assert_eq!((export.name.as_str(), &export.ty), (FUEL_GLOBAL, &fuel));
        assert_eq!(info.functions, original.functions);
        assert_eq!(
            (info.memories, info.tables),
            (original.memories, original.tables)
        );
    }
}

#[test]
fn names_and_the_start_function_follow_their_functions() {
    let text = r#"(module $guest
        (import "env" "next" (func $next))
        (func $first)
        (func $begin (local $x i32) (block $label))
        (start $begin))"#;
    let bytes = metered(text);
    let mut functions = Vec::new();
    let mut start = None;
    for payload in Parser::new(0).parse_all(&bytes) {
        match payload.unwrap() {
            Payload::StartSection { func, .. } => start = Some(func),
            Payload::CustomSection(section) => {
                let KnownCustom::Name(names) = section.as_known() else {
                    panic!("{} is kept", section.name());
                };
                for name in names {
                    if let Name::Function(map) = name.unwrap() {
                        functions.extend(map.into_iter().map(|name| {
                            let name = name.unwrap();
                            (name.index, name.name)
                        }));
                    }
                }
            }
            _ => {}
        }
    }
    assert_eq!(functions, [(0, "next"), (2, "first"), (3, "begin")]);
    assert_eq!(start, Some(3));
    assert_eq!(inspect(&bytes).info.name.as_deref(), Some("guest"));
}

#[test]
fn custom_sections_but_names_are_dropped_and_broken_names_do_no_harm() {
    let text = r#"(module (@custom ".debug_info" "offsets") (@custom "name" "\00\ff") (func))"#;
    let bytes = metered(text);
    let custom = Parser::new(0)
        .parse_all(&bytes)
        .filter(|payload| matches!(payload, Ok(Payload::CustomSection(_))));
    assert_eq!(custom.count(), 0);
}

#[test]
fn the_added_names_are_reserved() {
    let import = r#"(module (import "extengine" "refill" (func)))"#;
    let export = r#"(module (func (export "extengine.fuel")))"#;
    for (text, name) in [(import, "extengine.refill"), (export, FUEL_GLOBAL)] {
        let refused = meter(&wat::parse_str(text).unwrap(), &Costs::default());
        assert_eq!(refused, Err(FuelError::Reserved(name)));
    }
    metered(r#"(module (import "extengine" "other" (func)) (func (export "fuel")))"#);
}

#[test]
fn a_guest_cannot_name_its_fuel() {
    // Valid only after a global has been added.
    for text in [
        "(module (func (global.set 0 (i64.const 9))))",
        r#"(module (export "mine" (global 0)))"#,
        "(module (func (call 1)))",
    ] {
        let refused = meter(&wat::parse_str(text).unwrap(), &Costs::default());
        assert!(matches!(refused, Err(FuelError::Invalid(_))), "{text}");
    }
}

#[test]
fn a_module_of_a_missing_proposal_is_refused() {
    let tail_call = wat::parse_str("(module (func $f (return_call $f)))").unwrap();
    let refused = meter(&tail_call, &Costs::default());
    assert!(matches!(refused, Err(FuelError::Invalid(_))));
}
