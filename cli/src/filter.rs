//! `extengine filter`: cases for filters, and what they say of themselves.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use extengine::core::limits::Limits;
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
    let code: Arc<[u8]> = read(&args.plugin)?.into();
    let text = String::from_utf8_lossy(&read(&args.cases)?).into_owned();
    let cases =
        Cases::parse(&text).map_err(|error| error.at(|| args.cases.display().to_string()))?;
    let chosen: Vec<_> = chosen(args.engine.as_deref())?
        .into_iter()
        .map(|engine| Wasm {
            code: Arc::clone(&code),
            engine: engine.to_owned(),
        })
        .collect();
    let plugins: Vec<_> = chosen.iter().map(|wasm| wasm as &dyn Plugin).collect();
    let report = run(&cases, &plugins);
    let mut lines = Lines::new();
    for case in &report.cases {
        lines.put(&line(case))?;
    }
    lines.flush()?;
    eprintln!("{} cases, {} failed", report.cases.len(), report.failed());
    Ok(report.is_ok())
}

/// The engines that are compiled in, or the one of them that was asked for.
fn chosen(engine: Option<&str>) -> Result<Vec<&'static str>> {
    let all = engines();
    let found: Vec<_> = all
        .iter()
        .copied()
        .filter(|known| engine.is_none_or(|engine| engine == *known))
        .collect();
    if found.is_empty() {
        let message = match engine {
            Some(engine) => format!(
                "no engine `{engine}` runs filters here; there are: {}",
                all.join(", ")
            ),
            None => "this build has no engine that runs filters".into(),
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
