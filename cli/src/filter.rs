//! `extengine filter`: cases for filters, and what they say of themselves.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use extengine::contract::limits::Limits;
use extengine::contract::say;
use extengine::filter_test::{CaseReport, Cases, Failure, Plugin, Wasm, engines, run};
use extengine::proxy_wasm::{Version, inspect};
use extengine::{Error, ErrorKind, Result};
use serde_json::{Value as Json, json};

use crate::args::{Filter, FilterTest};
use crate::output::Lines;

pub(crate) fn filter(args: &Filter) -> Result<bool> {
    match args {
        Filter::Test(args) => test(args),
        Filter::Inspect { plugin } => look(plugin),
    }
}

fn test(args: &FilterTest) -> Result<bool> {
    let variants = variants(args)?;
    let text = String::from_utf8_lossy(&read(&args.cases)?).into_owned();
    let cases =
        Cases::parse(&text).map_err(|error| error.at(|| args.cases.display().to_string()))?;
    let plugins: Vec<_> = variants.iter().map(|variant| &**variant).collect();
    let report = run(&cases, &plugins);
    let mut lines = Lines::new();
    for case in &report.cases {
        lines.put(&line(case))?;
    }
    lines.flush()?;
    say!("{} cases, {} failed", report.cases.len(), report.failed());
    Ok(report.is_ok())
}

/// The filter on every engine that it is to run on.
fn variants(args: &FilterTest) -> Result<Vec<Box<dyn Plugin>>> {
    let code = read(&args.plugin)?;
    let engine = args.engine.as_deref();
    if args.plugin.extension().is_some_and(|end| end == "lua") {
        return script(code, engine);
    }
    let code: Arc<[u8]> = code.into();
    let variants = chosen(engine, engines())?.into_iter().map(|engine| {
        Box::new(Wasm {
            code: Arc::clone(&code),
            engine: engine.to_owned(),
        }) as Box<dyn Plugin>
    });
    Ok(variants.collect())
}

#[cfg(feature = "lua")]
fn script(code: Vec<u8>, engine: Option<&str>) -> Result<Vec<Box<dyn Plugin>>> {
    chosen(engine, vec!["lua"])?;
    let source = String::from_utf8(code);
    let source =
        source.map_err(|_| Error::new(ErrorKind::Package, "this is no script: it is no UTF-8"))?;
    Ok(vec![Box::new(extengine::filter_test::Lua { source })])
}

#[cfg(not(feature = "lua"))]
fn script(_: Vec<u8>, engine: Option<&str>) -> Result<Vec<Box<dyn Plugin>>> {
    chosen(engine, Vec::new()).map(|_| Vec::new())
}

/// All of some engines, or the one of them that was asked for.
fn chosen(engine: Option<&str>, all: Vec<&'static str>) -> Result<Vec<&'static str>> {
    let found: Vec<_> = all
        .iter()
        .copied()
        .filter(|known| engine.is_none_or(|engine| engine == *known))
        .collect();
    if found.is_empty() {
        let message = match engine {
            Some(engine) => format!(
                "no engine `{engine}` runs this filter here; there are: {}",
                all.join(", ")
            ),
            None => "this build has no engine that runs this filter".into(),
        };
        return Err(Error::new(ErrorKind::Unknown, message));
    }
    Ok(found)
}

fn line(report: &CaseReport) -> Json {
    let CaseReport {
        case,
        variant,
        failures,
    } = report;
    let mut line = json!({"case": case, "engine": variant, "ok": failures.is_empty()});
    if !failures.is_empty() {
        line["failures"] = failures.iter().map(failure).collect();
    }
    line
}

fn failure(failure: &Failure) -> Json {
    let Failure {
        step,
        what,
        expected,
        found,
    } = failure;
    let (step, line) = step.unzip();
    json!({"step": step, "line": line, "what": what, "expected": expected, "found": found})
}

fn look(plugin: &Path) -> Result<bool> {
    let report = inspect(&read(plugin)?, &Limits::default());
    let callbacks = report.callbacks.iter();
    let callbacks: Vec<_> = callbacks
        .map(|(name, params)| json!({"name": name, "parameters": params}))
        .collect();
    let mut lines = Lines::new();
    lines.put(&json!({
        "filter": plugin.display().to_string(),
        "runs": report.problems.is_empty(),
        "abi": report.version.map(Version::name),
        "sdk": report.sdk,
        "made_by": report.producers,
        "exports": callbacks,
        "imports": report.imports,
        "problems": report.problems,
    }))?;
    lines.flush()?;
    Ok(report.problems.is_empty())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|source| {
        let message = format!("cannot read {}: {source}", path.display());
        Error::new(ErrorKind::Io, message).with_source(source)
    })
}
