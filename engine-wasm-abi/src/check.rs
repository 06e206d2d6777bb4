//! The checks that a module passes before a runtime sees it, all of them in one report.

use engine_core::engine::CodeReport;
use engine_core::limits::Limits;

use crate::exports::{VERSION, VERSION_PREFIX, Version};
use crate::inspect::{Inspection, ItemType, ModuleInfo};
use crate::load::{self, MEMORY};
use crate::offers::offers;

/// Everything that keeps a module from loading under these limits, one problem a line.
pub(crate) fn problems(inspection: &Inspection, limits: &Limits) -> Vec<String> {
    let info = &inspection.info;
    let mut problems: Vec<String> = inspection.problems.iter().map(|p| p.to_string()).collect();
    let version = Version::of(info);
    exports(info, version, &mut problems);
    let offer = version.offer();
    problems.extend(info.imports.iter().filter_map(|i| offer.find(i).err()));
    problems.extend(load::size_problems(info, limits));
    problems
}

fn exports(info: &ModuleInfo, version: Version, problems: &mut Vec<String>) {
    let abi = version.name();
    match info.export(MEMORY).map(|export| &export.ty) {
        Some(ItemType::Memory(_)) => {}
        Some(other) => problems.push(format!("export `{MEMORY}` is a {other}, not a memory")),
        None => problems.push(format!(
            "no export `{MEMORY}`: export the module's memory by this name"
        )),
    }
    for (position, spec) in version.exports().iter().enumerate() {
        match info.export(spec.name).map(|export| &export.ty) {
            Some(ItemType::Func(sig)) if **sig == spec.signature() => {}
            Some(other) => problems.push(format!(
                "export `{}` is a {other}, but ABI {abi} has it as a function {}",
                spec.name,
                spec.signature()
            )),
            None if spec.optional => {}
            None if position == VERSION => problems.push(version_problem(info)),
            None => problems.push(format!(
                "no export `{}`: ABI {abi} has it as a function {}",
                spec.name,
                spec.signature()
            )),
        }
    }
}

/// The versions that a module says it speaks, such as `2_0`.
fn versions(info: &ModuleInfo) -> impl Iterator<Item = &str> {
    let names = info.exports.iter().map(|export| export.name.as_str());
    names.filter_map(|name| name.strip_prefix(VERSION_PREFIX))
}

fn version_problem(info: &ModuleInfo) -> String {
    let others: Vec<_> = versions(info)
        .map(|version| version.replace('_', "."))
        .collect();
    if others.is_empty() {
        return format!(
            "no export `{VERSION_PREFIX}1_1` or `{VERSION_PREFIX}1_0`: the module names no version of the ABI; build it with one of the guest SDKs or export one of these functions"
        );
    }
    format!(
        "the module speaks version {} of the ABI, this engine speaks 1.0 and 1.1: build it with an SDK of that version",
        others.join(", ")
    )
}

