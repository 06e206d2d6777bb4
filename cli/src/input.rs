//! Lines in, read on a thread of their own, and how far they are.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::Path;
use std::str::Utf8Error;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;

use extengine::{Error, ErrorKind, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// How much is read at once.
const BLOCK: usize = 64 << 10;

/// The longest line, in bytes: as many as the largest entry of a log has.
const LONGEST: usize = 128 << 20;

/// What some editors put before the first line.
const BOM: &[u8] = "\u{feff}".as_bytes();

/// The lines of a file or of standard input.
pub(crate) struct Input {
    blocks: Receiver<io::Result<Block>>,
    block: Block,
    /// Where the next line of the block begins.
    at: usize,
    /// How many lines have come.
    number: u64,
}

/// What is handed over at once.
#[derive(Default)]
struct Block {
    /// How many bytes a line had that was too long to be held, and comes first; 0 where there is none.
    long: usize,
    /// Whole lines.
    lines: Vec<u8>,
}

/// A line, and its number from 1.
pub(crate) struct Line<'a> {
    pub(crate) number: u64,
    /// How many bytes it has.
    pub(crate) len: usize,
    /// What it says.
    pub(crate) text: Result<&'a str, NoText>,
}

/// Why a line is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoText {
    Utf8(Utf8Error),
    TooLong,
}

impl fmt::Display for NoText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Utf8(error) => error.fmt(f),
            Self::TooLong => write!(f, "longer than {} MiB", LONGEST >> 20),
        }
    }
}

impl<'a> Line<'a> {
    /// Whether it says nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_ok_and(|text| text.trim().is_empty())
    }

    /// Reads its JSON, which must be an object.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn object<T: Deserialize<'a>>(&self) -> Result<T, String> {
        let text = self.text.map_err(|error| error.to_string())?;
        // A struct would take a list of its fields too.
        if !text.trim_start().starts_with('{') {
            let found = serde_json::from_str::<IgnoredAny>(text);
            return Err(found.map_or_else(|error| said(&error), |_| "not an object".to_owned()));
        }
        serde_json::from_str(text).map_err(|error| said(&error))
    }
}

/// What is wrong with the JSON of one line, whose number its reader knows.
pub(crate) fn said(error: &serde_json::Error) -> String {
    let (text, column) = (error.to_string(), error.column());
    let place = format!(" at line {} column {column}", error.line());
    match text.strip_suffix(&place) {
        Some(what) => format!("{what} at column {column}"),
        None => text,
    }
}

impl Input {
    /// Begins to read; without a path, standard input.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Self::of(io::stdin()));
        };
        // A folder can be opened, and fails only when it is read.
        let opened = File::open(path).and_then(|file| match file.metadata()?.is_dir() {
            true => Err(io::ErrorKind::IsADirectory.into()),
            false => Ok(file),
        });
        opened.map(Self::of).map_err(|source| {
            let message = format!("cannot read {}: {source}", path.display());
            Error::new(ErrorKind::Io, message).with_source(source)
        })
    }

    fn of(input: impl Read + Send + 'static) -> Self {
        let (sender, blocks) = sync_channel(16);
        thread::spawn(move || read(input, &sender));
        Self {
            blocks,
            block: Block::default(),
            at: 0,
            number: 0,
        }
    }

    /// The next line, if it is there already.
    pub(crate) fn try_next(&mut self) -> Result<Result<Line<'_>, TryRecvError>> {
        if self.is_used_up() {
            match self.blocks.try_recv() {
                Ok(block) => self.come(block)?,
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(self.line()))
    }

    /// The next line; none behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<Line<'_>>> {
        if self.is_used_up() {
            match self.blocks.recv() {
                Ok(block) => self.come(block)?,
                Err(_) => return Ok(None),
            }
        }
        Ok(Some(self.line()))
    }

    fn is_used_up(&self) -> bool {
        self.block.long == 0 && self.at == self.block.lines.len()
    }

    fn come(&mut self, block: io::Result<Block>) -> Result<()> {
        self.block = block.map_err(|source| failed(self.number + 1, source))?;
        self.at = 0;
        Ok(())
    }

    /// The next line of the block, which has one.
    fn line(&mut self) -> Line<'_> {
        self.number += 1;
        if self.block.long > 0 {
            return Line {
                number: self.number,
                len: std::mem::take(&mut self.block.long),
                text: Err(NoText::TooLong),
            };
        }
        let rest = &self.block.lines[self.at..];
        // Of bytes that are here, this cannot fail.
        let len = (&*rest).skip_until(b'\n').unwrap_or(rest.len());
        self.at += len;
        let line = &rest[..len];
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let is_long = line.len() > LONGEST;
        let line = match self.number {
            1 => line.strip_prefix(BOM).unwrap_or(line),
            _ => line,
        };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Line {
            number: self.number,
            len,
            text: match is_long {
                true => Err(NoText::TooLong),
                false => std::str::from_utf8(line).map_err(NoText::Utf8),
            },
        }
    }
}

fn failed(line: u64, source: io::Error) -> Error {
    let message = format!("line {line} of the input: {source}");
    Error::new(ErrorKind::Io, message).with_source(source)
}

