//! The flights example with its native extensions
