//! The files of a tree beside what the tree itself does with them, and what its failures mean.

use std::io::Read;
use std::path::{Path, PathBuf};

use engine_core::error::{Error, ErrorKind, Result};
use lsm_tree::{AbstractTree, AnyTree, Config};
use xxhash_rust::xxh3::Xxh3;

use crate::folder::io;
use crate::partition::catch;

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

/// Compares each table of a store that nobody has open with its checksum in the list of tables, which says that it is the
/// table of this store, and whole.
///
/// # Errors
/// `corrupt`, `io`.
pub(in crate::store) fn check(folder: &Path) -> Result<()> {
    let path = tree_folder(folder);
    if !path.try_exists().map_err(io("look for", &path))? {
        return Ok(());
    }
    check_tables(folder, &path)?;
    let tree = open_tree(folder, Config::new(&path, <_>::default(), <_>::default()))?;
    for table in tree.current_version().iter_tables() {
        let name = table.id().to_string();
        let path = path.join(TABLES).join(&name);
        let hash = hash(&path).map_err(|error| failure(folder, error.into()))?;
        if hash != table.checksum().into_u128() {
            let what = format!("table {name} is not the one that its list of tables has");
            return Err(damaged(folder, &what));
        }
    }
    Ok(())
}

/// The XXH3 of a file.
fn hash(path: &Path) -> std::io::Result<u128> {
    let mut file = std::fs::File::open(path)?;
    let (mut hash, mut bytes) = (Xxh3::new(), vec![0; 256 << 10]);
    loop {
        match file.read(&mut bytes)? {
            0 => return Ok(hash.digest128()),
            len => hash.update(&bytes[..len]),
        }
    }
}

/// Opens a tree, whose list of tables was checked before.
///
/// # Errors
/// `corrupt`, `io`.
pub(super) fn open_tree(folder: &Path, config: Config) -> Result<AnyTree> {
    let tree = catch("opening the store", || {
        config.open().map_err(|error| failure(folder, error))
    });
    tree.map_err(|error| match error.kind() {
        // The tree gives up on some damage with a panic.
        ErrorKind::Internal => damaged(folder, error.message()),
        _ => error,
    })
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
