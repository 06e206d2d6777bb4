//! Where the command line keeps compiled code between runs.

use std::env;
use std::path::PathBuf;

use extengine::contract::cache::CodeCache;
use extengine::contract::registry::Registry;
use extengine::contract::say;

/// The variable that names another folder, or none where it is empty.
pub(crate) const VARIABLE: &str = "EXTENGINE_CODE_CACHE";

/// Keeps compiled code in the user's cache folder; without one, or where it cannot be used, code is compiled each time.
pub(crate) fn keep_code() {
    let Some(folder) = folder() else { return };
    match CodeCache::open(folder) {
        Ok(cache) => Registry::global().keep_code_in(cache),
        Err(error) => say!("note: {error}"),
    }
}

fn folder() -> Option<PathBuf> {
    let named = |variable| env::var_os(variable).map(PathBuf::from);
    match named(VARIABLE) {
        Some(folder) if folder.as_os_str().is_empty() => None,
        Some(folder) => Some(folder),
        None => {
            let caches = named("XDG_CACHE_HOME").filter(|folder| folder.is_absolute());
            let caches = caches.or_else(|| Some(named("HOME")?.join(".cache")))?;
            Some(caches.join("extengine"))
        }
    }
}
