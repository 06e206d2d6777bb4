//! `extengine check`: what a package is, and whether it would load.

use std::path::Path;

use extengine::contract::engine::{Code, CodeReport, read_code};
use extengine::contract::factory::{EngineKind, EngineLimits, ExtEngineFactory, factories};
use extengine::contract::limits::{Limit, Limits};
use extengine::contract::registry::Registry;
use extengine::{AppSpec, Application, Error, ErrorKind, Result};
use serde_json::{Value as Json, json};

use crate::args::Check;
use crate::output::{Lines, error_line};

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
    let limits = Limits::default();
    let bytes = read(path, &limits)?;
    // An engine looks into code of any length; a package of such a length would need a limit of its own.
    if bytes.len() as u64 > limits.code_bytes {
        return Err(
            Error::limit(Limit::CodeBytes, limits.code_bytes).at(|| path.display().to_string())
        );
    }
    let code = Code::Bytes(bytes.into());
    let engines = of_kind(kind)?;
    let name = path.file_stem().and_then(|name| name.to_str());
    let name = name.unwrap_or_default();
    let mut ok = true;
    for factory in engines {
        let report = inspect(factory, &limits, &code, name)?;
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

/// Reads code, as far as it takes to see that it is longer than allowed.
pub(crate) fn read(path: &Path, limits: &Limits) -> Result<Vec<u8>> {
    read_code(path, limits.code_bytes).map_err(|source| {
        let message = format!("cannot read {}: {source}", path.display());
        Error::new(ErrorKind::Io, message).with_source(source)
    })
}

/// The limits of a package; the usual ones where there is no such package, as whoever loads its code will say.
pub(crate) fn limits(application: &Application, package: &str) -> Limits {
    let mut packages = application.spec().packages.iter();
    let spec = packages.find(|spec| spec.name == package);
    spec.map_or_else(Limits::default, |spec| spec.limits.clone())
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

/// What an engine finds in code; problems call a Lua chunk by the name of its package, as a run does.
fn inspect(
    factory: &dyn ExtEngineFactory,
    limits: &Limits,
    code: &Code,
    name: &str,
) -> Result<CodeReport> {
    let engine = Registry::global().engine(factory.name(), EngineLimits::from(limits))?;
    let mut report = engine.inspect(code)?;
    if factory.kind() == EngineKind::Lua {
        for problem in &mut report.problems {
            *problem = problem.replace("chunk.lua:", &format!("{name}.lua:"));
        }
    }
    Ok(report)
}

/// Checks an application's manifest, then each of its packages on every engine that it has code for.
///
/// Native code that is not linked into this program is no problem as long as the package does not run on it.
fn check_app(folder: &Path, lines: &mut Lines) -> Result<bool> {
    let spec = AppSpec::load(folder)?;
    let mut ok = true;
    for (number, package) in spec.packages.iter().enumerate() {
        let chosen = package.factory().map(|factory| factory.name());
        if let Err(error) = &chosen {
            ok = false;
            let mut line = json!({"package": package.name});
            if let Some(engine) = &package.engine {
                line["engine"] = json!(engine);
            }
            line["loads"] = json!(false);
            lines.put(&with_error(line, error))?;
        }
        for factory in factories() {
            let has_code = match factory.kind() {
                EngineKind::Wasm => package.wasm.is_some(),
                EngineKind::Lua => package.lua.is_some(),
                EngineKind::Builtin => package.builtin.is_some(),
            };
            if !has_code {
                continue;
            }
            let source = spec.source(number, factory.name(), factory.kind())?;
            let loaded = Registry::global().package(factory.name(), &source);
            let report = inspect(factory, &package.limits, &source.code, &package.name);
            let mut line = json!({
                "package": package.name,
                "engine": factory.name(),
                "loads": loaded.is_ok(),
            });
            let is_chosen = chosen.as_ref().is_ok_and(|name| *name == factory.name());
            match report {
                Ok(report) => line["report"] = json!(report),
                Err(error) if factory.kind() == EngineKind::Builtin && !is_chosen => {
                    line["notice"] = json!(error.to_string());
                    lines.put(&line)?;
                    continue;
                }
                Err(_) => {}
            }
            if let Err(error) = &loaded {
                ok = false;
                line = with_error(line, error);
            }
            lines.put(&line)?;
        }
    }
    Ok(ok)
}

/// A line of output with an error.
fn with_error(mut line: Json, error: &Error) -> Json {
    line["error"] = error_line(error)["error"].take();
    line
}
