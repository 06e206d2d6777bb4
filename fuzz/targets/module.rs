//! WASM modules: bytes are inspected in linear time and without a panic, what is found to be sound is sound to another
//! reader, and the rewrites for fuel and for a start function leave a sound module with the same imports and exports.
#![no_main]

use std::sync::{Arc, LazyLock};

use engine_core::engine::{Code, ExtEngine};
use engine_core::limits::Limits;
use engine_wasm_abi::engine::WasmEngine;
use engine_wasm_abi::fuel::{Costs, FUEL_GLOBAL, FuelError, REFILL_MODULE, REFILL_NAME, meter};
use engine_wasm_abi::inspect::{FEATURES, ModuleInfo, inspect};
use engine_wasm_abi::start::export_start;
use fuzz::runtime::Scripted;
use fuzz::script::Script;
use libfuzzer_sys::fuzz_target;
use wasmparser::Validator;

static ENGINE: LazyLock<WasmEngine<Scripted>> =
    LazyLock::new(|| Scripted::engine(Arc::new(Script::new(vec![Vec::new()]))));

fn is_sound(module: &[u8]) -> bool {
    Validator::new_with_features(FEATURES)
        .validate_all(module)
        .is_ok()
}

fn imports(info: &ModuleInfo) -> Vec<String> {
    info.imports
        .iter()
        .map(|i| format!("{}.{}: {}", i.module, i.name, i.ty))
        .collect()
}

fn exports(info: &ModuleInfo) -> Vec<String> {
    info.exports
        .iter()
        .map(|e| format!("{}: {}", e.name, e.ty))
        .collect()
}

/// One module without what the format's own bounds may forbid of a longer one.
fn is_small(module: &[u8]) -> bool {
    module.len() < 40_000
}

fn metered(module: &[u8], info: &ModuleInfo) {
    let after = match meter(module, &Costs::default()) {
        Ok(after) => after,
        Err(FuelError::Reserved(name)) => {
            assert!([FUEL_GLOBAL, "extengine.refill"].contains(&name));
            return;
        }
        Err(error) => panic!("{error}"),
    };
    if !is_sound(&after) {
        // Its locals may have been as many as there may be.
        let error = Validator::new_with_features(FEATURES).validate_all(&after);
        let error = error.map(drop).expect_err("not sound").to_string();
        assert!(
            error.contains("too many locals") || !is_small(module),
            "{error}"
        );
        return;
    }
    let after = inspect(&after).info;
    let added = imports(&after);
    let (refill, others) = added.split_last().expect("the refill");
    assert_eq!(
        *refill,
        format!("{REFILL_MODULE}.{REFILL_NAME}: function ()")
    );
    assert_eq!(others, imports(info));
    let added = exports(&after);
    let (fuel, others) = added.split_last().expect("the fuel");
    assert!(fuel.starts_with(FUEL_GLOBAL), "{fuel}");
    assert_eq!(others, exports(info));
    assert_eq!(after.functions, info.functions);
}

fuzz_target!(|module: &[u8]| {
    let inspection = inspect(module);
    let info = &inspection.info;
    assert!(inspection.problems.len() <= 100);
    assert!(
        inspection
            .problems
            .iter()
            .all(|problem| problem.offset <= module.len())
    );
    let sound = is_sound(module);
    // A start function is what a sound module may have, and a guest may not.
    let starts = info.start && inspection.problems.len() == 1;
    assert_eq!(
        sound,
        inspection.problems.is_empty() || starts,
        "{:?}",
        inspection.problems
    );
    match sound {
        true => metered(module, info),
        false => assert!(matches!(
            meter(module, &Costs::default()),
            Err(FuelError::Invalid(_))
        )),
    }
    let exported = export_start(module, "begin");
    if sound && info.start && !info.exports.is_empty() && info.export("begin").is_none() {
        assert!(is_sound(&exported));
        let after = inspect(&exported);
        assert_eq!(after.problems, []);
        let (begin, others) = after.info.exports.split_last().expect("the start");
        assert_eq!(begin.name, "begin");
        assert_eq!(others, info.exports);
    } else if !info.start {
        assert_eq!(exported, module);
    }
    let report = proxy_wasm::inspect(module, &Limits::default());
    assert!(
        report.problems.is_empty() <= report.version.is_some(),
        "{report}"
    );
    if let Ok(report) = ENGINE.inspect(&Code::Bytes(module.into())) {
        assert!(!report.problems.is_empty() || inspection.problems.is_empty());
        assert_eq!(report.imports, imports(info));
        assert_eq!(report.exports, exports(info));
    }
});
