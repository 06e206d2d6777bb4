//! The process-wide registry that shares engines and compiled packages.

use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use dashmap::DashMap;

use crate::cache::CodeCache;
use crate::engine::{Code, ExtEngine, ExtensionPackage, PackageSource};
use crate::error::Result;
use crate::factory::{EngineLimits, factory};
use crate::manifest::PackageManifest;

/// A package's identity: the head of the BLAKE3 hash of its code.
pub type PackageHash = [u8; 16];

/// Engines and packages that are in use anywhere in the process.
///
/// An engine is shared by all packages that agree on its limits, a package by all that load the same code under
/// the same manifest. What nobody uses any more is freed.
#[derive(Debug, Default)]
pub struct Registry {
    engines: DashMap<(String, EngineLimits), Weak<dyn ExtEngine>>,
    packages: DashMap<(String, PackageHash), Vec<Loaded>>,
    cache: Mutex<Option<Arc<CodeCache>>>,
}

#[derive(Debug)]
struct Loaded {
    manifest: Arc<PackageManifest>,
    package: Weak<dyn ExtensionPackage>,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::default);

impl Registry {
    /// The registry of this process.
    pub fn global() -> &'static Self {
        &REGISTRY
    }

    /// Keeps the compiled code of packages that are loaded from now on, for this process and later ones.
    pub fn keep_code_in(&self, cache: CodeCache) {
        let mut kept = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Some(Arc::new(cache));
    }

    /// Where compiled code is kept, if anywhere.
    pub fn cache(&self) -> Option<Arc<CodeCache>> {
        let kept = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clone()
    }

    /// The engine of this name for these limits.
    ///
    /// # Errors
    /// `unknown` where it is not compiled in, and those of its factory.
    pub fn engine(&self, name: &str, limits: EngineLimits) -> Result<Arc<dyn ExtEngine>> {
        // The entry stays locked while the engine is made, so that two threads do not make it twice.
        let mut entry = match self.engines.entry((name.to_owned(), limits)) {
            dashmap::Entry::Occupied(entry) => {
                if let Some(engine) = entry.get().upgrade() {
                    return Ok(engine);
                }
                entry
            }
            dashmap::Entry::Vacant(entry) => {
                let engine = factory(name)?.create(&limits)?;
                entry.insert(Arc::downgrade(&engine));
                return Ok(engine);
            }
        };
        let engine = factory(name)?.create(&limits)?;
        entry.insert(Arc::downgrade(&engine));
        Ok(engine)
    }

    /// The package of this source, compiled on the engine of this name.
    ///
    /// # Errors
    /// `not_kept`, `package` and limits, as [`ExtEngine::load`].
    pub fn package(
        &self,
        engine: &str,
        source: &PackageSource,
    ) -> Result<Arc<dyn ExtensionPackage>> {
        factory(engine)?.check_limits(&source.manifest)?;
        let backend = self.engine(engine, EngineLimits::from(&source.manifest.limits))?;
        let mut loaded = self
            .packages
            .entry((engine.to_owned(), hash(&source.code)))
            .or_default();
        loaded.retain(|loaded| loaded.package.strong_count() > 0);
        let same = loaded.iter().find(|l| l.manifest == source.manifest);
        if let Some(package) = same.and_then(|loaded| loaded.package.upgrade()) {
            return Ok(package);
        }
        let package = backend.load_cached(source, self.cache().as_deref())?;
        loaded.push(Loaded {
            manifest: source.manifest.clone(),
            package: Arc::downgrade(&package),
        });
        Ok(package)
    }
}

/// The identity of code.
pub fn hash(code: &Code) -> PackageHash {
    let mut hasher = blake3::Hasher::new();
    match code {
        Code::Bytes(bytes) => hasher.update(bytes),
        Code::Native(name) => hasher.update(b"native:").update(name.as_bytes()),
    };
    let mut hash = [0; 16];
    hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    hash
}
