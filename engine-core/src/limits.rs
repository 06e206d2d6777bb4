//! Limits, which of them an engine keeps, and the ledger of what an invocation used.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Limit {
    /// Bytes of a package's code.
    CodeBytes,
    /// Functions in a package.
    Functions,
    /// Bytes of the largest function body.
    FunctionBytes,
    /// Bytes of guest memory, with what the host allocates for the guest.
    Memory,
    /// Elements of all tables of a guest.
    TableElements,
    /// Bytes of stack.
    Stack,
    /// Wall-clock time of one invocation.
    Deadline,
    /// Deterministic units of computation of one invocation.
    Fuel,
    /// Reads of one invocation.
    HostReads,
    /// Rows read by one invocation.
    RowsRead,
    /// Bytes of keys and values read by one invocation.
    BytesRead,
    /// Range reads inside one another.
    ReadDepth,
    /// Intents of one invocation.
    Intents,
    /// Bytes of keys and values in the intents of one invocation.
    IntentBytes,
    /// Bytes of results of one invocation.
    ResultBytes,
    /// Lines that one invocation logs.
    LogLines,
    /// Bytes of levels and messages that one invocation logs.
    LogBytes,
    /// Calls of foreign functions by one invocation.
    ForeignCalls,
    /// Bytes of arguments and answers of foreign functions of one invocation.
    ForeignBytes,
}

impl Limit {
    /// Every limit, in order.
    pub const ALL: [Self; 19] = [
        Self::CodeBytes,
        Self::Functions,
        Self::FunctionBytes,
        Self::Memory,
        Self::TableElements,
        Self::Stack,
        Self::Deadline,
        Self::Fuel,
        Self::HostReads,
        Self::RowsRead,
        Self::BytesRead,
        Self::ReadDepth,
        Self::Intents,
        Self::IntentBytes,
        Self::ResultBytes,
        Self::LogLines,
        Self::LogBytes,
        Self::ForeignCalls,
        Self::ForeignBytes,
    ];

    /// The limit's name in manifests and errors, such as `host_reads`.
    pub fn name(self) -> &'static str {
        match self {
            Self::CodeBytes => "code_bytes",
            Self::Functions => "functions",
            Self::FunctionBytes => "function_bytes",
            Self::Memory => "memory",
            Self::TableElements => "table_elements",
            Self::Stack => "stack",
            Self::Deadline => "deadline",
            Self::Fuel => "fuel",
            Self::HostReads => "host_reads",
            Self::RowsRead => "rows_read",
            Self::BytesRead => "bytes_read",
            Self::ReadDepth => "read_depth",
            Self::Intents => "intents",
            Self::IntentBytes => "intent_bytes",
            Self::ResultBytes => "result_bytes",
            Self::LogLines => "log_lines",
            Self::LogBytes => "log_bytes",
            Self::ForeignCalls => "foreign_calls",
            Self::ForeignBytes => "foreign_bytes",
        }
    }

    /// The limit with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|limit| limit.name() == name)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an engine does about one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// The engine keeps it.
    Kept,
    /// The engine cannot keep it: a package loads only if its manifest waives the limit by name.
    NotKept,
    /// What it limits does not exist on this engine, such as tables in Lua.
    NoObject,
}

/// Which limits an engine keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities([Keeping; Limit::ALL.len()]);

impl Capabilities {
    /// Every limit kept.
    pub const ALL_KEPT: Self = Self([Keeping::Kept; Limit::ALL.len()]);

    /// The same, with the given limits kept in another way.
    #[must_use]
    pub const fn with(mut self, limits: &[Limit], keeping: Keeping) -> Self {
        let mut i = 0;
        while i < limits.len() {
            self.0[limits[i] as usize] = keeping;
            i += 1;
        }
        self
    }

    /// What the engine does about a limit.
    pub fn of(&self, limit: Limit) -> Keeping {
        self.0[limit as usize]
    }

    /// The limits that these limits ask for, the engine cannot keep and the manifest does not waive.
    pub fn not_kept(&self, limits: &Limits, waived: &[Limit]) -> Vec<Limit> {
        Limit::ALL
            .into_iter()
            .filter(|&limit| self.of(limit) == Keeping::NotKept)
            .filter(|&limit| limit != Limit::Fuel || limits.fuel.is_some())
            .filter(|limit| !waived.contains(limit))
            .collect()
    }
}

