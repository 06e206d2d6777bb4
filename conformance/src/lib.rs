//! One behaviour suite for every engine
