//! The tables `[extensions.*]`.

use std::ops::Range;

use engine_core::catalog::{Catalog, StorageId};
use engine_core::foreign::ForeignId;
use engine_core::manifest::{ExtensionDecl, ExtensionKind, Verb, Verbs};
use engine_core::schema::{Schema, Type};

use super::near::instead;
use super::section::{Section, Text, check_name};
use super::storage::{PARTITION, is_system};
use super::{ExtensionSpec, PackageSpec, Schedule};

/// An extension as it was read, with the places that the rules between extensions need.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) name: Text<'a>,
    /// `None` where it is a problem already, as in `args` and `package`.
    pub(super) kind: Option<ExtensionKind>,
    pub(super) access: Vec<Access>,
    pub(super) on: Vec<Text<'a>>,
    pub(super) asynchronous: bool,
    from_oldest: bool,
    pub(super) has_route: bool,
    foreign: Vec<ForeignId>,
    args: Option<Schema>,
    result: Schema,
    route: Option<usize>,
    package: Option<usize>,
    schedule: Option<Schedule>,
}

/// What an extension may do with one storage.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) storage: StorageId,
    pub(super) verbs: Verbs,
    pub(super) span: Range<usize>,
}

/// Reads every extension.
pub(super) fn read<'a>(
    root: &Section<'a>,
    catalog: &Catalog,
    packages: &[PackageSpec],
) -> Vec<Draft<'a>> {
    let extensions = root.sections("extensions").into_iter();
    extensions
        .map(|(name, section)| extension(name, &section, catalog, packages))
        .collect()
}

fn extension<'a>(
    name: Text<'a>,
    section: &Section<'a>,
    catalog: &Catalog,
    packages: &[PackageSpec],
) -> Draft<'a> {
    check_name(section, "an extension", &name, "");
    section.require("kind", "\"command\"");
    let kinds = ExtensionKind::ALL.map(|kind| (kind.name(), kind));
    let kind = section.choice("kind", &kinds);
    let args = if section.has("args") {
        section.schema("args")
    } else {
        Some(Schema::default())
    };
    let mode = section.choice("mode", &[("sync", false), ("async", true)]);
    let from = section.choice("from", &[("first", false), ("oldest", true)]);
    let draft = Draft {
        kind,
        access: access(section, catalog, kind),
        on: section.texts("on"),
        asynchronous: kind == Some(ExtensionKind::Projector) && mode == Some(true),
        from_oldest: from == Some(true),
        has_route: section.has("route"),
        foreign: foreign(section, catalog),
        result: section.schema("result").unwrap_or_default(),
        route: args.as_ref().and_then(|args| route(section, args)),
        args,
        package: package(section, packages),
        schedule: schedule(section),
        name,
    };
    if let Some(kind) = kind {
        check_kind(section, kind);
        if !draft.asynchronous {
            section.refuse("from", "for asynchronous projectors only");
        }
        if kind == ExtensionKind::Query && draft.result.position(PARTITION).is_some() {
            let why = "an answer is shown with its partition under this name: choose another";
            let span = section.span_of("result").unwrap_or(section.span());
            section.problem(span, format!("field `{PARTITION}`: {why}"));
        }
        if kind == ExtensionKind::Job {
            check_job(section, draft.args.as_ref());
        }
    }
    section.end();
    draft
}

/// Checks that the keys are those of the kind.
fn check_kind(section: &Section<'_>, kind: ExtensionKind) {
    use ExtensionKind::{Command, Job, Projector, Query, Validator};
    if matches!(kind, Validator | Projector) {
        let why = format!("not for a {kind}, which reads its command from `sys.event`");
        section.refuse("args", &why);
        let why = format!("not for a {kind}, which gives none");
        section.refuse("result", &why);
        section.require("on", "[\"<a command>\"]");
    } else {
        section.refuse("on", "for validators and projectors only");
    }
    if kind != Projector {
        section.refuse("mode", "for projectors only");
    }
    if kind != Job {
        section.refuse("every", "for jobs only");
        section.refuse("cron", "for jobs only");
    }
    if !matches!(kind, Command | Query) {
        section.refuse("route", "for commands and queries only");
    }
}

/// Reads when a job runs.
fn schedule(section: &Section<'_>) -> Option<Schedule> {
    let read = |key, read: fn(&str) -> Result<Schedule, String>| {
        let text = section.text(key)?;
        let report = |what: &String| section.problem(text.span(), format!("`{key}` {what}"));
        read(text.get_ref()).inspect_err(report).ok()
    };
    let every = read("every", Schedule::every);
    every.or(read("cron", Schedule::cron))
}

/// Checks that a job runs by one schedule, and takes no more than the time that it is due for.
fn check_job(section: &Section<'_>, args: Option<&Schema>) {
    if section.has("every") {
        section.refuse("cron", "one schedule more than `every`");
    } else if !section.has("cron") {
        section.require("every", "\"10s\"` or `cron = \"*/5 * * * *\"");
    }
    let fits = |args: &Schema| match args.fields() {
        [] => true,
        [due] => due.ty == Type::Int,
        _ => false,
    };
    if !args.is_none_or(fits) {
        let message = "a job is given nothing but the time that it is due for: write `args = \"due: int\"`, or remove it";
        section.problem(section.span_of("args").unwrap_or(section.span()), message);
    }
}

