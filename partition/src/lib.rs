//! The single writer that owns a host state, a command log and its extensions
