//! `extengine run --shadow`: other code beside packages on the same commands, and what it would have done otherwise.

use std::path::PathBuf;
use std::str::FromStr;

use extengine::contract::engine::Code;
use extengine::contract::say;
use extengine::partition::{Cost, Shadow, ShadowReport};
use extengine::{Application, Result};

use crate::check::{limits, read};
use crate::words::one_line;

/// How many differences are printed.
const SHOWN: usize = 20;

/// A package, and the file that is to be compared with what runs of it.
#[derive(Clone, Debug)]
pub(crate) struct Other {
    package: String,
    file: PathBuf,
}

impl FromStr for Other {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((package, file)) if !package.is_empty() && !file.is_empty() => Ok(Self {
                package: package.to_owned(),
                file: file.into(),
            }),
            _ => Err("not of the form PACKAGE=FILE"),
        }
    }
}

/// Shadows at work, each with what it compares.
pub(crate) struct Shadows<'a>(Vec<(&'a Other, Shadow)>);

impl<'a> Shadows<'a> {
    /// Starts one for each.
    pub(crate) fn start(application: &Application, others: &'a [Other]) -> Result<Self> {
        let shadows = others.iter().map(|other| {
            let code = read(&other.file, &limits(application, &other.package))?;
            let shadow = application.shadow(&other.package, Code::Bytes(code.into()))?;
            Ok((other, shadow))
        });
        Ok(Self(shadows.collect::<Result<_>>()?))
    }

    /// Waits until they have seen every command, and prints what they found.
    pub(crate) fn finish(self) {
        for (other, shadow) in self.0 {
            print(other, &shadow.finish());
        }
    }
}

fn print(other: &Other, found: &ShadowReport) {
    say!(
        "{} beside package `{}`: {} commands compared, {} differ",
        other.file.display(),
        other.package,
        found.commands,
        found.differing,
    );
    for difference in found.differences.iter().take(SHOWN) {
        say!(
            "  partition {}, offset {}, {}: {}",
            difference.partition,
            difference.offset,
            difference.extension,
            one_line(&difference.what)
        );
    }
    let more = found.differing.saturating_sub(SHOWN as u64);
    if more > 0 {
        say!("  and more, on {more} commands");
    }
    for (which, cost) in [("what runs", &found.current), ("the other", &found.shadow)] {
        say!("  {which} used {}", used(cost));
    }
    if let Some(error) = &found.failed {
        say!("  it ended before the last command: {}", one_line(error));
    }
}

fn used(cost: &Cost) -> String {
    let fuel = match cost.fuel {
        0 => String::new(),
        fuel => format!(", {fuel} units of fuel"),
    };
    format!(
        "{} µs in {} invocations, {} reads of {} rows, {} intents, at most {} bytes of memory{fuel}",
        cost.micros, cost.invocations, cost.host_reads, cost.rows_read, cost.intents, cost.memory
    )
}
