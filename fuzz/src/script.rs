//! A guest that does what the fuzzer's bytes say: writes to its memory, calls its host, grows, traps and answers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use engine_core::error::{Error, ErrorKind, Result};

use crate::input::Input;
use crate::runtime::{Behaviour, Import, Inside};

/// What functions of proxy-wasm answer.
const STATUSES: [u64; 10] = [0, 1, 2, 3, 4, 6, 7, 8, 10, 12];

/// How many results of host functions a script remembers.
const REMEMBERED: usize = 8;

/// The script that all guests of an engine follow, one where the other left off, until it is used up.
#[derive(Debug)]
pub struct Script {
    /// What a guest writes at one stroke: names, keys, blocks and lists as the host wants them.
    words: Vec<Vec<u8>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    at: usize,
    results: [u64; REMEMBERED],
    last: usize,
}

/// What a guest does next.
enum Step {
    Answer(u64),
    Write(u32, Vec<u8>),
    Call(usize, Vec<u64>),
    Grow(usize),
    Trap,
}

impl Script {
    /// A script without a step, for guests that know these words.
    pub fn new(words: Vec<Vec<u8>>) -> Self {
        Self {
            words,
            state: Mutex::default(),
        }
    }

    /// Begins another script.
    pub fn play(&self, bytes: &[u8]) {
        *self.state() = State {
            bytes: bytes.to_vec(),
            ..State::default()
        };
    }

    /// Whether it is used up.
    pub fn is_over(&self) -> bool {
        let state = self.state();
        state.at == state.bytes.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, guest: &dyn Inside, imports: &[Import]) -> Step {
        let state = &mut *self.state();
        let mut input = Input::new(&state.bytes[state.at..]);
        let number = |input: &mut Input<'_>| number(input, guest.memory().len(), &state.results);
        let step = match input.byte() {
            0..=0x2f => Step::Answer(number(&mut input)),
            0x30..=0x4f => Step::Write(number(&mut input) as u32, input.bytes().to_vec()),
            0x50..=0x6f => {
                Step::Write(number(&mut input) as u32, input.one_of(&self.words).clone())
            }
            0x70..=0x7f => Step::Write(
                number(&mut input) as u32,
                (number(&mut input) as u32).to_le_bytes().to_vec(),
            ),
            0x80..=0xf7 => {
                let import = input.below(imports.len());
                let params = imports[import].params.iter();
                Step::Call(import, params.map(|_| number(&mut input)).collect())
            }
            0xf8..=0xfd => Step::Grow(usize::from(input.byte())),
            _ => Step::Trap,
        };
        state.at = state.bytes.len() - input.len();
        step
    }

    fn remember(&self, result: u64) {
        let state = &mut *self.state();
        state.results[state.last % REMEMBERED] = result;
        state.last += 1;
    }
}

/// A number as guests use them: small, a place in memory, one near its end, a host's answer, or anything.
fn number(input: &mut Input<'_>, memory: usize, results: &[u64; REMEMBERED]) -> u64 {
    let small = |byte: u8, first: u8| u64::from(byte - first);
    match input.byte() {
        byte @ 0..=0x3f => small(byte, 0),
        byte @ 0x40..=0x9f => 64 * small(byte, 0x40),
        byte @ 0xa0..=0xaf => results[usize::from(byte) % REMEMBERED],
        byte @ 0xb0..=0xbf => results[usize::from(byte) % REMEMBERED] >> 32,
        byte @ 0xc0..=0xcf => u64::MAX - small(byte, 0xc0),
        byte @ 0xd0..=0xdf => memory as u64 - small(byte, 0xd0),
        0xe0..=0xf7 => u64::from(input.byte()) << 8 | u64::from(input.byte()),
        _ => input.wide(),
    }
}

impl Behaviour for Script {
    fn call(&self, _: &str, places: &mut [u64], guest: &mut dyn Inside) -> Result<()> {
        let imports = guest.imports();
        loop {
            match self.step(guest, &imports) {
                Step::Answer(number) => {
                    if let Some(place) = places.first_mut() {
                        *place = number;
                    }
                    return Ok(());
                }
                Step::Write(at, bytes) => guest.write(at, &bytes),
                Step::Grow(bytes) => guest.grow(bytes),
                Step::Trap => return Err(Error::new(ErrorKind::Trap, "the script says so")),
                Step::Call(import, args) => {
                    let result = guest.host(import, &args)?;
                    let name = imports[import].name;
                    let known = !name.starts_with("proxy_") || STATUSES.contains(&result);
                    assert!(known, "`{name}` answered {result}");
                    self.remember(result);
                }
            }
        }
    }
}
