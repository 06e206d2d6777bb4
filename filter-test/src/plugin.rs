//! What cases are run for: something that is started for each case and makes filters then.

use std::rc::Rc;

use bytes::Bytes;
use engine_core::error::Result;
use filters::Filter;

use crate::case::Setup;
use crate::world::World;

/// A plugin of any kind, one variant of it.
pub trait Plugin {
    /// The variant, such as the runtime's name. Variants of one run must answer alike.
    fn name(&self) -> &str;

    /// Starts it for a case.
    ///
    /// # Errors
    /// What keeps it from starting; a case may want that.
    fn start(&self, setup: &Setup, world: &Rc<World>) -> Result<Box<dyn Subject>>;
}

/// A plugin that was started for a case.
pub trait Subject {
    /// A filter for a new stream.
    fn filter(&self) -> Box<dyn Filter>;

    /// When [`Subject::tick`] is to be called next, in nanoseconds since 1970.
    fn next_tick(&self) -> Option<u64> {
        None
    }

    /// Does what is due by the world's clock.
    fn tick(&self) {}

    /// Does what waits to be done outside of the streams' callbacks; answers whether there was anything.
    ///
    /// Nothing else is waited for: a plugin with work on other threads waits for it here.
    fn deliver(&self) -> bool {
        false
    }

    /// Data that filters share, by its key.
    fn shared(&self, _key: &[u8]) -> Option<Bytes> {
        None
    }
}

/// A native filter: its name, and what makes one.
///
/// It has no configuration: what makes one knows it.
#[derive(Clone, Copy, Debug)]
pub struct Native<M>(pub &'static str, pub M);

impl<M: Fn() -> Box<dyn Filter> + Clone + 'static> Plugin for Native<M> {
    fn name(&self) -> &str {
        self.0
    }

    fn start(&self, _: &Setup, _: &Rc<World>) -> Result<Box<dyn Subject>> {
        Ok(Box::new(Made(self.1.clone())))
    }
}

struct Made<M>(M);

impl<M: Fn() -> Box<dyn Filter>> Subject for Made<M> {
    fn filter(&self) -> Box<dyn Filter> {
        (self.0)()
    }
}
