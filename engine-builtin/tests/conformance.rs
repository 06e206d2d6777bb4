//! The behaviour suite on engine `builtin`.

// Links the suite's guest in.
use suite as _;

conformance::suite!(builtin, engine_builtin::BuiltinFactory);
