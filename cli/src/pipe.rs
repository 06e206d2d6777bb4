//! `extengine pipe`: JSON lines in, the same lines with the results of functions out, in order.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

use extengine::contract::say;
use extengine::functions::{LocalExecutor, Manager, PluginConfig, Value};
use extengine::{Error, ErrorKind, Result};
use indicatif::ProgressBar;

use crate::args::{OnError, Pipe};
use crate::input::{Input, progress_bar};
use crate::output::{Lines, is_closed};
use crate::row::Row;
use crate::rule::Rule;
use crate::words::{one_line, report};

/// How long a plugin may take to compile and start.
const LOAD: Duration = Duration::from_secs(600);

/// How many failures are told one by one.
const SHOWN: u64 = 10;

pub(crate) fn pipe(args: &Pipe) -> Result<bool> {
    let rules = args.calls.iter().map(|call| Rule::parse(call));
    let rules: Vec<_> = rules.collect::<Result<_>>()?;
    let manager = Manager::with_logger(|line| {
        let (plugin, function) = (line.plugin, line.function);
        let (level, message) = (one_line(line.level), one_line(line.message));
        say!("{plugin}/{function} ({level}): {message}");
    });
    load(&manager, &args.plugins)?;
    for rule in &rules {
        let Rule {
            plugin, function, ..
        } = rule;
        let owner = manager.owner(function)?;
        if let Some(plugin) = plugin.as_ref().filter(|plugin| **plugin != owner) {
            let message =
                format!("plugin `{plugin}` offers no function `{function}`; plugin `{owner}` does");
            return Err(Error::new(ErrorKind::Unknown, message));
        }
        let functions = manager.status(&owner)?.functions;
        let mut signatures = functions.iter().filter(|f| *f.name == **function);
        let signature = signatures.find_map(|function| function.signature.as_ref());
        if let Some(signature) = signature.filter(|s| s.params.len() != rule.count()) {
            let (wanted, given) = (signature.params.len(), rule.count());
            let message = format!(
                "the rule for `{}`: {wanted} arguments wanted, {given} given: {function}{signature}",
                rule.field
            );
            return Err(Error::new(ErrorKind::Unknown, message));
        }
    }
    let source = args.input.as_deref().filter(|path| *path != Path::new("-"));
    let mut session = Session {
        executor: manager.local(),
        rules,
        on_error: args.on_error,
        output: Lines::new(),
        failed: Failures::default(),
        lines: 0,
    };
    let bar = progress_bar(source);
    let started = Instant::now();
    let mut input = Input::open(source)?;
    let ended = session.feed(&mut input, args.batch, &bar);
    bar.finish_and_clear();
    let failed = session.failed.sum();
    let seconds = started.elapsed().as_secs_f64();
    say!(
        "{} lines in {seconds:.2} s ({:.0} a second), {failed} failed",
        session.lines,
        session.lines as f64 / seconds.max(1e-9),
    );
    for (kind, count) in &session.failed.0 {
        say!("  failed as {kind}: {count}");
    }
    if let Err(error) = &ended
        && is_closed(error)
    {
        say!("standard output was closed: not all of these lines were taken, and none behind them");
    }
    ended.map(|()| failed == 0)
}

/// Adds every plugin of a folder, or says all that is wrong with them.
fn load(manager: &Manager, folder: &Path) -> Result<()> {
    let mut names = Vec::new();
    let mut faults = Vec::new();
    for config in PluginConfig::from_folder(folder)? {
        let added = config.and_then(|config| {
            let name = config.name.clone();
            manager.add(config).map(|()| name)
        });
        match added {
            Ok(name) => names.push(name),
            Err(error) => faults.push(error),
        }
    }
    for name in &names {
        faults.extend(manager.wait_ready(name, LOAD).err());
    }
    if names.is_empty() && faults.is_empty() {
        let message = format!(
            "no plugin in {}: put a configuration there, in JSON or TOML",
            folder.display()
        );
        return Err(Error::new(ErrorKind::Manifest, message));
    }
    match faults.as_slice() {
        [] => Ok(()),
        faults => {
            let faults: Vec<_> = faults.iter().map(report).collect();
            Err(Error::new(ErrorKind::Manifest, faults.join("\n")))
        }
    }
}

