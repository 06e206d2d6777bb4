//! Compiled code that is kept: taken from the cache where it is whole, compiled anew where it is not.

use std::fs;
use std::path::PathBuf;

use engine_core::cache::CodeCache;
use engine_core::engine::{ExtEngine, PackageSource};
use serde_json::json;
use tempfile::TempDir;

use crate::host::TestHost;
use crate::subject::{Instance, Subject};

fn runs(engine: &dyn ExtEngine, source: &PackageSource, cache: &CodeCache) {
    let package = engine.load_cached(source, Some(cache));
    let mut instance = Instance::of(&package.expect("the package loads"));
    instance.call(&TestHost::new(), "Tick", json!({})).ok();
}

fn entry(cache: &CodeCache) -> PathBuf {
    let files = fs::read_dir(cache.folder()).expect("the folder is there");
    let paths = files.map(|file| file.expect("a file").path());
    let mut entries = paths.filter(|path| path.extension().is_some());
    let entry = entries.next().expect("an entry");
    assert!(entries.next().is_none(), "one entry");
    entry
}

#[cfg(unix)]
fn identity(path: &PathBuf) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).expect("a file").ino()
}

/// The second load takes what the first one kept, on the same engine and on another one.
pub fn compiled_code_is_taken_from_the_cache(subject: &Subject) {
    let folder = TempDir::new().expect("a folder");
    let cache = CodeCache::open(folder.path().join("code")).expect("a cache");
    let setup = subject.package();
    let (engine, source) = (setup.engine(), setup.clone().source());
    runs(&*engine, &source, &cache);
    let kept = identity(&entry(&cache));
    runs(&*engine, &source, &cache);
    runs(&*setup.engine(), &source, &cache);
    assert_eq!(identity(&entry(&cache)), kept, "nothing was written again");
}

/// A damaged entry is compiled anew and replaced by a whole one.
pub fn a_damaged_entry_is_compiled_anew(subject: &Subject) {
    let folder = TempDir::new().expect("a folder");
    let cache = CodeCache::open(folder.path().join("code")).expect("a cache");
    let setup = subject.package();
    let (engine, source) = (setup.engine(), setup.clone().source());
    runs(&*engine, &source, &cache);
    let whole = fs::read(entry(&cache)).expect("an entry");
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    fs::write(entry(&cache), damaged).expect("written");
    runs(&*engine, &source, &cache);
    let mended = fs::read(entry(&cache)).expect("an entry");
    assert_eq!(mended.len(), whole.len());
    let kept = identity(&entry(&cache));
    runs(&*engine, &source, &cache);
    assert_eq!(identity(&entry(&cache)), kept, "the new entry is used");
}
