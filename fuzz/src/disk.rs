//! A simulated disk, and what happens to the files on it.

use std::path::{Path, PathBuf};

use partition::platform::sim::SimPlatform;
use partition::platform::{Access, Files, Platform};

use crate::input::Input;

/// Puts a file in place, with its folder.
///
/// # Panics
/// Where the simulated machine fails, which it was not told to.
pub fn put(platform: &SimPlatform, path: &Path, bytes: &[u8]) {
    let files = platform.files();
    files
        .create_dir_all(path.parent().unwrap_or(path))
        .expect("a folder");
    let file = files.open(path, Access::Truncate).expect("a file");
    file.write_all_at(bytes, 0).expect("written");
}

/// The files in some folders, as far as these are there.
///
/// # Panics
/// Where the simulated machine fails, which it was not told to.
pub fn files(platform: &SimPlatform, folders: &[&Path]) -> Vec<PathBuf> {
    let files: &dyn Files = platform.files();
    let there = folders
        .iter()
        .filter(|folder| files.exists(folder).expect("looked for"));
    let paths = there.flat_map(|folder| {
        let names = files.list(folder).expect("listed");
        names
            .into_iter()
            .map(|name| folder.join(name))
            .collect::<Vec<_>>()
    });
    paths
        .filter(|path| files.open(path, Access::Read).is_ok())
        .collect()
}

/// Does one thing to one of some files that no checksum can miss: flips a bit, cuts it, puts zeros into it, or removes it.
///
/// # Panics
/// Where the simulated machine fails, which it was not told to.
pub fn damage(platform: &SimPlatform, paths: &[PathBuf], input: &mut Input<'_>) {
    if paths.is_empty() {
        return;
    }
    let path = input.one_of(&paths[..paths.len().min(256)]);
    let mut bytes = platform.files().read(path).expect("read");
    let at = match bytes.len() {
        0 => 0,
        len => (usize::from(input.byte()) << 8 | usize::from(input.byte())) % len,
    };
    match input.below(4) {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << input.below(8),
        1 => bytes.truncate(at),
        2 => {
            let end = bytes.len().min(at + usize::from(input.byte()));
            bytes[at..end].fill(0);
        }
        _ => return platform.files().remove(path).expect("removed"),
    }
    put(platform, path, &bytes);
}
