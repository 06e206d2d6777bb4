//! `extengine check`: what a package is, and whether it would load.

use std::path::Path;

use extengine::core::engine::{Code, CodeReport};
use extengine::core::factory::{EngineKind, EngineLimits, ExtEngineFactory, factories};
use extengine::core::limits::Limits;
use extengine::core::registry::Registry;
use extengine::{AppSpec, Error, ErrorKind, Result};
use serde_json::json;

use crate::args::Check;
use crate::output::Lines;

pub(crate) fn check(args: &Check) -> Result<bool> {
    let mut lines = Lines::new();
    let kind = match args.target.extension().and_then(|e| e.to_str()) {
        Some("wasm") => Some(EngineKind::Wasm),
        Some("lua" | "luau") => Some(EngineKind::Lua),
        _ => None,
    };
    let ok = match kind {
        Some(kind) => check_file(&args.target, kind, &mut lines)?,
        None => check_app(&args.target, &mut lines)?,
    };
    lines.flush()?;
    Ok(ok)
}

/// Checks a file on every engine of its kind.
fn check_file(path: &Path, kind: EngineKind, lines: &mut Lines) -> Result<bool> {
    let bytes = std::fs::read(path).map_err(|source| {
        Error::new(
            ErrorKind::Io,
            format!("cannot read {}: {source}", path.display()),
        )
        .with_source(source)
    })?;
    let code = Code::Bytes(bytes.into());
    let engines = of_kind(kind)?;
    let mut ok = true;
    for factory in engines {
        let report = inspect(factory, &Limits::default(), &code)?;
        ok &= report.problems.is_empty();
        lines.put(&json!({
            "package": path.display().to_string(),
            "engine": factory.name(),
            "loads": report.problems.is_empty(),
            "report": report,
        }))?;
    }
    Ok(ok)
}

fn of_kind(kind: EngineKind) -> Result<Vec<&'static dyn ExtEngineFactory>> {
    let engines: Vec<_> = factories()
        .into_iter()
        .filter(|f| f.kind() == kind)
        .collect();
    if engines.is_empty() {
        return Err(Error::new(
            ErrorKind::Unknown,
            format!("this build has no engine of kind `{kind}`"),
        ));
    }
    Ok(engines)
}

fn inspect(factory: &dyn ExtEngineFactory, limits: &Limits, code: &Code) -> Result<CodeReport> {
    let engine = Registry::global().engine(factory.name(), EngineLimits::from(limits))?;
    engine.inspect(code)
}

/// Checks an application's manifest, then each of its packages on every engine that it has code for.
fn check_app(folder: &Path, lines: &mut Lines) -> Result<bool> {
    let spec = AppSpec::load(folder)?;
    let mut ok = true;
    for (number, package) in spec.packages.iter().enumerate() {
        let mut checked = 0;
        for factory in factories() {
            let has_code = match factory.kind() {
                EngineKind::Wasm => package.wasm.is_some(),
                EngineKind::Lua => package.lua.is_some(),
                EngineKind::Builtin => package.builtin.is_some(),
            };
            if !has_code {
                continue;
            }
            checked += 1;
            let source = spec.source(number, factory.name(), factory.kind())?;
            let loaded = Registry::global().package(factory.name(), &source);
            let report = inspect(factory, &package.limits, &source.code);
            ok &= loaded.is_ok();
            let mut line = json!({
                "package": package.name,
                "engine": factory.name(),
                "loads": loaded.is_ok(),
            });
            if let Ok(report) = report {
                line["report"] = json!(report);
            }
            if let Err(error) = loaded {
                line["error"] = json!({"kind": error.kind().name(), "message": error.to_string()});
            }
            lines.put(&line)?;
        }
        if checked == 0 {
            eprintln!(
                "package `{}`: this build has no engine for its code",
                package.name
            );
            ok = false;
        }
    }
    Ok(ok)
}
