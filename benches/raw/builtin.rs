//! Raw native code: the extensions' functions, called through their pointers over the rows where they lie.

use std::cell::RefCell;
use std::fmt;
use std::hint::black_box;

use extengine_guest::{Backend, Error, ErrorKind, KeyBuilder, Op, Row, Run, State, extensions};

use crate::Subject;
use crate::application::{EXTENSIONS, STORAGES};
use crate::world::World;

/// The functions, in the order of the benches' extensions.
pub struct RawBuiltin {
    runs: Vec<Run>,
    host: Bare,
    buffer: Vec<u8>,
}

#[derive(Default)]
struct Bare {
    emitted: RefCell<Vec<u8>>,
}

impl Default for RawBuiltin {
    fn default() -> Self {
        let run = |name| {
            let mut linked = extensions().filter(|linked| linked.package() == "bench-guest");
            linked
                .find(|linked| linked.name == name)
                .map(|linked| linked.run)
        };
        let runs = EXTENSIONS.iter().map(|(name, ..)| run(*name));
        Self {
            runs: runs.collect::<Option<_>>().expect("the guest is linked in"),
            host: Bare::default(),
            buffer: vec![0; super::BUFFER],
        }
    }
}

impl RawBuiltin {
    /// Copies the blobs of a group, row by row, through a buffer.
    pub fn copy(&mut self, prefix: &[u8]) {
        super::copy(prefix, |at, piece| {
            self.buffer[at..at + piece.len()].copy_from_slice(piece);
        });
        black_box(&self.buffer);
    }
}

impl Subject for RawBuiltin {
    fn ask(&mut self, extension: usize, args: &[u8]) {
        self.host.emitted.borrow_mut().clear();
        let ended = self.runs[extension](&mut State::new(&self.host), &Row::new(args));
        ended.expect("the extension ends well");
    }
}

impl Backend for Bare {
    fn get<'run>(&'run self, key: &KeyBuilder) -> Result<Option<Row<'run>>, Error> {
        let row = World::get().row(number(key.storage()), key.as_bytes());
        Ok(row.map(Row::new))
    }

    fn read(&self, _: &KeyBuilder, _: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Error> {
        Err(Error::new(
            ErrorKind::Io,
            "ranges are copied without the guest",
        ))
    }

    fn call(&self, _: &str, _: &[u8]) -> Result<Vec<u8>, Error> {
        Err(Error::rejected("there are no foreign functions here"))
    }

    fn write(&self, op: Op, storage: &str, key: &[u8], value: &[u8]) {
        let mut emitted = self.emitted.borrow_mut();
        emitted.push(op as u8);
        emitted.push(number(storage) as u8);
        emitted.extend_from_slice(key);
        emitted.extend_from_slice(value);
    }
}

fn number(storage: &str) -> usize {
    let place = STORAGES.iter().position(|(name, ..)| *name == storage);
    place.unwrap_or(STORAGES.len())
}

impl fmt::Debug for RawBuiltin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawBuiltin").finish_non_exhaustive()
    }
}
