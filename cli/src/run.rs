//! `extengine run`: commands in, one line each out, in order.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::mpsc::{TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use extengine::{Accepted, Answer, Application, Error, ErrorKind, Result};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use crate::args::Run;
use crate::input::{Input, Line, progress_bar};
use crate::open;
use crate::output::{Lines, error_line, row};
use crate::shadow::Shadows;
use crate::watch;

/// What one line of input says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Command<'a> {
    #[serde(borrow)]
    command: Cow<'a, str>,
    #[serde(default = "no_args")]
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
    let (application, data) = open::open(&args.app, args.partitions, true)?;
    let source = args
        .commands
        .clone()
        .or(application.spec().commands.clone());
    let source = source.filter(|path| path != Path::new("-"));
    let mut input = Input::open(source.as_deref())?;
    let bar = progress_bar(source.as_deref());
    let shadows = Shadows::start(&application, &args.shadow)?;
    let mut session = Session {
        application: &application,
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
    fed?;
    let settled = application.settle();
    let is_default = args.app.data.is_none();
    summary.print(&args.app.app, &data, is_default, started.elapsed());
    settled?;
    shadows.finish();
    application.close()?;
    Ok(summary.refused.is_empty())
}

/// A command whose answer is to come, or was known at once.
enum Waiting {
    Answer(String, Answer<Accepted>),
    Known(Error),
}

struct Session<'a> {
    application: &'a Application,
    lines: Lines,
    waiting: VecDeque<Waiting>,
    summary: Summary,
    bar: ProgressBar,
}

impl Session<'_> {
    /// Submits line after line, as many ahead of their answers as the queue takes.
    fn feed(&mut self, input: &mut Input) -> Result<()> {
        loop {
            let line = match input.try_next()? {
                Ok(line) => line,
                Err(TryRecvError::Empty) if self.waiting.is_empty() => {
                    self.lines.flush()?;
                    match input.next()? {
                        Some(line) => line,
                        None => break,
                    }
                }
                Err(TryRecvError::Empty) => {
                    self.answer()?;
                    continue;
                }
                Err(TryRecvError::Disconnected) => break,
            };
            self.bar.inc(line.text.len() as u64 + 1);
            if line.text.trim().is_empty() {
                continue;
            }
            self.submit(&line)?;
        }
        while !self.waiting.is_empty() {
            self.answer()?;
        }
        self.lines.flush()
    }

    fn submit(&mut self, line: &Line<'_>) -> Result<()> {
        let Command { command, args, id } = match serde_json::from_str(line.text) {
            Ok(command) => command,
            Err(source) => {
                self.waiting.push_back(Waiting::Known(Error::new(
                    ErrorKind::BadArgs,
                    format!("line {} is no command: {source}", line.number),
                )));
                return Ok(());
            }
        };
        loop {
            match self.application.submit(&command, &args, id.as_deref()) {
                Ok(answer) => {
                    let command = command.into_owned();
                    self.waiting.push_back(Waiting::Answer(command, answer));
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Busy && !self.waiting.is_empty() => {
                    self.answer()?;
                }
                Err(error) => {
                    self.waiting.push_back(Waiting::Known(error));
                    return Ok(());
                }
            }
        }
    }

    /// Waits for the oldest answer and prints it.
    fn answer(&mut self) -> Result<()> {
        match self.waiting.pop_front() {
            Some(Waiting::Answer(command, answer)) => match answer.wait() {
                Ok(accepted) => self.accepted(&command, &accepted)?,
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

    fn accepted(&mut self, command: &str, accepted: &Accepted) -> Result<()> {
        if accepted.repeated {
            self.summary.repeated += 1;
        } else {
            self.summary.accepted += 1;
        }
        let ok = match &accepted.result {
            Some(result) => {
                let schema = self.application.spec().catalog.command(command);
                let schema = schema
                    .map(|schema| schema.result.clone())
                    .unwrap_or_default();
                Some(row(&schema, result)?)
            }
            None => None,
        };
        self.lines.put(&Answered {
            ok: ok.as_ref(),
            partition: accepted.partition,
            offset: accepted.offset,
        })
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
        eprintln!(
            "{} commands in {seconds:.2} s ({:.0} a second): {} accepted, {} repeated, {refused} refused",
            self.count(),
            self.count() as f64 / seconds.max(1e-9),
            self.accepted,
            self.repeated,
        );
        for (kind, count) in &self.refused {
            eprintln!("  refused as {kind}: {count}");
        }
        let (app, place) = (app.display(), data.display());
        let option = if is_default {
            String::new()
        } else {
            format!(" --data {place}")
        };
        eprintln!("The state is in {place}. Next:");
        eprintln!("  extengine state {app}{option} --hash");
        eprintln!("  extengine replay {app}{option}");
        eprintln!("  extengine verify --data {place}");
    }
}
