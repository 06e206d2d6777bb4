//! What runs functions: loaded code, and the sandboxes that are made of it.

use std::fmt;

use engine_core::error::Result;

use crate::signature::Function;
use crate::value::Value;

/// A line that a function logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// The plugin.
    pub plugin: &'a str,
    /// The function.
    pub function: &'a str,
    /// The level, as the function gave it.
    pub level: &'a str,
    /// The message.
    pub message: &'a str,
}

/// Who takes the lines that functions log.
pub type Logger = dyn Fn(&LogLine<'_>) + Send + Sync;

/// A plugin's code, loaded; shared by all threads.
pub(crate) trait Code: Send + Sync + fmt::Debug {
    /// The functions, in the order of their numbers, with all that is known of what they take and give.
    fn functions(&self) -> &[Function];

    /// Makes a sandbox for the thread that calls this.
    fn start(&self) -> Result<Box<dyn Vm>>;
}

/// One sandbox, on the thread that made it; after a failure the next call finds a clean one.
pub(crate) trait Vm {
    /// Calls the function of this number.
    fn call(&mut self, function: usize, args: &[Value]) -> Result<Value>;

    /// Calls it for each row, in as few crossings as the code allows, and hands over each result in order.
    fn call_batch(
        &mut self,
        function: usize,
        rows: &[Vec<Value>],
        take: &mut dyn FnMut(Result<Value>),
    ) {
        for row in rows {
            take(self.call(function, row));
        }
    }

    /// Calls it for rows of plain numbers; false where the function is not one of numbers only.
    ///
    /// # Errors
    /// The first row's that fails.
    #[cfg(all(feature = "arrow", feature = "wasm"))]
    fn call_numbers(&mut self, _function: usize, _rows: &mut dyn Numbers) -> Result<bool> {
        Ok(false)
    }

    /// Makes ready what the next call would wait for.
    fn prepare(&mut self);
}

/// Rows of plain numbers, each in 64 bits: an integer of 32 bits in the lower half, a float by its bits.
#[cfg(all(feature = "arrow", feature = "wasm"))]
pub(crate) trait Numbers {
    /// Fills the places with the next row's arguments; false behind the last row, however often it is asked.
    fn next(&mut self, places: &mut [u64]) -> bool;

    /// Takes the row's results.
    fn take(&mut self, places: &[u64]) -> Result<()>;
}
