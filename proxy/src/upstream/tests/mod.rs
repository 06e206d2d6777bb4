//! What clusters do on real connections.
