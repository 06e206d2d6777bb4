//! Native filters as an example: a program that links this crate knows them by name.
//!
//! - `example.redact`: [hides fields of JSON](redact::Redact) in bodies that stream by.
//! - `example.authorise`: [asks a service](authorise::Authorise) whether a request may pass.

pub mod authorise;
pub mod redact;

filters::native_filter!("example.redact", redact::Redact);
filters::native_filter!("example.authorise", authorise::Authorise);
