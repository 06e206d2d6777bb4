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
