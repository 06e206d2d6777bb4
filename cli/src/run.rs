//! `extengine run`: commands in, one line each out, in order.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::mpsc::{TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use extengine::contract::say;
use extengine::{Accepted, Answer, AppSpec, Application, Error, ErrorKind, Result};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use crate::args::Run;
use crate::input::{Input, Line, progress_bar};
use crate::open;
use crate::output::{Lines, error_line, is_closed, row};
use crate::shadow::Shadows;
use crate::watch;

/// What one line of input says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Command<'a> {
    #[serde(borrow)]
    command: Cow<'a, str>,
    #[serde(default = "no_args", deserialize_with = "open::args")]
    args: Json,
    id: Option<String>,
}

/// One line of output, for an accepted command.
#[derive(Serialize)]
struct Answered<'a> {
    ok: Option<&'a Map<String, Json>>,
    partition: u32,
    offset: u64,
}

fn no_args() -> Json {
    json!({})
}

pub(crate) fn run(args: &Run) -> Result<bool> {
    let spec = AppSpec::load(&args.app.app)?;
    let data = open::data_folder(&args.app, &spec);
    let source = args.commands.clone().or(spec.commands.clone());
    let source = source.filter(|path| path != Path::new("-"));
    // Before a data folder is made for commands that cannot be read.
    let mut input = Input::open(source.as_deref())?;
    let application = open::open(&args.app, spec, &data, args.partitions, true)?;
    let bar = progress_bar(source.as_deref());
    let shadows = Shadows::start(&application, &args.shadow)?;
    let spec = application.spec();
    let mut session = Session {
        application: &application,
        most: (spec.partitions as usize).saturating_mul(spec.partition.queue),
        lines: Lines::new(),
        waiting: VecDeque::new(),
        summary: Summary::default(),
        bar,
    };
    let started = Instant::now();
    let fed = thread::scope(|scope| {
        // Gone when the commands are, which ends the watch.
        let (_alive, stop) = channel::<()>();
        if args.watch {
            let application = &application;
            scope.spawn(move || watch::watch(application, &stop));
        }
        session.feed(&mut input)
    });
    let Session { summary, bar, .. } = session;
    bar.finish_and_clear();
    if let Err(error) = fed {
        if is_closed(&error) {
            say!(
                "standard output was closed when {} commands were answered: the last answers were not taken, and more commands may have run; to run the same again is harmless where they have ids",
                summary.count()
            );
        }
        return Err(error);
    }
    let settled = application.settle();
    let is_default = args.app.data.is_none();
    summary.print(&args.app.app, &data, is_default, started.elapsed());
    shadows.finish();
    let closed = application.close();
    settled.and(closed)?;
    Ok(summary.refused.is_empty())
}

/// A command whose answer is to come, or was known at once.
enum Waiting {
    Answer(Asked, Answer<Accepted>),
    Known(Error),
}

/// A command, and its id.
struct Asked {
    command: String,
    id: Option<String>,
}

struct Session<'a> {
    application: &'a Application,
    /// How many answers may wait for one before them.
    most: usize,
    lines: Lines,
    waiting: VecDeque<Waiting>,
    summary: Summary,
    bar: ProgressBar,
}

