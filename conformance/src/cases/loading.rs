//! Loading: what fits is loaded, what does not is refused with everything that is wrong with it.

use engine_core::engine::Code;
use engine_core::error::ErrorKind;
use engine_core::factory::EngineKind;
use engine_core::limits::{Keeping, Limit};
use engine_core::manifest::ExtensionKind;
use serde_json::json;

use crate::host::TestHost;
use crate::subject::{Instance, Subject};
use crate::suite;

/// Extensions that the manifest declares and the code does not offer are all named in one report.
///
/// A WASM module need not tell its extensions: of one that does not, each is refused when it is called, as the broken
/// rule that it is.
pub fn extensions_that_the_code_lacks_are_refused(subject: &Subject) {
    let mut setup = subject.package();
    let names = ["NotThere", "NeitherThere"];
    for name in names {
        let absent = suite::declare(name, ExtensionKind::Command, "", "");
        setup.manifest.extensions.push(absent);
    }
    match setup.load() {
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Package);
            let report = error.to_string();
            for name in names {
                assert!(report.contains(name), "{name} is not in: {report}");
            }
        }
        Ok(package) => {
            assert_eq!(subject.factory().kind(), EngineKind::Wasm);
            let mut instance = Instance::of(&package);
            for name in names {
                let answer = instance.call(&TestHost::new(), name, json!({}));
                let answer = answer.fails(ErrorKind::Abi);
                assert!(answer.message().contains(name), "{}", answer.message());
            }
        }
    }
}

/// A limit that the engine cannot keep keeps the package from loading, and is named, unless the manifest waives it.
pub fn a_limit_is_kept_or_refused(subject: &Subject) {
    let mut setup = subject
        .package()
        .limits(|limits| limits.fuel = Some(1 << 40));
    setup.manifest.waived.clear();
    let capabilities = subject.factory().capabilities();
    let not_kept: Vec<_> = Limit::ALL
        .into_iter()
        .filter(|limit| capabilities.of(*limit) == Keeping::NotKept)
        .collect();
    if not_kept.is_empty() {
        setup.load().expect("every limit is kept");
        return;
    }
    let (kind, report) = setup.clone().refusal();
    assert_eq!(kind, ErrorKind::NotKept);
    for limit in &not_kept {
        assert!(report.contains(limit.name()), "{limit} is not in: {report}");
    }
    setup.manifest.waived = not_kept;
    setup.load().expect("every limit is kept or waived");
}

/// Code of another kind than the engine's is refused.
pub fn code_of_another_kind_is_refused(subject: &Subject) {
    let mut setup = subject.package();
    setup.code = match subject.factory().kind() {
        EngineKind::Builtin => Code::Bytes((*b"\0asm").into()),
        _ => Code::Native("suite".into()),
    };
    assert_eq!(setup.refusal().0, ErrorKind::Package);
}

/// The suite's own code passes inspection.
pub fn sound_code_passes_inspection(subject: &Subject) {
    let engine = subject.package().engine();
    let report = engine.inspect(&subject.code()).expect("a report");
    assert_eq!(report.problems, Vec::<String>::new());
}

/// A refusal names the package.
pub fn a_refusal_names_the_package(subject: &Subject) {
    let mut setup = subject.package().named("unlucky");
    setup.code = match subject.factory().kind() {
        EngineKind::Builtin => Code::Native("nowhere".into()),
        _ => Code::Bytes((*b")(").into()),
    };
    let (_, report) = setup.refusal();
    assert!(report.contains("unlucky"), "{report}");
}