/// The limits of one package.
///
/// Those on code, memory, tables and stack hold for the package and its instances, the others for each invocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of code; 16 MiB.
    pub code_bytes: u64,
    /// Functions; 50,000.
    pub functions: u32,
    /// Bytes of the largest function body; 1 MiB.
    pub function_bytes: u32,
    /// Bytes of guest memory; 64 MiB.
    pub memory: u64,
    /// Elements of all tables; 20,000.
    pub table_elements: u32,
    /// Bytes of stack; 512 KiB.
    pub stack: u32,
    /// Milliseconds of wall-clock time; 1,000.
    pub deadline_ms: u32,
    /// Units of fuel; none.
    pub fuel: Option<u64>,
    /// Reads; 10,000.
    pub host_reads: u32,
    /// Rows read; 1,000,000.
    pub rows_read: u32,
    /// Bytes read; 256 MiB.
    pub bytes_read: u64,
    /// Intents; 10,000.
    pub intents: u32,
    /// Bytes of intents; 16 MiB.
    pub intent_bytes: u64,
    /// Bytes of results; 16 MiB.
    pub result_bytes: u64,
    /// Lines logged; 1,000.
    pub log_lines: u32,
    /// Bytes logged; 256 KiB.
    pub log_bytes: u64,
    /// Calls of foreign functions; 1,000.
    pub foreign_calls: u32,
    /// Bytes of arguments and answers of foreign functions; 64 MiB.
    pub foreign_bytes: u64,
}

/// How many range reads may be open inside one another.
pub const READ_DEPTH: u32 = 4;

impl Default for Limits {
    fn default() -> Self {
        Self {
            code_bytes: 16 << 20,
            functions: 50_000,
            function_bytes: 1 << 20,
            memory: 64 << 20,
            table_elements: 20_000,
            stack: 512 << 10,
            deadline_ms: 1_000,
            fuel: None,
            host_reads: 10_000,
            rows_read: 1_000_000,
            bytes_read: 256 << 20,
            intents: 10_000,
            intent_bytes: 16 << 20,
            result_bytes: 16 << 20,
            log_lines: 1_000,
            log_bytes: 256 << 10,
            foreign_calls: 1_000,
            foreign_bytes: 64 << 20,
        }
    }
}

/// Whether a setting of this name is a number of bytes, which may also be written as [`size`] reads it.
pub fn is_size(name: &str) -> bool {
    name.contains("bytes") || matches!(name, "memory" | "stack")
}

/// Reads a number of bytes such as `16 MiB`.
pub fn size(text: &str) -> Option<u64> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: u64 = text[..text.len() - unit.len()].parse().ok()?;
    let unit = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// What one invocation used, with the same meaning on every engine.
///
/// Counts include what hit a limit, so a ledger shows by how much it was missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// Wall-clock time in milliseconds, by the steps of the engine's [`Ticker`](crate::ticker::Ticker).
    pub elapsed_ms: u64,
    /// Units of fuel, where fuel is limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// Bytes of guest memory when the invocation ended; zero where the engine has no memory of its own.
    pub memory: u64,
    /// Reads.
    pub host_reads: u64,
    /// Rows read.
    pub rows_read: u64,
    /// Bytes of keys and values read.
    pub bytes_read: u64,
    /// Intents, without results and log lines.
    pub intents: u64,
    /// Bytes of keys and values in these intents.
    pub intent_bytes: u64,
    /// Bytes of results.
    pub result_bytes: u64,
    /// Lines logged.
    pub log_lines: u64,
    /// Bytes logged.
    pub log_bytes: u64,
    /// Calls of foreign functions.
    pub foreign_calls: u64,
    /// Bytes of their arguments and answers.
    pub foreign_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_binary_units() {
        for (text, expected) in [
            ("16 MiB", Some(16 << 20)),
            ("3GiB", Some(3 << 30)),
            ("7 KiB", Some(7 << 10)),
            ("12", Some(12)),
            ("12 B", Some(12)),
            ("16 MB", None),
            ("MiB", None),
            ("-1 MiB", None),
            ("1.5 MiB", None),
            ("99999999999999999999", None),
            ("99999999999999999 GiB", None),
            ("", None),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
    }
}
