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
    /// Locked while a package is compiled, so that two partitions do not compile it twice.
    packages: DashMap<(String, PackageHash), Arc<Mutex<Vec<Loaded>>>>,
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
        let package = self.load(engine, source);
        self.forget_unused();
        package
    }

    fn load(&self, engine: &str, source: &PackageSource) -> Result<Arc<dyn ExtensionPackage>> {
        factory(engine)?.check_limits(&source.manifest)?;
        let backend = self.engine(engine, EngineLimits::from(&source.manifest.limits))?;
        let key = (engine.to_owned(), hash(&source.code));
        let loaded = self.packages.entry(key).or_default().clone();
        let mut loaded = loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(Loaded::is_used);
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

    /// Forgets what nobody uses any more. A list that is looked at elsewhere stays, for nobody waits for a compiler here.
    fn forget_unused(&self) {
        self.engines.retain(|_, engine| engine.strong_count() > 0);
        self.packages
            .retain(|_, loaded| match Arc::get_mut(loaded) {
                Some(loaded) => {
                    let loaded = loaded.get_mut().unwrap_or_else(PoisonError::into_inner);
                    loaded.iter().any(Loaded::is_used)
                }
                None => true,
            });
    }
}

impl Loaded {
    fn is_used(&self) -> bool {
        self.package.strong_count() > 0
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::engine::CodeReport;
    use crate::error::{Error, ErrorKind};
    use crate::factory::{EngineKind, ExtEngineFactory, Registration};
    use crate::limits::{Capabilities, Limits};
    use crate::manifest::Policy;

    /// Makes engines that load nothing.
    #[derive(Debug)]
    struct Refusing;

    inventory::submit!(Registration(&Refusing));

    impl ExtEngineFactory for Refusing {
        fn kind(&self) -> EngineKind {
            EngineKind::Builtin
        }

        fn name(&self) -> &'static str {
            "refusing"
        }

        fn version(&self) -> &'static str {
            "1"
        }

        fn capabilities(&self) -> Capabilities {
            Capabilities::ALL_KEPT
        }

        fn create(&self, _: &EngineLimits) -> Result<Arc<dyn ExtEngine>> {
            Ok(Arc::new(Self))
        }
    }

    impl ExtEngine for Refusing {
        fn name(&self) -> &'static str {
            "refusing"
        }

        fn load_cached(
            &self,
            _: &PackageSource,
            _: Option<&CodeCache>,
        ) -> Result<Arc<dyn ExtensionPackage>> {
            Err(Error::new(ErrorKind::Package, "refused"))
        }

        fn inspect(&self, _: &Code) -> Result<CodeReport> {
            Ok(CodeReport::default())
        }
    }

    #[test]
    fn a_package_that_does_not_load_leaves_nothing_behind() {
        let registry = Registry::default();
        let source = PackageSource {
            manifest: Arc::new(PackageManifest {
                name: "refused".into(),
                catalog: Arc::new(Catalog::default()),
                extensions: Vec::new(),
                limits: Limits::default(),
                policy: Policy::Keep,
                waived: Vec::new(),
            }),
            code: Code::Native("refused".into()),
        };
        let refused = registry.package("refusing", &source).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Package);
        assert!(registry.packages.is_empty() && registry.engines.is_empty());
    }

    #[test]
    fn only_engines_in_use_are_kept() {
        let registry = Registry::default();
        let [used, unused] = [1, 2].map(|stack| {
            let limits = Limits {
                stack,
                ..Limits::default()
            };
            registry.engine("refusing", EngineLimits::from(&limits))
        });
        drop(unused);
        registry.forget_unused();
        assert_eq!(registry.engines.len(), 1);
        drop(used);
    }

    #[test]
    fn only_lists_that_somebody_looks_at_outlive_their_packages() {
        let registry = Registry::default();
        for name in ["gone", "looked at"] {
            let key = (name.to_owned(), [0; 16]);
            registry.packages.insert(key, Arc::default());
        }
        let looked_at = registry.packages.get(&("looked at".to_owned(), [0; 16]));
        let looked_at = looked_at.map(|list| Arc::clone(&list));
        registry.forget_unused();
        let left: Vec<_> = registry
            .packages
            .iter()
            .map(|l| l.key().0.clone())
            .collect();
        assert_eq!(left, ["looked at"]);
        drop(looked_at);
        registry.forget_unused();
        assert!(registry.packages.is_empty());
    }
}
