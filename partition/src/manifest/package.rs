//! The tables `[packages.*]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use engine_core::factory::{EngineKind, ExtEngineFactory, factories};
use engine_core::limits::{Limit, Limits};
use engine_core::manifest::Policy;

use super::near::{instead, nearest};
use super::number::numbers;
use super::section::{Section, Text, check_name};
use super::{PackageSpec, Rollback};

/// Reads every package; `engine` is the application's default.
pub(super) fn read(
    root: &Section<'_>,
    folder: &Path,
    engine: Option<&Text<'_>>,
) -> Vec<PackageSpec> {
    let packages = root.sections("packages");
    let value = root.value("packages");
    if packages.is_empty() && value.is_none_or(|value| value.get_ref().is_table()) {
        let message = "the manifest has no package: add `[packages.<name>]` with its code";
        root.problem(root.span(), message);
    }
    let packages = packages.iter();
    packages
        .map(|(name, section)| package(name, section, folder, engine))
        .collect()
}

fn package(
    name: &Text<'_>,
    section: &Section<'_>,
    folder: &Path,
    default_engine: Option<&Text<'_>>,
) -> PackageSpec {
    check_name(section, "a package", name, "-");
    let own_engine = section.text("engine");
    let factory = own_engine.as_ref().and_then(|e| known_engine(section, e));
    let wasm = file(section, "wasm", folder);
    let lua = file(section, "lua", folder);
    let builtin = section.text("builtin").map(|t| t.into_inner().to_owned());
    let kinds = [EngineKind::Wasm, EngineKind::Lua, EngineKind::Builtin];
    if !kinds.iter().any(|kind| section.has(kind.name())) {
        let message = format!(
            "package `{}` has no code: add `wasm`, `lua` or `builtin`",
            name.get_ref()
        );
        section.problem(name.span(), message);
    } else if let Some(factory) = factory.or_else(|| find(default_engine?.get_ref())) {
        let kind = factory.kind();
        if !section.has(kind.name()) {
            let engine = factory.name();
            let message = format!(
                "engine `{engine}` runs {kind} code and package `{}` has none: add `{kind} = \"...\"` or name another `engine`",
                name.get_ref()
            );
            let span = section.span_of("engine").unwrap_or(name.span());
            section.problem(span, message);
        }
    }
    let policies = [("keep", Policy::Keep), ("fresh", Policy::Fresh)];
    let policy = section.choice("policy", &policies).unwrap_or_default();
    let limits = section.section("limits");
    let limits = limits.map(|limits| numbers::<Limits>(&limits, |_| u64::MAX));
    let waive = section.section("waive");
    let waive = waive.map(|waive| waivers(&waive));
    let rollback = section.section("rollback");
    let rollback = rollback.map(|rollback| self::rollback(&rollback));
    section.end();
    PackageSpec {
        name: (*name.get_ref()).to_owned(),
        engine: own_engine
            .as_ref()
            .or(default_engine)
            .map(|engine| (*engine.get_ref()).to_owned()),
        wasm,
        lua,
        builtin,
        policy,
        limits: limits.unwrap_or_default(),
        waive: waive.unwrap_or_default(),
        rollback,
        extensions: Vec::new(),
    }
}

/// Reads when a version is taken back.
fn rollback(section: &Section<'_>) -> Rollback {
    let rollback: Rollback = numbers(section, |_| 1 << 20);
    if rollback.failures > rollback.of {
        let message = format!(
            "{} failures of {} invocations never come: make `failures` at most `of`",
            rollback.failures, rollback.of
        );
        section.problem(
            section.span_of("failures").unwrap_or(section.span()),
            message,
        );
    }
    rollback
}

/// Reads which limits are waived on which engines.
fn waivers(section: &Section<'_>) -> BTreeMap<String, Vec<Limit>> {
    let mut waivers = BTreeMap::new();
    for (engine, value) in section.entries() {
        known_engine(section, &engine);
        let texts = section.texts_of(engine.get_ref(), value);
        let limits = texts.iter().filter_map(|text| {
            let limit = Limit::from_name(text.get_ref());
            if limit.is_none() {
                let names = instead(text.get_ref(), Limit::ALL.map(Limit::name));
                let message = format!("`{}` is no limit: {names}", text.get_ref());
                section.problem(text.span(), message);
            }
            limit
        });
        waivers.insert((*engine.get_ref()).to_owned(), limits.collect());
    }
    waivers
}

/// The factory of an engine, where this build has it.
///
/// An engine of another build is no problem here, since the command line can choose one that this build has;
/// a name that is nearly one of this build's engines is.
pub(super) fn known_engine(
    section: &Section<'_>,
    engine: &Text<'_>,
) -> Option<&'static dyn ExtEngineFactory> {
    let name = *engine.get_ref();
    let found = find(name);
    if found.is_none() {
        let near = nearest(name, factories().iter().map(|factory| factory.name()));
        if let Some(near) = near {
            let message = format!("`{name}` is no engine: did you mean `{near}`?");
            section.problem(engine.span(), message);
        }
    }
    found
}

fn find(engine: &str) -> Option<&'static dyn ExtEngineFactory> {
    let mut factories = factories().into_iter();
    factories.find(|factory| factory.name() == engine)
}

/// Reads the name of a file, which must be there.
pub(super) fn file(section: &Section<'_>, key: &'static str, folder: &Path) -> Option<PathBuf> {
    let text = section.text(key)?;
    let path = folder.join(text.get_ref());
    if !path.is_file() {
        let message = format!(
            "`{key}`: there is no file `{}`: make it, or correct the name",
            path.display()
        );
        section.problem(text.span(), message);
    }
    Some(path)
}