/// How many failures of each kind there were.
#[derive(Default)]
struct Failures(BTreeMap<&'static str, u64>);

struct Session {
    executor: LocalExecutor,
    rules: Vec<Rule>,
    on_error: OnError,
    output: Lines,
    failed: Failures,
    lines: u64,
}

impl Failures {
    fn count(&mut self, kind: ErrorKind) {
        *self.0.entry(kind.name()).or_default() += 1;
    }

    fn sum(&self) -> u64 {
        self.0.values().sum()
    }

    /// Counts a failure, and tells it if not too many were told.
    fn tell(&mut self, kind: ErrorKind, what: &str) {
        self.count(kind);
        if self.sum() <= SHOWN {
            say!("{what}");
        }
    }
}

impl Session {
    /// Runs the rules over all lines. What came before the end is written, whatever the end is.
    fn feed(&mut self, input: &mut Input, size: usize, bar: &ProgressBar) -> Result<()> {
        let mut batch = Vec::new();
        loop {
            let more = self.gather(input, size, bar, &mut batch);
            self.run(&mut batch)?;
            if !more? {
                return Ok(());
            }
            bar.set_message(format!("{} lines", self.lines));
        }
    }

    /// Takes the lines that are there, and waits only for the first: nothing waits for lines that have not come yet. False
    /// behind the last.
    fn gather(
        &mut self,
        input: &mut Input,
        size: usize,
        bar: &ProgressBar,
        batch: &mut Vec<(u64, Row)>,
    ) -> Result<bool> {
        let Some(mut line) = input.next()? else {
            return Ok(false);
        };
        loop {
            bar.inc(line.len as u64);
            if !line.is_empty() {
                match line.object() {
                    Ok(row) => batch.push((line.number, row)),
                    Err(what) => {
                        let message = format!("line {} of the input: {what}", line.number);
                        match self.on_error {
                            OnError::Drop => self.failed.tell(ErrorKind::BadArgs, &message),
                            OnError::Null | OnError::Stop => {
                                self.failed.count(ErrorKind::BadArgs);
                                return Err(Error::new(ErrorKind::BadArgs, message));
                            }
                        }
                    }
                }
            }
            if batch.len() >= size {
                return Ok(true);
            }
            line = match input.try_next()? {
                Ok(line) => line,
                Err(TryRecvError::Empty) => return Ok(true),
                Err(TryRecvError::Disconnected) => return Ok(false),
            };
        }
    }

    /// Runs every rule over a batch of lines and writes them.
    fn run(&mut self, batch: &mut Vec<(u64, Row)>) -> Result<()> {
        let mut end = None;
        for rule in 0..self.rules.len() {
            // Where a later rule ends it too, that is before the line where this one did.
            end = self.apply(rule, batch)?.or(end);
        }
        for (_, line) in batch.drain(..) {
            self.output.put(&line)?;
            self.lines += 1;
        }
        self.output.flush()?;
        end.map_or(Ok(()), Err)
    }

    /// Runs one rule over a batch of lines. A line that fails stays, goes, or is the end, as it was wished: then what is
    /// left are the lines before it, and the answer is why.
    fn apply(&mut self, rule: usize, batch: &mut Vec<(u64, Row)>) -> Result<Option<Error>> {
        let Rule {
            field, function, ..
        } = &self.rules[rule];
        let args = batch.iter().map(|(_, line)| self.rules[rule].args(line));
        let args: Vec<_> = args.collect();
        let id = self.executor.function(function)?;
        let signature = self.executor.declared(id)?.signature.clone();
        let is_null = |args: &[Value]| signature.as_ref().is_some_and(|s| s.is_null_for(args));
        let mut rows = Vec::new();
        // What a line comes to without a call, where it has none.
        let mut without = Vec::new();
        for args in args {
            without.push(match args {
                Ok(args) if is_null(&args) => Some(Ok(Value::Null)),
                Ok(args) => {
                    rows.push(args);
                    None
                }
                Err(error) => Some(Err(error)),
            });
        }
        let mut results = self.executor.execute_batch(function, &rows)?.into_iter();
        let mut dropped = Vec::new();
        for (place, ((number, line), without)) in batch.iter_mut().zip(without).enumerate() {
            let result = without.or_else(|| results.next());
            let result = result.unwrap_or(Ok(Value::Null));
            let value = match result {
                Ok(value) => value,
                Err(error) => {
                    let what = format!("line {number}: {}", one_line(&error));
                    match self.on_error {
                        OnError::Stop => {
                            self.failed.count(error.kind());
                            batch.truncate(place);
                            return Ok(Some(Error::new(ErrorKind::Rejected, what)));
                        }
                        OnError::Drop => dropped.push(place),
                        OnError::Null => {}
                    }
                    self.failed.tell(error.kind(), &what);
                    Value::Null
                }
            };
            line.set(field, &value.to_json())?;
        }
        for place in dropped.into_iter().rev() {
            batch.remove(place);
        }
        Ok(None)
    }
}
