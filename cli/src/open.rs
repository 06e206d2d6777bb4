//! Opening applications as the command line names them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use extengine::partition::FolderFacts;
use extengine::partition::application::os_platform;
use extengine::partition::program::Program;
use extengine::{AppSpec, Application, Error, ErrorKind, Options, Result};
use serde_json::Value as Json;

use crate::args::App;

/// The data folder that a command uses.
pub(crate) fn data_folder(app: &App, spec: &AppSpec) -> PathBuf {
    match &app.data {
        Some(data) => data.clone(),
        None => Path::new(".extengine").join(&spec.name),
    }
}

/// Opens an application with its data folder, which is made if it is missing, and runs its jobs if asked to.
pub(crate) fn open(
    app: &App,
    partitions: Option<u32>,
    jobs: bool,
) -> Result<(Application, PathBuf)> {
    let spec = AppSpec::load(&app.app)?;
    let data = data_folder(app, &spec);
    // A folder keeps its number of partitions; only saying another one is a mistake.
    let kept = FolderFacts::read(&*os_platform()?, &data)?.map(|facts| facts.partitions);
    let options = Options {
        engine: app.engine.clone(),
        partitions: partitions.or(kept),
        data: Some(data.clone()),
        jobs,
        ..Options::default()
    };
    Ok((Application::open(spec, options)?, data))
}

/// Opens an application with a data folder that is there, to look at it: its jobs do not run.
pub(crate) fn open_existing(app: &App) -> Result<Application> {
    let data = existing(app)?.1;
    let app = App {
        app: app.app.clone(),
        data: Some(data),
        engine: app.engine.clone(),
    };
    Ok(open(&app, None, false)?.0)
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

/// Reads arguments that were given as JSON.
pub(crate) fn json(text: &str, what: &str) -> Result<Json> {
    serde_json::from_str(text).map_err(|source| {
        Error::new(
            ErrorKind::BadArgs,
            format!("{what} is no JSON: {source}: {text}"),
        )
    })
}
