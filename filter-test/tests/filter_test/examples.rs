//! The cases of the example filters.

use std::path::Path;

use filter_test::{Cases, Lua, run};

use crate::on_both;

/// Runs an example's cases; its module is in the folder of the examples, or where a script has built it.
fn example(name: &str, module: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cases = root.join(format!("examples/proxy/filters/{name}.toml"));
    let cases = std::fs::read_to_string(cases).expect("cases");
    let Ok(code) = std::fs::read(root.join(module)) else {
        println!(
            "not run: there is no {module}; make it with examples/proxy/filters/{name}/build.sh"
        );
        return;
    };
    let report = on_both(&code, &cases);
    assert!(report.is_ok(), "{report}");
    assert!(report.cases.len() >= 4, "{report}");
}

/// Runs the cases of an example in Lua.
fn script(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/filters-lua");
    let text = |end: &str| {
        let path = folder.join(format!("{name}.{end}"));
        std::fs::read_to_string(path).expect("a text")
    };
    let source = text("lua");
    let cases = Cases::parse(&text("toml")).expect("cases");
    let report = run(&cases, &[&Lua { source }]);
    assert!(report.is_ok(), "{report}");
    assert!(report.cases.len() >= 4, "{report}");
}

#[test]
fn authorise_does_what_its_cases_say() {
    script("authorise");
}

#[test]
fn redact_does_what_its_cases_say() {
    script("redact");
}

#[test]
fn add_header_does_what_its_cases_say() {
    example("add-header", "examples/proxy/filters/add-header.wasm");
}

#[test]
fn body_rewrite_does_what_its_cases_say() {
    example("body-rewrite", "examples/proxy/filters/body-rewrite.wasm");
}

#[test]
fn jwt_does_what_its_cases_say() {
    example("jwt", "examples/proxy/filters/jwt.wasm");
}

#[test]
fn metrics_tick_does_what_its_cases_say() {
    example("metrics-tick", "examples/proxy/filters/metrics-tick.wasm");
}

#[test]
fn rate_limit_does_what_its_cases_say() {
    example("rate-limit", "examples/proxy/filters/rate-limit.wasm");
}

#[test]
fn assemblyscript_does_what_its_cases_say() {
    example(
        "assemblyscript",
        "examples/proxy/filters/assemblyscript.wasm",
    );
}

#[test]
fn go_does_what_its_cases_say() {
    // Its module is too large to lie in the repository; CI has it built.
    example("go", "target/guests/go-filter.wasm");
}
