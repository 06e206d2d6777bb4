//! The code of every version that ran on a data folder, kept beside the logs that name it.
//!
//! `packages/<hash>.<kind>` has what the hash is made of: the module or chunk itself, or `native:` and the name of a native
//! package. It is durable before the first command that runs on it is logged, and damage shows by the hash.

use std::path::{Path, PathBuf};

use engine_core::engine::Code;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::EngineKind;
use engine_core::registry;

use crate::folder::{io, put};
use crate::lineup::hex;
use crate::platform::Platform;
use crate::record::PackageHash;

const NATIVE: &[u8] = b"native:";

fn folder(data: &Path) -> PathBuf {
    data.join("packages")
}

fn file_name(hash: &PackageHash, kind: EngineKind) -> String {
    format!("{}.{kind}", hex(hash))
}

/// Keeps code durably, unless it is there and whole.
///
/// # Errors
/// `io`.
pub(crate) fn keep(
    platform: &dyn Platform,
    data: &Path,
    code: &Code,
    kind: EngineKind,
) -> Result<()> {
    let hash = registry::hash(code);
    let (files, folder) = (platform.files(), folder(data));
    if let Ok(Some(_)) = find(platform, data, &hash, kind) {
        // Whoever wrote it may have been killed before its name was durable.
        return files.sync_dir(&folder).map_err(io("sync", &folder));
    }
    files
        .create_dir_all(&folder)
        .map_err(io("create", &folder))?;
    let name = file_name(&hash, kind);
    match code {
        Code::Bytes(bytes) => put(platform, &folder, &name, bytes),
        Code::Native(native) => {
            let bytes = [NATIVE, native.as_bytes()].concat();
            put(platform, &folder, &name, &bytes)
        }
    }
}

/// The code of a version, where it was kept for engines of this kind.
///
/// # Errors
/// `corrupt` where the file is not what its name says, `io`.
pub(crate) fn find(
    platform: &dyn Platform,
    data: &Path,
    hash: &PackageHash,
    kind: EngineKind,
) -> Result<Option<Code>> {
    let path = folder(data).join(file_name(hash, kind));
    let files = platform.files();
    if !files.exists(&path).map_err(io("look for", &path))? {
        return Ok(None);
    }
    let bytes = files.read(&path).map_err(io("read", &path))?;
    let code = match (kind, bytes.strip_prefix(NATIVE)) {
        (EngineKind::Builtin, Some(name)) => {
            Code::Native(String::from_utf8_lossy(name).as_ref().into())
        }
        _ => Code::Bytes(bytes.into()),
    };
    if registry::hash(&code) != *hash {
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!(
                "{} is damaged: it is not the code that its name says; restore it from a copy, or remove it, and a replay \
                 runs today's code for it",
                path.display()
            ),
        ));
    }
    Ok(Some(code))
}

/// What is damaged of the kept code, in words.
///
/// # Errors
/// `io`.
pub(crate) fn verify(platform: &dyn Platform, data: &Path) -> Result<Vec<String>> {
    let (files, folder) = (platform.files(), folder(data));
    if !files.exists(&folder).map_err(io("look for", &folder))? {
        return Ok(Vec::new());
    }
    let mut damage = Vec::new();
    let kinds = [EngineKind::Wasm, EngineKind::Lua, EngineKind::Builtin];
    for name in files.list(&folder).map_err(io("list", &folder))? {
        let parts = name.split_once('.').and_then(|(hash, end)| {
            let kind = kinds.into_iter().find(|kind| kind.name() == end)?;
            Some((parse(hash)?, kind))
        });
        // What a crash left of a file in the making has another name.
        let Some((hash, kind)) = parts else { continue };
        match find(platform, data, &hash, kind) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Corrupt => damage.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok(damage)
}

/// Reads what [`hex`] wrote.
fn parse(text: &str) -> Option<PackageHash> {
    let number = u128::from_str_radix(text, 16).ok()?;
    let hash = number.to_be_bytes();
    (hex(&hash) == text).then_some(hash)
}
