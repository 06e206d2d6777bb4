//! Manifests that are good, and every way in which one can be wrong.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod arbitrary;
mod flights;
mod good;
mod wrong;

use std::path::Path;
use std::sync::Arc;

use engine_core::engine::ExtEngine;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::{EngineKind, EngineLimits, ExtEngineFactory, Registration};
use engine_core::limits::Capabilities;

/// An engine that exists for its name and kind only.
#[derive(Debug)]
struct Named(&'static str, EngineKind);

impl ExtEngineFactory for Named {
    fn kind(&self) -> EngineKind {
        self.1
    }

    fn name(&self) -> &'static str {
        self.0
    }

    fn version(&self) -> &'static str {
        "0"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL_KEPT
    }

    fn create(&self, _: &EngineLimits) -> Result<Arc<dyn ExtEngine>> {
        Err(Error::new(ErrorKind::Internal, "no such engine"))
    }
}

inventory::submit!(Registration(&Named("rapid", EngineKind::Wasm)));
inventory::submit!(Registration(&Named("compact", EngineKind::Lua)));

/// A folder with empty files of these names.
fn folder(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        std::fs::write(folder.path().join(file), b"").unwrap();
    }
    folder
}

/// The problems of a manifest in a folder without files: line and message of each.
fn problems(text: &str) -> Vec<(usize, String)> {
    problems_in(text, Path::new("no-such-folder"))
}

fn problems_in(text: &str, folder: &Path) -> Vec<(usize, String)> {
    let Err(error) = partition::manifest::AppSpec::parse(text, folder) else {
        return Vec::new();
    };
    assert_eq!(error.kind(), ErrorKind::Manifest);
    let lines = error.message().lines().map(|line| {
        let mut parts = line.splitn(4, ':');
        assert_eq!(parts.next(), Some("app.toml"), "{line}");
        let number = parts.next().unwrap().parse().unwrap();
        let column: usize = parts.next().unwrap().parse().unwrap();
        assert!(column > 0);
        (number, parts.next().unwrap().trim().to_owned())
    });
    lines.collect()
}
