//! `extengine replay`: the log run again.

use std::io::{self, IsTerminal};
use std::sync::Arc;

use extengine::Result;
use extengine::contract::say;
use extengine::partition::application::os_platform;
use extengine::partition::program::Program;
use extengine::partition::replay::{self, Which};
use indicatif::ProgressBar;
use serde_json::json;

use crate::args::Replay;
use crate::open;
use crate::output::Lines;

pub(crate) fn replay(args: &Replay) -> Result<bool> {
    let (mut spec, data) = open::existing(&args.app)?;
    // What ended in time once may take longer on a busy machine, and is no difference then.
    spec.prolong_deadlines();
    let program = Arc::new(Program::load(spec, args.app.engine.as_deref())?);
    let bar = match io::stderr().is_terminal() {
        true => ProgressBar::new_spinner(),
        false => ProgressBar::hidden(),
    };
    let which = match args.today {
        true => Which::Today,
        false => Which::Logged,
    };
    let found = replay::replay(&program, &os_platform()?, &data, which, |commands| {
        bar.set_message(format!("{commands} commands"));
        bar.tick();
    })?;
    bar.finish_and_clear();
    let mut lines = Lines::new();
    for difference in &found.differences {
        lines.put(&json!({
            "partition": difference.partition,
            "offset": difference.offset,
            "extension": difference.extension,
            "difference": difference.what,
        }))?;
    }
    lines.flush()?;
    let engines = program.packages().iter().map(|package| &*package.engine);
    say!(
        "{} commands and {} events ran again on {}: {} differences",
        found.commands,
        found.events,
        engines.collect::<Vec<_>>().join(", "),
        found.differences.len(),
    );
    found.notices.iter().for_each(|notice| say!("{notice}"));
    if found.other_code > 0 {
        say!(
            "{} invocations ran other code than the log names: another engine's, or a changed package",
            found.other_code
        );
    }
    Ok(found.differences.is_empty())
}
