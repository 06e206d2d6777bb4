//! Tests that cross crates: engine against engine, and one mutant engine per invariant.
