//! `extengine proxy`: serves, or checks, a configuration in Envoy's form.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use extengine::contract::say;
use extengine::filters::Level;
use extengine::filters::metrics::Metrics;
use extengine::proxy::config::Notice;
use extengine::proxy::{Lines, Listening, Options, Proxy, stop_signal};
use extengine::proxy_wasm::ProxyWasm;
use extengine::{Error, ErrorKind, Result};

use crate::args::{Mode, ProxyArgs};
use crate::words::logged;

/// How long the end waits for lines of the log that nobody reads.
const LAST: Duration = Duration::from_secs(1);

/// Runs the verb.
pub(crate) fn proxy(args: &ProxyArgs) -> Result<bool> {
    let metrics = Arc::<Metrics>::default();
    // A worker whose line nobody reads goes on without it.
    let lines = Lines::new(io::stderr(), &metrics, "log.lines_dropped_total").map_err(|error| {
        Error::new(ErrorKind::Io, format!("no thread for the log: {error}")).with_source(error)
    })?;
    let lines = Arc::new(lines);
    let log = Arc::clone(&lines);
    let options = Options {
        engine: args.engine.clone(),
        concurrency: args.concurrency.map_or_else(cores, usize::from),
        level: args.log_level,
        log: Arc::new(move |level: Level, name, line| {
            log.put(format!("{} {name}: {}\n", level.name(), logged(name, line)));
        }),
        wasm: Arc::new(ProxyWasm::new(extengine::proxy_wasm::Options {
            foreign: extengine::foreign::builtin(),
            ..extengine::proxy_wasm::Options::default()
        })),
        metrics,
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
            let done = proxy.run(started, stop_signal());
            lines.flush(LAST);
            done?;
        }
    }
    Ok(true)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
