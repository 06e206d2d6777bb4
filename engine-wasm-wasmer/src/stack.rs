//! The one size of all guests' stacks.
//!
//! Wasmer takes stacks from one pool for the whole process and wants of each only that it be large enough. So a limit
//! is kept only if all stacks are of its size, and nobody else in the process may change wasmer's setting.

use std::ops::RangeInclusive;
use std::sync::OnceLock;

use wasmer::sys::vm::{MAX_STACK_SIZE, get_stack_size, set_stack_size};

/// The sizes in bytes that wasmer makes stacks of; it takes the nearest to any other.
pub(crate) const RANGE: RangeInclusive<usize> = (8 << 10)..=MAX_STACK_SIZE;

static SIZE: OnceLock<usize> = OnceLock::new();

/// Makes all stacks of the process this large, or nearly so where wasmer makes none so small or so large, unless an
/// earlier engine settled that.
pub(crate) fn settle(bytes: u32) {
    SIZE.get_or_init(|| {
        set_stack_size(bytes as usize);
        get_stack_size()
    });
}

/// The size of all stacks in bytes, once an engine was made.
pub(crate) fn size() -> Option<usize> {
    SIZE.get().copied()
}
