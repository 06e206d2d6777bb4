//! Guests in WebAssembly's text form, for what no SDK would let a guest do.

use engine_core::manifest::{ExtensionDecl, ExtensionKind};

use crate::suite;

/// Where the guest keeps the result block that it hands over.
pub const RESULT: u32 = 256;
/// Where the guest keeps a key block.
pub const KEY: u32 = 512;
/// Where the host is to write an element's address.
pub const ELEMENT: u32 = 768;
/// Where the guest keeps its intents.
pub const INTENTS: u32 = 1024;
/// Where the one result row of [`Guest::asking`] lies: an array of one small integer.
const ROW: u32 = INTENTS + 16;

/// A guest that follows ABI 1.0, of parts that a case replaces or leaves out.
#[derive(Clone, Debug)]
pub struct Guest {
    parts: Vec<(&'static str, String)>,
}

/// The parts, with which a guest answers ok and asks for nothing.
const PARTS: [(&str, &str); 12] = [
    (
        "get",
        r#"(import "env" "HostGetElem" (func $get (param i32 i32) (result i32)))"#,
    ),
    (
        "read",
        r#"(import "env" "HostReadElems" (func $read (param i32 i32) (result i32)))"#,
    ),
    ("imports", ""),
    ("memory", r#"(memory (export "memory") 2)"#),
    ("version", r#"(func (export "WasmAbiVersion_1_0"))"#),
    ("init", r#"(func (export "WasmInit"))"#),
    (
        "malloc",
        r#"(func $malloc (export "WasmMalloc") (param $size i32) (result i32)
             (global.get $top)
             (global.set $top (i32.add (global.get $top) (local.get $size))))"#,
    ),
    (
        "run",
        r#"(func (export "WasmRun") (param i32 i32 i32) (result i32) (i32.const 0))"#,
    ),
    (
        "reset",
        r#"(func (export "WasmReset") (global.set $top (i32.const 32768)))"#,
    ),
    ("finit", r#"(func (export "WasmFinit"))"#),
    (
        "on_read",
        r#"(func (export "WasmOnRead") (param $ctx i32) (param $key i32) (param $element i32))"#,
    ),
    (
        "more",
        r#"(global $top (mut i32) (i32.const 32768)) (global $n (mut i32) (i32.const 0))"#,
    ),
];

/// The parts that are exports which every guest must have, with their names.
pub const EXPORTS: [(&str, &str); 8] = [
    ("memory", "memory"),
    ("version", "WasmAbiVersion_1_0"),
    ("init", "WasmInit"),
    ("malloc", "WasmMalloc"),
    ("run", "WasmRun"),
    ("reset", "WasmReset"),
    ("finit", "WasmFinit"),
    ("on_read", "WasmOnRead"),
];

/// Where a guest of ABI 1.1 keeps its exchange header: 1 KiB of input at [`INPUT`], output at [`OUTPUT`].
pub const HEADER: u32 = 64;
/// Where a guest of ABI 1.1 takes arguments.
pub const INPUT: u32 = 1024;
/// Where a guest of ABI 1.1 keeps the records that it hands over.
pub const OUTPUT: u32 = 2048;
/// Where a guest of ABI 1.1 takes values and rows.
pub const BUFFER: u32 = 8192;

/// The parts of a guest of ABI 1.1, with which it answers ok and asks for nothing.
const PARTS_1_1: [(&str, &str); 11] = [
    (
        "imports",
        r#"(import "env" "HostStorage" (func $storage (param i32 i32) (result i32)))
           (import "env" "HostGet" (func $get (param i32 i32 i32 i32 i32) (result i32)))
           (import "env" "HostTake" (func $take (param i32 i32) (result i32)))
           (import "env" "HostScan" (func $scan (param i32 i32 i32) (result i32)))
           (import "env" "HostRows" (func $rows (param i32 i32 i32) (result i32)))
           (import "env" "HostClose" (func $close (param i32)))
           (import "env" "HostNext" (func $next (param i32) (result i64)))
           (import "env" "HostForeign" (func $foreign (param i32 i32) (result i32)))
           (import "env" "HostCall" (func $call (param i32 i32 i32 i32 i32) (result i32)))"#,
    ),
    ("memory", r#"(memory (export "memory") 2)"#),
    ("version", r#"(func (export "WasmAbiVersion_1_1"))"#),
    ("init", r#"(func (export "WasmInit"))"#),
    (
        "exchange",
        r#"(func (export "WasmExchange") (result i32) (i32.const 64))"#,
    ),
    (
        "reserve",
        r#"(func (export "WasmReserve") (param $size i32))"#,
    ),
    (
        "resolve",
        r#"(func (export "WasmResolve") (param $kind i32) (param $len i32) (result i32) (i32.const 7))"#,
    ),
    (
        "invoke",
        r#"(func $invoke (export "WasmInvoke") (param $extension i32) (param $len i32) (result i32) (i32.const 0))"#,
    ),
    (
        "batch",
        r#"(func (export "WasmBatch") (param $extension i32) (param $len i32)
             (local $next i64)
             (loop $again
               (local.set $next (call $next (call $invoke (local.get $extension) (local.get $len))))
               (if (i64.lt_s (local.get $next) (i64.const 0)) (then (return)))
               (local.set $extension (i32.wrap_i64 (i64.shr_u (local.get $next) (i64.const 32))))
               (local.set $len (i32.wrap_i64 (local.get $next)))
               (br $again)))"#,
    ),
    ("finit", r#"(func (export "WasmFinit"))"#),
    ("more", r#"(global $n (mut i32) (i32.const 0))"#),
];

/// The parts that are exports which every guest of ABI 1.1 must have, with their names.
pub const EXPORTS_1_1: [(&str, &str); 9] = [
    ("memory", "memory"),
    ("version", "WasmAbiVersion_1_1"),
    ("init", "WasmInit"),
    ("exchange", "WasmExchange"),
    ("reserve", "WasmReserve"),
    ("resolve", "WasmResolve"),
    ("invoke", "WasmInvoke"),
    ("batch", "WasmBatch"),
    ("finit", "WasmFinit"),
];

impl Default for Guest {
    fn default() -> Self {
        let parts = PARTS.map(|(name, text)| (name, text.to_owned()));
        Self {
            parts: parts.into(),
        }
    }
}

impl Guest {
    /// A guest that follows ABI 1.1, with this header.
    pub fn of_1_1_with(header: [u32; 4]) -> Self {
        let parts = PARTS_1_1.map(|(name, text)| (name, text.to_owned()));
        let guest = Self {
            parts: parts.into(),
        };
        guest.data(HEADER, &le(&header))
    }

    /// A guest that follows ABI 1.1.
    pub fn of_1_1() -> Self {
        Self::of_1_1_with([INPUT, 1024, OUTPUT, 0])
    }

    /// Sets the body of `WasmInvoke`, which answers a status.
    #[must_use]
    pub fn invoke(self, body: &str) -> Self {
        self.with(
            "invoke",
            format!(
                r#"(func $invoke (export "WasmInvoke")
                     (param $extension i32) (param $len i32) (result i32) {body})"#
            ),
        )
    }

    /// Hands over these records of ABI 1.1 with a status.
    #[must_use]
    pub fn handing_over(self, status: u32, records: &[u8]) -> Self {
        let len = records.len();
        self.data(OUTPUT, records).invoke(&format!(
            "(i32.store (i32.const {}) (i32.const {len})) (i32.const {status})",
            HEADER + 12
        ))
    }

    /// Answers the number, from 0 to 127, that an expression gives; the extension's result is `n: int`.
    #[must_use]
    pub fn answering_1_1(self, expression: &str) -> Self {
        let row = record_1_1(0, 0, &[], &[0x91, 0]);
        self.data(OUTPUT, &row).invoke(&format!(
            "(i32.store8 (i32.const {}) {expression})
             (i32.store (i32.const {}) (i32.const {})) (i32.const 0)",
            OUTPUT + 17,
            HEADER + 12,
            row.len()
        ))
    }

    /// Replaces a part; an empty text leaves it out.
    #[must_use]
    pub fn with(mut self, part: &str, text: impl Into<String>) -> Self {
        let found = self.parts.iter_mut().find(|(name, _)| *name == part);
        found.expect("a part").1 = text.into();
        self
    }

    /// Adds items behind the others.
    #[must_use]
    pub fn and(mut self, items: impl AsRef<str>) -> Self {
        let more = self.parts.last_mut().expect("a part");
        more.1.push_str(items.as_ref());
        self
    }

    /// Puts bytes into the memory.
    #[must_use]
    pub fn data(self, at: u32, bytes: &[u8]) -> Self {
        let escaped: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
        self.and(format!("(data (i32.const {at}) \"{escaped}\")"))
    }

    /// Sets the body of `WasmRun`.
    #[must_use]
    pub fn run(self, body: &str) -> Self {
        self.with(
            "run",
            format!(
                r#"(func (export "WasmRun")
                     (param $name i32) (param $kind i32) (param $args i32) (result i32) {body})"#
            ),
        )
    }

    /// Hands over a result block with this status, message and intents region.
    #[must_use]
    pub fn answering(self, status: u32, message: &[u8], intents: &[u8]) -> Self {
        let at = INTENTS + intents.len() as u32;
        let block = [
            status,
            message.len() as u32,
            at,
            intents.len() as u32,
            INTENTS,
        ];
        self.data(RESULT, &le(&block))
            .data(INTENTS, intents)
            .data(at, message)
            .run(&format!("(i32.const {RESULT})"))
    }

    /// Answers the number, from 0 to 127, that an expression gives; the extension's result is `n: int`.
    #[must_use]
    pub fn asking(self, expression: &str) -> Self {
        self.answering(0, b"", &record(0, "", &[], &[0x91, 0]))
            .run(&format!(
                "(i32.store8 (i32.const {}) {expression}) (i32.const {RESULT})",
                ROW + 1
            ))
    }

    /// Puts a key block where [`KEY`] is.
    #[must_use]
    pub fn key(self, storage: &str, key: &[u8]) -> Self {
        let head = le(&[storage.len() as u32, key.len() as u32]);
        self.data(KEY, &[&head, storage.as_bytes(), key].concat())
    }

    /// The module in its binary form.
    pub fn assemble(&self) -> Vec<u8> {
        let items: String = self.parts.iter().map(|(_, text)| text.as_str()).collect();
        wat::parse_str(format!("(module $guest {items})")).expect("a module")
    }
}

/// The one extension of these guests.
pub fn probe(result: &str) -> Vec<ExtensionDecl> {
    vec![suite::declare("Probe", ExtensionKind::Command, "", result)]
}

/// The numbers in little-endian order.
pub fn le(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

/// One record of an intents region.
pub fn record(op: u32, storage: &str, key: &[u8], value: &[u8]) -> Vec<u8> {
    let lengths = [storage.len(), key.len(), value.len()].map(|len| len as u32);
    let head = le(&[op, lengths[0], lengths[1], lengths[2]]);
    [&head, storage.as_bytes(), key, value].concat()
}

/// One record of the output of ABI 1.1.
pub fn record_1_1(op: u32, storage: u32, key: &[u8], value: &[u8]) -> Vec<u8> {
    let head = le(&[op, storage, key.len() as u32, value.len() as u32]);
    [&head, key, value].concat()
}
