//! The chain: what its filters are told, what comes out, and what happens to filters that misbehave.

mod passing;
mod replies;
mod script;
mod tcp;