impl Session<'_> {
    /// Submits line after line, as many ahead of their answers as the queues take. What was submitted is answered, whatever
    /// the end of the input is.
    fn feed(&mut self, input: &mut Input) -> Result<()> {
        let ended = self.submit_all(input);
        if !ended.as_ref().is_err_and(is_closed) {
            while !self.waiting.is_empty() {
                self.answer()?;
            }
            self.lines.flush()?;
        }
        ended
    }

    fn submit_all(&mut self, input: &mut Input) -> Result<()> {
        loop {
            let line = match input.try_next()? {
                Ok(line) => line,
                Err(TryRecvError::Empty) if self.waiting.is_empty() => {
                    self.lines.flush()?;
                    match input.next()? {
                        Some(line) => line,
                        None => return Ok(()),
                    }
                }
                Err(TryRecvError::Empty) => {
                    self.answer()?;
                    continue;
                }
                Err(TryRecvError::Disconnected) => return Ok(()),
            };
            self.bar.inc(line.len as u64);
            if line.is_empty() {
                continue;
            }
            let waiting = self.submit(&line)?;
            self.waiting.push_back(waiting);
            while matches!(self.waiting.front(), Some(Waiting::Known(_)))
                || self.waiting.len() > self.most
            {
                self.answer()?;
            }
        }
    }

    fn submit(&mut self, line: &Line<'_>) -> Result<Waiting> {
        let Command { command, args, id } = match line.object() {
            Ok(command) => command,
            Err(what) => {
                let message = format!("line {} is no command: {what}", line.number);
                return Ok(Waiting::Known(Error::new(ErrorKind::BadArgs, message)));
            }
        };
        loop {
            match self.application.submit(&command, &args, id.as_deref()) {
                Ok(answer) => {
                    let command = command.into_owned();
                    return Ok(Waiting::Answer(Asked { command, id }, answer));
                }
                Err(error) if error.kind() == ErrorKind::Busy && !self.waiting.is_empty() => {
                    self.answer()?;
                }
                Err(error) => return Ok(Waiting::Known(error)),
            }
        }
    }

    /// Waits for the oldest answer and prints it.
    fn answer(&mut self) -> Result<()> {
        match self.waiting.pop_front() {
            Some(Waiting::Answer(asked, answer)) => match answer.wait() {
                Ok(accepted) => self.accepted(&asked, &accepted)?,
                Err(error) => self.refused(&error)?,
            },
            Some(Waiting::Known(error)) => self.refused(&error)?,
            None => return Ok(()),
        }
        let count = self.summary.count();
        if count.is_multiple_of(512) {
            self.bar.set_message(format!("{count} commands"));
        }
        Ok(())
    }

    fn accepted(&mut self, asked: &Asked, accepted: &Accepted) -> Result<()> {
        let ok = match self.result(asked, accepted) {
            Ok(ok) => ok,
            Err(error) => return self.refused(&error),
        };
        if accepted.repeated {
            self.summary.repeated += 1;
        } else {
            self.summary.accepted += 1;
        }
        self.lines.put(&Answered {
            ok: ok.as_ref(),
            partition: accepted.partition,
            offset: accepted.offset,
        })
    }

    /// The result of a command; one that was recorded before its schema changed may not fit.
    fn result(&self, asked: &Asked, accepted: &Accepted) -> Result<Option<Map<String, Json>>> {
        let Some(result) = &accepted.result else {
            return Ok(None);
        };
        let Asked { command, id } = asked;
        let schema = self.application.spec().catalog.command(command);
        let schema = schema.map(|schema| schema.result.clone());
        let row = row(&schema.unwrap_or_default(), result).map_err(|error| {
            let id = id.as_ref().map(|id| format!(" with id `{id}`"));
            let message = format!(
                "command `{command}`{} was accepted, and its recorded result does not fit the schema of today: {error}",
                id.unwrap_or_default()
            );
            Error::new(error.kind(), message)
        })?;
        Ok(Some(row))
    }

    fn refused(&mut self, error: &Error) -> Result<()> {
        *self.summary.refused.entry(error.kind().name()).or_default() += 1;
        self.lines.put(&error_line(error))
    }
}

#[derive(Default)]
struct Summary {
    accepted: u64,
    repeated: u64,
    refused: BTreeMap<&'static str, u64>,
}

impl Summary {
    fn count(&self) -> u64 {
        self.accepted + self.repeated + self.refused.values().sum::<u64>()
    }

    fn print(&self, app: &Path, data: &Path, is_default: bool, elapsed: Duration) {
        let refused: u64 = self.refused.values().sum();
        let seconds = elapsed.as_secs_f64();
        say!(
            "{} commands in {seconds:.2} s ({:.0} a second): {} accepted, {} repeated, {refused} refused",
            self.count(),
            self.count() as f64 / seconds.max(1e-9),
            self.accepted,
            self.repeated,
        );
        for (kind, count) in &self.refused {
            say!("  refused as {kind}: {count}");
        }
        let (app, place) = (app.display(), data.display());
        let option = if is_default {
            String::new()
        } else {
            format!(" --data {place}")
        };
        say!("The state is in {place}. Next:");
        say!("  extengine state {app}{option} --hash");
        say!("  extengine replay {app}{option}");
        say!("  extengine verify --data {place}");
    }
}
