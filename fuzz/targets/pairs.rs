//! Header maps and paths of properties, as filters of the proxy-wasm ABI give them: a map is taken exactly where the form
//! says that it is one, comes back in its one form, and a property comes back as it was set.
#![no_main]

use std::rc::Rc;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use engine_core::error::Result;
use engine_wasm_abi::engine::WasmEngine;
use filters::{Chain, Direction, Headers, Settings, StreamInfo, Worker};
use fuzz::filters::{World, plugin};
use fuzz::input::Input;
use fuzz::runtime::{Behaviour, Inside, MEMORY, Scripted};
use libfuzzer_sys::fuzz_target;
use proxy_wasm::{Options, ProxyWasm, Thread};

const OK: u64 = 0;
const NOT_FOUND: u64 = 1;

/// Where the guest puts what it gives, and where it learns where an answer is.
const GIVEN: u32 = MEMORY as u32;
const ANSWER: u32 = 16;

/// A guest that asks about its bytes when the headers of a request come.
#[derive(Debug, Default)]
struct Asker(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    data: Vec<u8>,
    /// Where the next block goes.
    next: u64,
}

impl Asker {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Behaviour for Asker {
    fn call(&self, export: &str, places: &mut [u64], guest: &mut dyn Inside) -> Result<()> {
        let answer = match export {
            "proxy_on_memory_allocate" => {
                let kept = &mut *self.kept();
                kept.next += places[0];
                guest.grow(places[0] as usize);
                kept.next - places[0]
            }
            "proxy_on_request_headers" => {
                let data = self.kept().data.clone();
                guest.grow(data.len());
                self.kept().next = guest.memory().len() as u64;
                ask(&data, guest)?;
                0
            }
            "proxy_on_vm_start" | "proxy_on_configure" | "proxy_on_done" => 1,
            _ => 0,
        };
        if let Some(place) = places.first_mut() {
            *place = answer;
        }
        Ok(())
    }
}

fn host(guest: &mut dyn Inside, name: &str, args: &[u64]) -> Result<u64> {
    let import = guest
        .imports()
        .iter()
        .position(|import| import.name == name);
    guest.host(import.expect("an import"), args)
}

/// What a function answers that says at its end where its answer is.
fn answer(guest: &mut dyn Inside, name: &str, args: &[u64]) -> Result<(u64, Vec<u8>)> {
    let places = [ANSWER.into(), u64::from(ANSWER) + 4];
    let status = host(guest, name, &[args, &places].concat())?;
    let number = |at: u32| {
        let bytes = guest.memory()[at as usize..].first_chunk();
        u32::from_le_bytes(*bytes.expect("four bytes")) as usize
    };
    let (at, len) = (number(ANSWER), number(ANSWER + 4));
    let bytes = match status {
        OK => guest.memory()[at..at + len].to_vec(),
        _ => Vec::new(),
    };
    Ok((status, bytes))
}

fn ask(data: &[u8], guest: &mut dyn Inside) -> Result<()> {
    let mut input = Input::new(data);
    if input.flag() {
        let path = input.bytes();
        return ask_property(path, input.rest(), guest);
    }
    ask_map(input.rest(), guest)
}

/// Gives the map of the request's headers.
fn set(bytes: &[u8], guest: &mut dyn Inside) -> Result<u64> {
    guest.write(GIVEN, bytes);
    host(
        guest,
        "proxy_set_header_map_pairs",
        &[0, GIVEN.into(), bytes.len() as u64],
    )
}

fn ask_map(bytes: &[u8], guest: &mut dyn Inside) -> Result<()> {
    let status = set(bytes, guest)?;
    let wanted = pairs(bytes);
    assert_eq!(
        status == OK,
        wanted.is_some(),
        "status {status} for {wanted:?}"
    );
    let Some(wanted) = wanted else { return Ok(()) };
    let (status, first) = answer(guest, "proxy_get_header_map_pairs", &[0])?;
    assert_eq!(status, OK);
    assert_eq!(pairs(&first), Some(wanted), "what came back of the map");
    host(guest, "proxy_get_header_map_size", &[0, ANSWER.into()])?;
    assert_eq!(
        guest.memory()[ANSWER as usize..][..4],
        (first.len() as u32).to_le_bytes()
    );
    assert_eq!(set(&first, guest)?, OK);
    let (_, second) = answer(guest, "proxy_get_header_map_pairs", &[0])?;
    assert_eq!(second, first, "what came back of what came back");
    Ok(())
}

/// The pairs of a map, with names in lower case; written beside the host's own reading of the form.
fn pairs(bytes: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    if matches!(bytes, [] | [0]) {
        return Some(Vec::new());
    }
    let number = |place: usize| {
        let bytes = bytes.get(4 * place..4 * place + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    let count = number(0)?;
    let mut at = 4 + 8 * count;
    let mut text = |len: usize| {
        let text = bytes.get(at..at.checked_add(len)?)?;
        at += len + 1;
        (bytes.get(at - 1)? == &0).then_some(text)
    };
    let mut pairs = Vec::new();
    for pair in 0..count {
        let name = text(number(1 + 2 * pair)?)?.to_ascii_lowercase();
        pairs.push((name, text(number(2 + 2 * pair)?)?.to_vec()));
    }
    (at == bytes.len()).then_some(pairs)
}

fn ask_property(path: &[u8], value: &[u8], guest: &mut dyn Inside) -> Result<()> {
    guest.write(GIVEN, path);
    let behind = GIVEN + path.len() as u32;
    guest.write(behind, value);
    let path_at = [GIVEN.into(), path.len() as u64];
    let (before, told) = answer(guest, "proxy_get_property", &path_at)?;
    assert!(matches!(before, OK | NOT_FOUND), "status {before}");
    let args = [path_at[0], path_at[1], behind.into(), value.len() as u64];
    assert_eq!(host(guest, "proxy_set_property", &args)?, OK);
    let own: [&[u8]; 3] = [b"plugin_name", b"plugin_root_id", b"plugin_vm_id"];
    if !own.contains(&path.strip_suffix(&[0]).unwrap_or(path)) {
        let (status, found) = answer(guest, "proxy_get_property", &path_at)?;
        // Of what the host itself speaks, it says what it said before.
        let is_kept = (status, &found[..]) == (OK, value);
        assert!(is_kept || (status, &found) == (before, &told) || status == NOT_FOUND);
    }
    Ok(())
}

static ASKER: LazyLock<Arc<Asker>> = LazyLock::new(Arc::default);
static ENGINE: LazyLock<WasmEngine<Scripted>> = LazyLock::new(|| Scripted::engine(ASKER.clone()));

fuzz_target!(|data: &[u8]| {
    // More than that would not find room in a guest.
    if data.len() > MEMORY {
        return;
    }
    *ASKER.kept() = Kept {
        data: data.to_vec(),
        next: 0,
    };
    let process = ProxyWasm::new(Options::default());
    let plugin = process.load_on(&ENGINE, plugin(false)).expect("a plugin");
    let worker = Rc::new(World::default()) as Rc<dyn Worker>;
    let thread = Thread::new(&process, Rc::clone(&worker), Arc::new(drop));
    let instance = thread.start(&plugin).expect("it starts");
    let info = StreamInfo {
        source: Some(([127, 0, 0, 1], 80).into()),
        ..StreamInfo::default()
    };
    let mut chain = Chain::new(vec![instance.filter()], info, Settings::default(), worker);
    let headers = Headers::from_iter([(":path", "/a?b"), ("x-a", "1")]);
    chain.headers(Direction::Request, headers, true);
    assert!(chain.take(Direction::Request).is_some(), "the guest failed");
});
