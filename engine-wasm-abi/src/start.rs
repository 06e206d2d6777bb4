//! A module's start function as an export, so that it runs within a budget like any other function.

use std::borrow::Cow;

use wasm_encoder::reencode::{Error, Reencode, RoundtripReencoder};
use wasm_encoder::{ExportKind, ExportSection, Module, RawSection};
use wasmparser::{Parser, Payload};

/// Makes a module's start function an export of this name; a module without one stays what it is.
///
/// The host calls the export before everything else, which is what the start function is for.
/// Takes any bytes: what cannot be read stays for [`inspect`](crate::inspect::inspect) to refuse.
pub fn export_start<'a>(bytes: &'a [u8], name: &str) -> Cow<'a, [u8]> {
    let start = Parser::new(0)
        .parse_all(bytes)
        .find_map(|payload| match payload {
            Ok(Payload::StartSection { func, .. }) => Some(func),
            _ => None,
        });
    match start.map(|function| rewrite(bytes, name, function)) {
        Some(Ok(module)) => module.into(),
        Some(Err(_)) | None => bytes.into(),
    }
}

fn rewrite(bytes: &[u8], name: &str, function: u32) -> Result<Vec<u8>, Error> {
    let mut module = Module::new();
    let mut added = false;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        match payload {
            // It stands behind the exports, of which a host needs some.
            Payload::StartSection { .. } if added => {}
            Payload::ExportSection(section) => {
                let mut exports = ExportSection::new();
                RoundtripReencoder.parse_export_section(&mut exports, section)?;
                exports.export(name, ExportKind::Func, function);
                module.section(&exports);
                added = true;
            }
            _ => {
                if let Some((id, range)) = payload.as_section() {
                    // Code is announced before it is read to its end.
                    let data = bytes.get(range).ok_or(Error::InvalidCodeSectionSize)?;
                    module.section(&RawSection { id, data });
                }
            }
        }
    }
    Ok(module.finish())
}

#[cfg(test)]
mod tests {
    use wasmparser::{Validator, WasmFeatures};

    use super::*;
    use crate::inspect::inspect;

    fn module(text: &str) -> Vec<u8> {
        wat::parse_str(text).expect("a module")
    }

    #[test]
    fn a_start_function_becomes_an_export_and_nothing_else_changes() {
        let before = module(
            r#"(module $named (memory (export "memory") 1) (global (mut i32) (i32.const 0))
              (func $init (global.set 0 (i32.const 7))) (func (export "get") (result i32) (global.get 0))
              (data (i32.const 0) "x") (start $init))"#,
        );
        let after = export_start(&before, "begin");
        Validator::new_with_features(WasmFeatures::default())
            .validate_all(&after)
            .expect("valid");
        let (before, after) = (inspect(&before), inspect(&after));
        assert!(!before.problems.is_empty());
        assert_eq!(after.problems, []);
        assert_eq!(after.info.name.as_deref(), Some("named"));
        let names: Vec<_> = after
            .info
            .exports
            .iter()
            .map(|export| &*export.name)
            .collect();
        assert_eq!(names, ["memory", "get", "begin"]);
        assert!(!after.info.start);
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        let without = module(r#"(module (func (export "get")))"#);
        assert!(matches!(export_start(&without, "begin"), Cow::Borrowed(_)));
        let no_exports = module("(module (func) (start 0))");
        let problems = inspect(&export_start(&no_exports, "begin")).problems;
        assert!(
            problems[0].message.contains("start function"),
            "{problems:?}"
        );
        for cut in 0..without.len() {
            export_start(&without[..cut], "begin");
        }
        let taken = module(r#"(module (func (export "begin")) (start 0))"#);
        for cut in 0..taken.len() {
            assert_eq!(*export_start(&taken[..cut], "other"), taken[..cut]);
        }
        assert!(!inspect(&export_start(&taken, "begin")).problems.is_empty());
    }
}
