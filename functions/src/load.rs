//! From a configuration to loaded code: which engine, and which convention.

use std::sync::Arc;

use engine_core::engine::{Code as Source, read_code};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::EngineKind;
use engine_core::foreign::ForeignFunctions;

use crate::config::{Abi, PluginConfig};
use crate::contract::Contract;
use crate::vm::{Code, Logger};

/// Reads a plugin's code.
///
/// # Errors
/// `io`, naming the file; `unknown` where this build has no such engine.
pub(crate) fn read(config: &PluginConfig) -> Result<Source> {
    if config.kind()? == EngineKind::Builtin {
        return Ok(Source::Native(config.path.to_string_lossy().into()));
    }
    let bytes = read_code(&config.path, config.limits.code_bytes).map_err(|error| {
        let message = format!("`{}` cannot be read: {error}", config.path.display());
        Error::new(ErrorKind::Io, message).at(|| config.name.clone())
    })?;
    Ok(Source::Bytes(bytes.into()))
}

/// Loads a plugin's code on its engine.
///
/// # Errors
/// `package`, `manifest`, `not_kept` and limits, each with everything that keeps it from loading.
pub(crate) fn load(
    config: &PluginConfig,
    source: Source,
    logger: &Arc<Logger>,
    foreign: &ForeignFunctions,
) -> Result<Arc<dyn Code>> {
    let abi = match (config.abi, config.kind()?, &source) {
        #[cfg(feature = "wasm")]
        (None, EngineKind::Wasm, Source::Bytes(bytes)) => crate::wasm::abi_of(bytes),
        (Some(abi), EngineKind::Wasm, _) => abi,
        (None | Some(Abi::Extengine), ..) => Abi::Extengine,
        (Some(other), kind, _) => {
            let message = format!(
                "{} is a convention of WASM modules, and engine `{}` runs {kind} code: leave `abi` out",
                other.name(),
                config.engine
            );
            return Err(Error::new(ErrorKind::Manifest, message));
        }
    };
    if abi != Abi::Extengine && !config.foreign.is_empty() {
        let message = format!(
            "`foreign` is for our own contract, and this is {}: leave it out",
            abi.name()
        );
        return Err(Error::new(ErrorKind::Manifest, message).at(|| config.name.clone()));
    }
    let loaded: Result<Arc<dyn Code>> = match (abi, &source) {
        #[cfg(feature = "wasm")]
        (Abi::Bindgen | Abi::Plain, Source::Bytes(bytes)) => {
            crate::wasm::load(config, abi, bytes, logger)
        }
        _ => match Contract::load(config, source, logger, foreign) {
            Ok(contract) => Ok(Arc::new(contract)),
            Err(error) => Err(error),
        },
    };
    loaded.map_err(|error| error.at(|| config.name.clone()))
}
