//! Engine lua: Luau extensions
