//! Which driver keeps an application's rows, and where its files are.

use std::path::{Path, PathBuf};

use engine_core::catalog::Catalog;
use engine_core::error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::{MemoryStore, StateStore};
use crate::platform::Platform;

/// The driver that keeps an application's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// In memory, in order; a checkpoint has all of them.
    #[default]
    Memory,
    /// In files, for states larger than memory; with the feature `disk`.
    Disk,
}

impl StoreKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Memory, Self::Disk];

    /// The kind's name in manifests and data folders.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
        }
    }

    /// Whether this build has the driver.
    pub const fn is_built(self) -> bool {
        match self {
            Self::Memory => true,
            Self::Disk => cfg!(feature = "disk"),
        }
    }

    /// What to do where this build does not have the driver.
    pub(crate) fn advice(self) -> String {
        format!(
            "this build has no store `{0}`: build it with the feature `{0}`",
            self.name()
        )
    }
}

/// A place where a store is, or can be made.
#[derive(Clone, Debug)]
pub(crate) struct StorePlace<'a> {
    pub(crate) kind: StoreKind,
    pub(crate) platform: &'a dyn Platform,
    /// The store's own folder; a store in memory has none.
    pub(crate) folder: PathBuf,
    /// Bytes that a store on disk may use.
    #[cfg_attr(
        not(feature = "disk"),
        expect(dead_code, reason = "for a store on disk")
    )]
    pub(crate) memory: u64,
}

impl<'a> StorePlace<'a> {
    /// Opens the store, or makes one without rows.
    ///
    /// # Errors
    /// `manifest` where this build does not have the driver; `corrupt`, `busy` and `io` of a store on disk.
    pub(crate) fn open(&self, catalog: &Catalog) -> Result<Box<dyn StateStore>> {
        match self.kind {
            StoreKind::Memory => Ok(Box::new(MemoryStore::new(catalog.len()))),
            #[cfg(feature = "disk")]
            StoreKind::Disk => {
                let names = catalog.storages().map(|(_, storage)| &*storage.name);
                let (folder, memory) = (&self.folder, self.memory);
                let store = super::DiskStore::open(self.platform, folder, names, memory)?;
                Ok(Box::new(store))
            }
            #[cfg(not(feature = "disk"))]
            StoreKind::Disk => Err(Error::new(ErrorKind::Manifest, self.kind.advice())),
        }
    }

    /// Checks every byte of a store's files, which nobody has open, if it has any.
    ///
    /// # Errors
    /// `corrupt`, `io`.
    pub(crate) fn check(&self) -> Result<()> {
        match self.kind {
            #[cfg(feature = "disk")]
            StoreKind::Disk => super::disk::check(&self.folder),
            _ => Ok(()),
        }
    }

    /// Removes the store.
    ///
    /// # Errors
    /// `io`.
    pub(crate) fn remove(&self) -> Result<()> {
        if self.kind == StoreKind::Memory {
            return Ok(());
        }
        let folder: &Path = &self.folder;
        match std::fs::remove_dir_all(folder) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(Error::new(
                ErrorKind::Io,
                format!("cannot remove {}: {source}", folder.display()),
            )
            .with_source(source)),
            _ => Ok(()),
        }
    }

    /// A place for rows that are of use only for a while, in the folder of the same partition.
    ///
    /// # Errors
    /// `io`.
    pub(crate) fn scratch(&self, name: &str) -> Result<Scratch<'a>> {
        let scratch = Scratch(Self {
            folder: self.folder.with_file_name(name),
            ..self.clone()
        });
        // A process that was killed has left its own behind.
        scratch.0.remove()?;
        Ok(scratch)
    }

    /// The same as [`StorePlace::scratch`], with the rows of this place, which stays as it is.
    ///
    /// # Errors
    /// `io`.
    pub(crate) fn copy(&self, name: &str) -> Result<Scratch<'a>> {
        let scratch = self.scratch(name)?;
        #[cfg(feature = "disk")]
        if self.kind == StoreKind::Disk {
            super::disk::link(&self.folder, &scratch.0.folder)?;
        }
        Ok(scratch)
    }
}

/// A place that is removed with everything in it when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch<'a>(pub(crate) StorePlace<'a>);

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        // What is left is removed before the next use.
        drop(self.0.remove());
    }
}
