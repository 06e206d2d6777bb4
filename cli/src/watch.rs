//! `extengine run --watch`: the files of the packages, looked at again and again, replaced live when they change.

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, SystemTime};

use extengine::Application;
use extengine::contract::engine::{Code, read_code};
use extengine::contract::say;
use extengine::partition::hex;

use crate::check::limits;
use crate::words::report;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_millis(500);

/// A package's file as it was last looked at.
struct Watched {
    package: String,
    file: PathBuf,
    seen: Option<(SystemTime, u64)>,
}

/// Replaces packages whose files change, until the other end of `stop` is gone.
///
/// A file that is not whole yet, or does not fit the manifest, changes nothing but a line on standard error, and is tried
/// again when it changes again.
pub(crate) fn watch(application: &Application, stop: &Receiver<()>) {
    let packages = application.packages().into_iter();
    let files = packages.filter_map(|package| {
        Some(Watched {
            package: package.name,
            file: package.file?,
            seen: None,
        })
    });
    let mut files: Vec<_> = files.collect();
    loop {
        for watched in &mut files {
            watched.look(application);
        }
        if stop.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

impl Watched {
    fn look(&mut self, application: &Application) {
        // A file that is being put in its place may be gone for a moment.
        let Ok(file) = fs::metadata(&self.file) else {
            return;
        };
        let seen = file.modified().ok().map(|time| (time, file.len()));
        if seen == self.seen {
            return;
        }
        self.seen = seen;
        let (package, file) = (&self.package, self.file.display());
        let mut versions = application.packages().into_iter();
        let before = versions.find(|status| status.name == *package);
        match read_code(&self.file, limits(application, package).code_bytes) {
            Ok(code) => match application.replace(package, Code::Bytes(code.into())) {
                Ok(hash) if before.is_some_and(|before| before.hash == hash) => {}
                Ok(hash) => say!(
                    "package `{package}` runs on version {}, from {file}",
                    hex(&hash)
                ),
                Err(error) => say!("{file} changes nothing: {}", report(&error)),
            },
            Err(error) => say!("cannot read {file}: {error}"),
        }
    }
}
