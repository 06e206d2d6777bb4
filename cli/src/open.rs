//! Opening applications as the command line names them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use extengine::contract::catalog::StorageId;
use extengine::contract::say;
use extengine::partition::FolderFacts;
use extengine::partition::application::{FailedProjector, os_platform};
use extengine::partition::program::Program;
use extengine::{AppSpec, Application, Error, ErrorKind, Options, Result};
use serde::Deserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::{Map, Value as Json};

use crate::args::App;
use crate::input::said;
use crate::words::one_line;

/// The data folder that a command uses.
pub(crate) fn data_folder(app: &App, spec: &AppSpec) -> PathBuf {
    match &app.data {
        Some(data) => data.clone(),
        None => Path::new(".extengine").join(&spec.name),
    }
}

/// Opens an application with a data folder, which is made if it is missing, and runs its jobs if asked to.
pub(crate) fn open(
    app: &App,
    spec: AppSpec,
    data: &Path,
    partitions: Option<u32>,
    jobs: bool,
) -> Result<Application> {
    // A folder keeps its number of partitions; only saying another one is a mistake.
    let kept = FolderFacts::read(&*os_platform()?, data)?.map(|facts| facts.partitions);
    let options = Options {
        engine: app.engine.clone(),
        partitions: partitions.or(kept),
        data: Some(data.to_owned()),
        jobs,
        ..Options::default()
    };
    Application::open(spec, options)
}

/// Opens an application with a data folder that is there, to look at it: its jobs do not run.
pub(crate) fn open_existing(app: &App) -> Result<Application> {
    let (spec, data) = existing(app)?;
    open(app, spec, &data, None, false)
}

/// Waits for the asynchronous projectors. What has failed is said, with what it keeps behind, and given.
pub(crate) fn settle(application: &Application) -> Result<Vec<FailedProjector>> {
    let settled = application.settle();
    let failed = application.failed_projectors();
    if failed.is_empty() {
        settled?;
    }
    let spec = application.spec();
    for FailedProjector {
        partition,
        projector,
        error,
    } in &failed
    {
        let storages = written(spec, projector);
        let storages = storages.map(|id| format!("`{}`", spec.catalog.storage(id).name));
        say!(
            "partition {partition}: the rows of {} stay behind, since asynchronous projector `{projector}` failed: {}",
            storages.collect::<Vec<_>>().join(", "),
            one_line(error)
        );
    }
    Ok(failed)
}

/// The storages that an extension writes.
pub(crate) fn written<'a>(
    spec: &'a AppSpec,
    extension: &str,
) -> impl Iterator<Item = StorageId> + 'a {
    let decl = spec.extension(extension).map(|n| &spec.extensions[n].decl);
    let stored = spec.catalog.storages().map(|(id, _)| id);
    stored.filter(move |&id| !id.is_system() && decl.is_some_and(|decl| decl.verbs(id).writes()))
}

/// The manifest and the data folder of an application that has run.
pub(crate) fn existing(app: &App) -> Result<(AppSpec, PathBuf)> {
    let mut spec = AppSpec::load(&app.app)?;
    let data = data_folder(app, &spec);
    match FolderFacts::read(&*os_platform()?, &data)? {
        Some(facts) => {
            spec.partitions = facts.partitions;
            Ok((spec, data))
        }
        None => Err(Error::new(
            ErrorKind::Unknown,
            format!(
                "there is no data folder {}; `extengine run {}` makes it, or name another with --data",
                data.display(),
                app.app.display()
            ),
        )),
    }
}

/// Loads the packages of an application without its data.
pub(crate) fn load(app: &Path, engine: Option<&str>) -> Result<Arc<Program>> {
    Ok(Arc::new(Program::load(AppSpec::load(app)?, engine)?))
}

/// Reads arguments or a row that were given as JSON.
pub(crate) fn json(text: &str, what: &str) -> Result<Json> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = args(&mut reader).and_then(|json| reader.end().map(|()| json));
    read.map_err(|source| {
        let message = format!("{what} cannot be read: {}: {text}", said(&source));
        Error::new(ErrorKind::BadArgs, message)
    })
}

/// Reads arguments, each of which stands once: of two that say different things neither is the one that was meant.
pub(crate) fn args<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
    struct Args;
    impl<'de> Visitor<'de> for Args {
        type Value = Json;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Json, A::Error> {
            let mut args = Map::new();
            while let Some((name, value)) = fields.next_entry::<String, Json>()? {
                if args.contains_key(&name) {
                    return Err(A::Error::custom(format!("`{name}` stands twice")));
                }
                args.insert(name, value);
            }
            Ok(Json::Object(args))
        }
    }
    deserializer.deserialize_map(Args)
}
