//! Words of guests, as an operator's terminal may have them.

use std::fmt::Display;

use extengine::contract::say;
use extengine::partition::LogLine;
use extengine::{Error, ErrorKind};

/// Words on one line, where whatever would end it or command the terminal is written out.
///
/// Guests choose their words, and those that could begin a line would speak for the host.
pub(crate) fn one_line(words: impl Display) -> String {
    let words = words.to_string();
    let mut line = String::with_capacity(words.len());
    for letter in words.chars() {
        if letter.is_control() && letter != '\t' {
            line.extend(letter.escape_default());
        } else {
            line.push(letter);
        }
    }
    line
}

/// What an error says: on one line, unless it is a report of several problems.
pub(crate) fn report(error: &Error) -> String {
    let behind = match error.kind() {
        // Each line names its place.
        ErrorKind::Manifest => "\n",
        ErrorKind::Package => INDENTED,
        _ => return one_line(error),
    };
    lines(&error.to_string(), behind)
}

/// What begins a line that goes on where the one before it ended.
const INDENTED: &str = "\n  ";

fn lines(text: &str, behind: &str) -> String {
    let lines: Vec<_> = text.lines().map(one_line).collect();
    lines.join(behind)
}

/// What a proxy logs, itself or in the words of a filter; its own reports may have several lines.
#[cfg(feature = "filters")]
pub(crate) fn logged(name: &str, text: &str) -> String {
    match name {
        "proxy" => lines(text, INDENTED),
        _ => one_line(text),
    }
}

/// Says what an extension logs.
pub(crate) fn log(line: &LogLine<'_>) {
    let (level, message) = (one_line(line.level), one_line(line.message));
    say!("[{level}] {}: {message}", line.extension);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "filters")]
    #[test]
    fn lines_of_a_filter_are_one_and_those_of_the_proxy_are_indented() {
        let text = "one\ninfo proxy: two\u{1b}[2J";
        let filter = "one\\ninfo proxy: two\\u{1b}[2J";
        assert_eq!(logged("filter", text), filter);
        let proxy = "one\n  info proxy: two\\u{1b}[2J";
        assert_eq!(logged("proxy", text), proxy);
    }

    #[test]
    fn words_stay_on_their_line_and_command_no_terminal() {
        let words = "x\r\nhost: y\u{1b}[2J\u{9b}2J\u{7f}\tü \\n";
        let line = r"x\r\nhost: y\u{1b}[2J\u{9b}2J\u{7f}".to_owned() + "\tü \\n";
        assert_eq!(one_line(words), line);
        let says = |kind| report(&Error::new(kind, "one\ntwo\u{1b}"));
        assert_eq!(says(ErrorKind::Rejected), "one\\ntwo\\u{1b}");
        assert_eq!(says(ErrorKind::Package), "one\n  two\\u{1b}");
        assert_eq!(says(ErrorKind::Manifest), "one\ntwo\\u{1b}");
    }
}