/// Reads which storages the extension may touch, and how.
fn access(section: &Section<'_>, catalog: &Catalog, kind: Option<ExtensionKind>) -> Vec<Access> {
    let Some(section) = section.section("access") else {
        return Vec::new();
    };
    let storages: Vec<_> = catalog
        .storages()
        .filter(|(id, _)| !id.is_system())
        .collect();
    let mut access = Vec::new();
    for (name, value) in section.entries() {
        if is_system(name.get_ref()) {
            let why = "the host's own storages (`sys.*`) are open without being named: remove it";
            section.problem(name.span(), why);
            continue;
        }
        let verbs = verbs(&section, &name, section.texts_of(name.get_ref(), value));
        if let Some(kind) = kind.filter(|kind| verbs.writes() && !kind.may_write()) {
            let message = format!(
                "a {kind} may not write: leave only `read` for `{}`",
                name.get_ref()
            );
            section.problem(value.span(), message);
        }
        match catalog.id(name.get_ref()) {
            Some(storage) => access.push(Access {
                storage,
                verbs,
                span: name.span(),
            }),
            None => {
                let names = storages.iter().map(|(_, storage)| &*storage.name);
                let message = format!(
                    "`{}` is no storage: {}",
                    name.get_ref(),
                    instead(name.get_ref(), names)
                );
                section.problem(name.span(), message);
            }
        }
    }
    access
}

/// Reads which foreign functions the extension may call.
fn foreign(section: &Section<'_>, catalog: &Catalog) -> Vec<ForeignId> {
    let functions = catalog.foreign();
    let known = |name: &Text<'_>| {
        let id = functions.id(name.get_ref());
        if id.is_none() {
            let message = format!(
                "`{}` is no foreign function of this program: {}",
                name.get_ref(),
                instead(name.get_ref(), functions.names())
            );
            section.problem(name.span(), message);
        }
        id
    };
    section.texts("foreign").iter().filter_map(known).collect()
}

fn verbs(section: &Section<'_>, storage: &Text<'_>, words: Vec<Text<'_>>) -> Verbs {
    let verbs = words.iter().filter_map(|word| {
        let verb = Verb::ALL
            .into_iter()
            .find(|verb| verb.name() == *word.get_ref());
        if verb.is_none() {
            let message = format!(
                "`{}` is nothing to do with `{}`: {}",
                word.get_ref(),
                storage.get_ref(),
                instead(word.get_ref(), Verb::ALL.map(Verb::name))
            );
            section.problem(word.span(), message);
        }
        verb
    });
    verbs.collect()
}

/// Reads which argument chooses the partition.
fn route(section: &Section<'_>, args: &Schema) -> Option<usize> {
    let name = section.text("route")?;
    let position = args.position(name.get_ref());
    let Some(field) = position.map(|position| &args.fields()[position]) else {
        let names = args.fields().iter().map(|field| &*field.name);
        let message = format!(
            "`route` names `{}`, which is no field of `args`: {}",
            name.get_ref(),
            instead(name.get_ref(), names)
        );
        section.problem(name.span(), message);
        return None;
    };
    if !field.ty.is_scalar() {
        let message = format!(
            "`route` names `{}`, which is of type `{}`: name a field of type bool, int, float, text or bytes",
            field.name, field.ty
        );
        section.problem(name.span(), message);
    }
    position
}

/// Reads which package has the extension's code: the only one, where none is named.
fn package(section: &Section<'_>, packages: &[PackageSpec]) -> Option<usize> {
    if !section.has("package") {
        if packages.len() > 1 {
            let message = "there is more than one package: add `package = \"...\"`";
            section.problem(section.span(), message);
        }
        return (packages.len() == 1).then_some(0);
    }
    let name = section.text("package")?;
    let names = packages.iter().map(|package| package.name.as_str());
    let position = names.clone().position(|other| other == *name.get_ref());
    if position.is_none() {
        let message = format!(
            "`{}` is no package: {}",
            name.get_ref(),
            instead(name.get_ref(), names)
        );
        section.problem(name.span(), message);
    }
    position
}

impl Draft<'_> {
    /// The extension, where nothing about it is a problem; it becomes the next of its package.
    pub(super) fn into_spec(
        self,
        catalog: &Catalog,
        packages: &[PackageSpec],
    ) -> Option<ExtensionSpec> {
        let access = self.access.iter().map(|a| (a.storage, a.verbs));
        let package = self.package?;
        Some(ExtensionSpec {
            decl: ExtensionDecl::new(
                self.name.get_ref(),
                self.kind?,
                self.args?,
                self.result,
                catalog,
                access,
            )
            .calling(self.foreign),
            package,
            number: packages.get(package)?.extensions.len(),
            route: self.route,
            on: self
                .on
                .iter()
                .map(|name| (*name.get_ref()).to_owned())
                .collect(),
            asynchronous: self.asynchronous,
            from_oldest: self.from_oldest,
            schedule: self.schedule,
        })
    }
}
