//! The extengine command line, as a library with a thin binary