/// Hands over what comes, whole lines at a time: one waits for the rest of its own line, and for no other one.
fn read(input: impl Read, sender: &SyncSender<io::Result<Block>>) {
    let mut input = BufReader::with_capacity(BLOCK, input);
    let mut block = Block::default();
    loop {
        let came = match input.fill_buf() {
            Ok(came) => came,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                // Nobody may be there any more to be told.
                drop(sender.send(Err(error)));
                return;
            }
        };
        let (len, mut rest) = (came.len(), came);
        if block.long > 0 {
            // Of bytes that are here, this cannot fail.
            let skipped = rest.skip_until(b'\n').unwrap_or(len);
            block.long += skipped;
            if len > 0 && !came[..skipped].ends_with(b"\n") {
                input.consume(len);
                continue;
            }
        }
        let before = block.lines.len();
        block.lines.extend_from_slice(rest);
        input.consume(len);
        let last = block.lines[before..]
            .iter()
            .rposition(|byte| *byte == b'\n');
        let whole = match last {
            Some(end) => before + end + 1,
            None if len == 0 => block.lines.len(),
            None if block.long > 0 => 0,
            None => {
                if block.lines.len() > LONGEST {
                    let long = block.lines.len();
                    block = Block {
                        long,
                        ..Block::default()
                    };
                }
                continue;
            }
        };
        let lines = block.lines.split_off(whole);
        let rest = Block { long: 0, lines };
        let is_end = whole == 0 && block.long == 0;
        if is_end
            || sender
                .send(Ok(std::mem::replace(&mut block, rest)))
                .is_err()
        {
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

#[cfg(test)]
mod tests {
    use std::io::{self, Cursor, Read};

    use super::{Input, LONGEST, NoText};

    /// Gives so many bytes at a time.
    struct Trickle(Cursor<Vec<u8>>, usize);

    impl Read for Trickle {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let some = self.1.min(buffer.len());
            self.0.read(&mut buffer[..some])
        }
    }

    fn lines(text: &[u8], at_once: usize) -> Vec<(u64, String)> {
        let mut input = Input::of(Trickle(Cursor::new(text.to_vec()), at_once));
        let mut lines = Vec::new();
        while let Some(line) = input.next().unwrap() {
            lines.push((line.number, line.text.unwrap().to_owned()));
        }
        lines
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_come() {
        let long = "long ".repeat(40_000);
        let text = format!("one\n\ntwo\r\n{long}\nlast");
        let expected = ["one", "", "two", &long, "last"];
        for at_once in [1, 3, 1_000, 70_000, 1_000_000] {
            let lines = lines(text.as_bytes(), at_once);
            let texts: Vec<_> = lines.iter().map(|(_, text)| &**text).collect();
            assert_eq!(texts, expected, "{at_once} bytes at a time");
            assert!(lines.iter().map(|(number, _)| *number).eq(1..=5));
        }
        assert_eq!(lines(b"", 1), []);
        assert_eq!(lines(b"\n", 1), [(1, String::new())]);
    }

    #[test]
    fn a_line_that_is_no_text_stands_between_those_that_are() {
        let mut input = Input::of(&b"one\n\xff\nthree\n"[..]);
        assert_eq!(input.next().unwrap().unwrap().text, Ok("one"));
        let broken = input.next().unwrap().unwrap();
        let error = broken.object::<serde_json::Value>().unwrap_err();
        assert!(error.contains("utf-8"), "{error}");
        assert_eq!(input.next().unwrap().unwrap().text, Ok("three"));
    }

    #[test]
    fn a_line_beyond_the_bound_is_none_and_the_one_behind_it_is_whole() {
        let line = |len: usize| io::repeat(b'x').take(len as u64).chain(&b"\n"[..]);
        let short = || &b"short\n"[..];
        let text = short()
            .chain(line(LONGEST))
            .chain(line(LONGEST + 1))
            .chain(short())
            .chain(line(LONGEST * 3))
            .chain(line(LONGEST * 2))
            .chain(short())
            .chain(io::repeat(b'x').take(LONGEST as u64 * 2));
        let mut input = Input::of(text);
        let mut lens = Vec::new();
        while let Some(line) = input.next().unwrap() {
            assert_eq!(line.number, lens.len() as u64 + 1);
            let text = line.text.map(str::len);
            if text == Err(NoText::TooLong) {
                let error = line.object::<serde_json::Value>().unwrap_err();
                assert_eq!(error, "longer than 128 MiB");
            }
            lens.push((line.len, text.ok()));
        }
        let short = (6, Some(5));
        assert_eq!(
            lens,
            [
                short,
                (LONGEST + 1, Some(LONGEST)),
                (LONGEST + 2, None),
                short,
                (LONGEST * 3 + 1, None),
                (LONGEST * 2 + 1, None),
                short,
                (LONGEST * 2, None),
            ]
        );
    }

    #[test]
    fn a_byte_order_mark_belongs_to_no_line() {
        let marked = "\u{feff}{}\n\u{feff}\n";
        let expected = [(1, "{}".to_owned()), (2, "\u{feff}".to_owned())];
        for at_once in [1, 2, 100] {
            assert_eq!(lines(marked.as_bytes(), at_once), expected);
        }
    }
}
