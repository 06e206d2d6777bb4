//! The files of a tree beside what the tree itself does with them, and what its failures mean.

use std::path::{Path, PathBuf};

use engine_core::error::{Error, ErrorKind, Result};

use crate::folder::io;

/// The folder of the tree's tables, in the tree's folder.
const TABLES: &str = "tables";

/// The folder of the tree, in the store's.
pub(super) fn tree_folder(folder: &Path) -> PathBuf {
    folder.join("tree")
}

/// Checks the file that says which tables the tree has, before the tree removes all others: it reads this one file
/// without its checksum, which stands in `current` as `{u64 number, u128 XXH3, u8 0}`, little-endian.
pub(super) fn check_tables(folder: &Path, tree: &Path) -> Result<()> {
    let read =
        |name: &str| std::fs::read(tree.join(name)).map_err(|error| failure(folder, error.into()));
    let current = read("current")?;
    let Some((number, rest)) = current.split_first_chunk::<8>() else {
        return Err(damaged(folder, "`current` is cut"));
    };
    let tables = read(&format!("v{}", u64::from_le_bytes(*number)))?;
    let checksum = xxhash_rust::xxh3::xxh3_128(&tables).to_le_bytes();
    match rest.split_first_chunk() {
        Some((expected, [0])) if *expected == checksum => Ok(()),
        _ => Err(damaged(folder, "its list of tables has another checksum")),
    }
}

/// Makes `to` the folder of a store with the rows of the one in `from`, which stays as it is: the tables, which never
/// change, have one more name.
///
/// # Errors
/// `io`.
pub(in crate::store) fn link(from: &Path, to: &Path) -> Result<()> {
    let (from, to) = (tree_folder(from), tree_folder(to));
    let files = |folder: &Path| match std::fs::read_dir(folder) {
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        files => files?.collect::<std::io::Result<Vec<_>>>(),
    };
    let link = || {
        for file in files(&from)? {
            std::fs::create_dir_all(to.join(TABLES))?;
            if file.file_type()?.is_file() {
                std::fs::copy(file.path(), to.join(file.file_name()))?;
            }
        }
        for table in files(&from.join(TABLES))? {
            let name = table.file_name();
            std::fs::hard_link(table.path(), to.join(TABLES).join(name))?;
        }
        Ok(())
    };
    link().map_err(io("copy", &from))
}

/// A failure of the tree in the contract's terms: what is missing, short or unreadable in its files is damage.
pub(super) fn failure(folder: &Path, error: lsm_tree::Error) -> Error {
    use std::io::ErrorKind::{InvalidData, InvalidInput, NotFound, UnexpectedEof};
    match error {
        lsm_tree::Error::Io(source)
            if !matches!(
                source.kind(),
                InvalidData | InvalidInput | NotFound | UnexpectedEof
            ) =>
        {
            io("use", folder)(source)
        }
        error => damaged(folder, &error.to_string()).with_source(error),
    }
}

pub(super) fn damaged(folder: &Path, what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!(
            "the store {} is damaged: {what}; remove this folder, and the next opening makes it anew from the log where \
             the log has its beginning; else restore the data folder from a copy",
            folder.display()
        ),
    )
}
