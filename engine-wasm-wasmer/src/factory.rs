//! The factory of engine `wasmer`.

use std::sync::Arc;

use engine_core::engine::ExtEngine;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::{EngineKind, EngineLimits, ExtEngineFactory, Registration};
use engine_core::limits::{Capabilities, Limit};
use engine_core::manifest::PackageManifest;
use engine_wasm_abi::engine::WasmEngine;

use crate::engine::WasmerRuntime;
use crate::stack;

/// Makes engines on Wasmer.
///
/// All stacks of a process have one size, which its first engine settles. A package with another limit on its stack
/// loads only if it waives `stack`. A guest that a host function calls in turn, as for each row of a range read, has
/// such a stack to itself there.
#[derive(Clone, Copy, Debug, Default)]
pub struct WasmerFactory;

pub(crate) static FACTORY: WasmerFactory = WasmerFactory;

inventory::submit!(Registration(&FACTORY));

impl ExtEngineFactory for WasmerFactory {
    fn kind(&self) -> EngineKind {
        EngineKind::Wasm
    }

    fn name(&self) -> &'static str {
        "wasmer"
    }

    fn version(&self) -> &'static str {
        "7.3.0"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL_KEPT
    }

    fn create(&self, limits: &EngineLimits) -> Result<Arc<dyn ExtEngine>> {
        Ok(Arc::new(WasmEngine::new(WasmerRuntime::new(limits)?)))
    }

    fn check_limits(&self, manifest: &PackageManifest) -> Result<()> {
        let wanted = manifest.limits.stack;
        match stack::size() {
            Some(made) if made != wanted as usize && !manifest.waived.contains(&Limit::Stack) => {
                let message = if stack::RANGE.contains(&(wanted as usize)) {
                    format!(
                        "engine `wasmer` has one stack size in a process, here {made} bytes, and cannot keep a limit \
                         `stack` of {wanted}: give all packages the same, or waive `stack` in the manifest"
                    )
                } else {
                    let (least, most) = stack::RANGE.into_inner();
                    format!(
                        "engine `wasmer` has stacks of {least} to {most} bytes and cannot keep a limit `stack` of \
                         {wanted}: give a limit in this range, or waive `stack` in the manifest"
                    )
                };
                let error = Error::new(ErrorKind::NotKept, message);
                Err(error.at(|| manifest.name.to_string()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_is_built() {
        let lock = include_str!("../../Cargo.lock").replace('\r', "");
        let package = "name = \"wasmer\"\nversion = \"";
        let (_, rest) = lock.split_once(package).unwrap();
        assert_eq!(FACTORY.version(), rest.split('"').next().unwrap());
    }
}