/// Says in words what a module offers and needs.
pub(crate) fn report(code: &[u8], inspection: &Inspection, limits: &Limits) -> CodeReport {
    let info = &inspection.info;
    let mut facts = vec![("size".to_owned(), format!("{} bytes", code.len()))];
    let mut fact = |name: &str, value: String| facts.push((name.to_owned(), value));
    for version in versions(info) {
        fact("ABI version", version.replace('_', "."));
    }
    if let Some(name) = &info.name {
        fact("module", name.clone());
    }
    fact("functions", info.functions.to_string());
    if let Some(largest) = &info.largest_function {
        let name = largest.name.as_deref().unwrap_or("without a name");
        fact(
            "largest function",
            format!("{} bytes, {name}", largest.bytes),
        );
    }
    for memory in &info.memories {
        fact("memory", ItemType::Memory(*memory).to_string());
    }
    for table in &info.tables {
        fact("table", ItemType::Table(*table).to_string());
    }
    for producer in &info.producers {
        fact(
            &producer.role,
            format!("{} {}", producer.name, producer.version),
        );
    }
    let exports = info
        .exports
        .iter()
        .map(|export| format!("{}: {}", export.name, export.ty));
    let imports = info.imports.iter();
    CodeReport {
        extensions: offers(code).unwrap_or_default(),
        exports: exports.collect(),
        imports: imports
            .map(|i| format!("{}.{}: {}", i.module, i.name, i.ty))
            .collect(),
        facts,
        problems: problems(inspection, limits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::inspect;

    /// A module with all that ABI 1.0 asks for, and more behind it.
    fn module(more: &str) -> String {
        format!(
            r#"(module
            (import "env" "HostGetElem" (func (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "WasmAbiVersion_1_0"))
            (func (export "WasmInit"))
            (func (export "WasmRun") (param i32 i32 i32) (result i32) i32.const 0)
            (func (export "WasmMalloc") (param i32) (result i32) i32.const 0)
            (func (export "WasmReset"))
            (func (export "WasmFinit"))
            (func (export "WasmOnRead") (param i32 i32 i32))
            {more})"#
        )
    }

    fn problems_of(wat: &str, limits: &Limits) -> Vec<String> {
        problems(&inspect(&wat::parse_str(wat).unwrap()), limits)
    }

    #[test]
    fn a_module_that_fits_has_no_problems() {
        assert_eq!(problems_of(&module(""), &Limits::default()), [""; 0]);
    }

    #[test]
    fn an_empty_module_hears_of_every_missing_export_at_once() {
        let found = problems_of("(module)", &Limits::default());
        for name in [
            "memory",
            "WasmInit",
            "WasmRun",
            "WasmMalloc",
            "WasmReset",
            "WasmFinit",
            "WasmOnRead",
        ] {
            let missing = format!("no export `{name}`");
            assert_eq!(
                found.iter().filter(|p| p.starts_with(&missing)).count(),
                1,
                "{name}"
            );
        }
        assert!(found.iter().any(|p| p.contains("names no version")));
        assert_eq!(found.len(), 8);
    }

    #[test]
    fn another_version_of_the_abi_is_named() {
        let wat = module("").replace("WasmAbiVersion_1_0", "WasmAbiVersion_2_0");
        let found = problems_of(&wat, &Limits::default());
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("speaks version 2.0 of the ABI, this engine speaks 1.0 and 1.1"));
    }

    #[test]
    fn wrong_types_unknown_imports_and_exceeded_limits_stand_in_one_report() {
        let wat =
            module(r#"(table 9 funcref) (global (export "extengine.fuel") i32 (i32.const 0))"#)
                .replace(
                    r#"(func (export "WasmInit"))"#,
                    r#"(func (export "WasmInit") (param i64))"#,
                )
                .replace(
                    r#""HostGetElem" (func (param i32 i32)"#,
                    r#""HostGetElem" (func (param i32)"#,
                )
                .replace(r#""clock_time_get""#, r#""path_open""#)
                .replace(
                    "(memory (export \"memory\") 1)",
                    "(memory (export \"memory\") 3)",
                );
        let limits = Limits {
            functions: 6,
            function_bytes: 3,
            memory: 2 << 16,
            table_elements: 8,
            ..Limits::default()
        };
        let found = problems_of(&wat, &limits);
        for part in [
            "export `WasmInit` is a function (i64)",
            "import `env.HostGetElem` is a function (i32) -> i32",
            "import `wasi_snapshot_preview1.path_open`",
            "`extengine.fuel` is reserved",
            "limit `functions`: functions 7, 6 allowed",
            "limit `function_bytes`",
            "limit `memory`: bytes of memory at the start 196608, 131072 allowed",
            "limit `table_elements`",
        ] {
            assert_eq!(
                found.iter().filter(|p| p.contains(part)).count(),
                1,
                "{part}: {found:?}"
            );
        }
        assert_eq!(found.len(), 8, "{found:?}");
    }

    #[test]
    fn a_start_function_is_refused() {
        let found = problems_of(&module("(func $s) (start $s)"), &Limits::default());
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("start function"), "{found:?}");
    }

    #[test]
    fn a_report_says_what_a_module_offers_and_needs() {
        let code = wat::parse_str(module("")).unwrap();
        let report = report(&code, &inspect(&code), &Limits::default());
        assert!(
            report
                .exports
                .contains(&"WasmRun: function (i32, i32, i32) -> i32".to_owned())
        );
        assert!(
            report
                .imports
                .contains(&"env.HostGetElem: function (i32, i32) -> i32".to_owned())
        );
        assert!(
            report
                .facts
                .contains(&("ABI version".to_owned(), "1.0".to_owned()))
        );
        assert!(report.problems.is_empty());
    }
}
