//! What is wrong with a manifest, gathered over the whole text.

use std::cell::RefCell;
use std::ops::Range;

use engine_core::error::{Error, ErrorKind, Result};

/// Every problem found so far, each at its place in the text.
#[derive(Debug)]
pub(super) struct Problems<'a> {
    file: &'a str,
    text: &'a str,
    found: RefCell<Vec<(usize, String)>>,
}

impl<'a> Problems<'a> {
    /// Starts without problems for the text of a file of this name.
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            text,
            found: RefCell::default(),
        }
    }

    /// Adds a problem of the bytes in `span`.
    pub(super) fn add(&self, span: Range<usize>, message: impl Into<String>) {
        self.found.borrow_mut().push((span.start, message.into()));
    }

    /// Leaves only the first problem of each line, since one syntax error brings others with it.
    pub(super) fn keep_first_of_each_line(&self) {
        let mut found = self.found.borrow_mut();
        found.sort_by_key(|(offset, _)| *offset);
        found.dedup_by_key(|(offset, _)| self.position(*offset).0);
    }

    /// Succeeds where no problem was found.
    ///
    /// # Errors
    /// `manifest` with one line a problem, in the order of the text.
    pub(super) fn check(&self) -> Result<()> {
        let mut found = self.found.borrow_mut();
        if found.is_empty() {
            return Ok(());
        }
        found.sort_by_key(|(offset, _)| *offset);
        let lines: Vec<_> = found.iter().map(|problem| self.line(problem)).collect();
        Err(Error::new(ErrorKind::Manifest, lines.join("\n")))
    }

    fn line(&self, (offset, message): &(usize, String)) -> String {
        let (line, column) = self.position(*offset);
        let mut text = format!("{}:{line}:{column}: ", self.file);
        for c in message.chars() {
            // A name or schema with line breaks does not break the report's lines.
            if c.is_control() {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        text
    }

    /// The line and the character in it of a byte, both from 1.
    fn position(&self, offset: usize) -> (usize, usize) {
        let bytes = self.text.as_bytes();
        let before = &bytes[..offset.min(bytes.len())];
        let start = before
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(0, |i| i + 1);
        let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
        let is_char_start = |&&b: &&u8| b & 0xc0 != 0x80;
        let column = 1 + before[start..].iter().filter(is_char_start).count();
        (line, column)
    }
}
