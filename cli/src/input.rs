//! Lines in, read on a thread of their own, and how far they are.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;

use extengine::{Error, ErrorKind, Result};
use indicatif::{ProgressBar, ProgressStyle};

/// The lines of a file or of standard input.
pub(crate) struct Input {
    lines: Receiver<io::Result<String>>,
    /// How many lines have come.
    pub(crate) number: u64,
}

impl Input {
    /// Begins to read; without a path, standard input.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        let (sender, lines) = sync_channel(4096);
        match path {
            Some(path) => {
                let file = File::open(path).map_err(|source| {
                    let message = format!("cannot read {}: {source}", path.display());
                    Error::new(ErrorKind::Io, message).with_source(source)
                })?;
                thread::spawn(move || read(BufReader::with_capacity(1 << 20, file), &sender));
            }
            None => {
                thread::spawn(move || read(io::stdin().lock(), &sender));
            }
        }
        Ok(Self { lines, number: 0 })
    }

    /// The next line, if it is there already.
    pub(crate) fn try_next(&mut self) -> Result<Result<String, TryRecvError>> {
        match self.lines.try_recv() {
            Ok(line) => self.come(line).map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    /// The next line; none behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<String>> {
        match self.lines.recv() {
            Ok(line) => self.come(line).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn come(&mut self, line: io::Result<String>) -> Result<String> {
        self.number += 1;
        line.map_err(|source| {
            let message = format!("line {} of the input: {source}", self.number);
            Error::new(ErrorKind::Io, message).with_source(source)
        })
    }
}

fn read(input: impl BufRead, sender: &SyncSender<io::Result<String>>) {
    for line in input.lines() {
        let failed = line.is_err();
        if sender.send(line).is_err() || failed {
            return;
        }
    }
}

/// A bar on standard error, where that is a terminal: by bytes where the file's size is known.
pub(crate) fn progress_bar(source: Option<&Path>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let size = source
        .and_then(|path| path.metadata().ok())
        .map(|file| file.len());
    let (bar, template) = match size {
        Some(size) => (
            ProgressBar::new(size),
            "{bar:32} {percent:>3} %  {msg}  {elapsed} (about {eta} left)",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}  {elapsed}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
