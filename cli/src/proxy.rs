//! `extengine proxy`: serves, or checks, a configuration in Envoy's form.

use std::sync::Arc;

use extengine::Result;
use extengine::contract::say;
use extengine::filters::Level;
use extengine::proxy::config::Notice;
use extengine::proxy::{Listening, Options, Proxy, stop_signal};
use extengine::proxy_wasm::ProxyWasm;

use crate::args::{Mode, ProxyArgs};
use crate::words::logged;

/// Runs the verb.
pub(crate) fn proxy(args: &ProxyArgs) -> Result<bool> {
    let options = Options {
        engine: args.engine.clone(),
        concurrency: args.concurrency.map_or_else(cores, usize::from),
        level: args.log_level,
        log: Arc::new(|level: Level, name, line| {
            say!("{} {name}: {}", level.name(), logged(name, line));
        }),
        wasm: Arc::new(ProxyWasm::new(extengine::proxy_wasm::Options {
            foreign: extengine::foreign::builtin(),
            ..extengine::proxy_wasm::Options::default()
        })),
        metrics: Arc::default(),
    };
    let proxy = Proxy::new(&args.config, options)?;
    let file = args.config.display();
    let tell = |notices: &[Notice]| {
        for notice in notices {
            say!("notice: {file}:{notice}");
        }
    };
    match args.mode {
        Mode::Validate => {
            tell(&proxy.validate()?);
            say!("{file} can be served");
        }
        Mode::Serve => {
            let started = |listening: &[Listening], notices: &[Notice]| {
                tell(notices);
                for Listening { name, address } in listening {
                    say!("listening on {address} ({name})");
                }
            };
            proxy.run(started, stop_signal())?;
        }
    }
    Ok(true)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
