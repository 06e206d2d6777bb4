//! The verbs on small applications, as their user runs them: lines in, lines out, exit status and what is said.

#![cfg(all(feature = "lua", feature = "builtin"))]
#![allow(clippy::unwrap_used, reason = "a test may panic where it is set up")]

mod check;
mod folders;
mod projectors;
mod run;
mod streams;
mod support;
mod words;
