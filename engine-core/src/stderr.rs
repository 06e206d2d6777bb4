//! Lines for whoever operates the program, on standard error.

use std::fmt;
use std::io::{self, Write};

/// Writes a formatted line to standard error, at once and whole.
///
/// A line that cannot be written, since nobody reads any more or the disk behind it is full, is lost and stops nothing:
/// `eprintln!` would panic, and a partition's writer with it.
#[macro_export]
macro_rules! say {
    ($($line:tt)+) => {
        $crate::stderr::write_line(::std::format_args!($($line)+))
    };
}

/// Writes a line for [`say`](crate::say).
pub fn write_line(line: fmt::Arguments<'_>) {
    drop(io::stderr().write_all(format!("{line}\n").as_bytes()));
}

/// Words on one line, where whatever would end it or command the terminal is written out.
///
/// Guests choose their words, and those that could begin a line would speak for the host.
pub fn one_line(words: impl fmt::Display) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_on_their_line_and_command_no_terminal() {
        let words = "x\r\nhost: y\u{1b}[2J\u{9b}2J\u{7f}\tü \\n";
        let line = r"x\r\nhost: y\u{1b}[2J\u{9b}2J\u{7f}".to_owned() + "\tü \\n";
        assert_eq!(one_line(words), line);
    }
}
