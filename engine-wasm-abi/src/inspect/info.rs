//! What a WASM module offers and needs, in plain owned types.

use std::fmt;
use std::sync::Arc;

/// The type of a WASM value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValType {
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
    /// A 32-bit float.
    F32,
    /// A 64-bit float.
    F64,
    /// A 128-bit vector.
    V128,
    /// A nullable reference to a function.
    FuncRef,
    /// A nullable reference to something of the host's.
    ExternRef,
    /// Any other reference. No engine here takes one, so it occurs only beside a problem.
    OtherRef,
}

impl From<wasmparser::ValType> for ValType {
    fn from(ty: wasmparser::ValType) -> Self {
        match ty {
            wasmparser::ValType::I32 => Self::I32,
            wasmparser::ValType::I64 => Self::I64,
            wasmparser::ValType::F32 => Self::F32,
            wasmparser::ValType::F64 => Self::F64,
            wasmparser::ValType::V128 => Self::V128,
            wasmparser::ValType::Ref(wasmparser::RefType::FUNCREF) => Self::FuncRef,
            wasmparser::ValType::Ref(wasmparser::RefType::EXTERNREF) => Self::ExternRef,
            wasmparser::ValType::Ref(_) => Self::OtherRef,
        }
    }
}

impl fmt::Display for ValType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::V128 => "v128",
            Self::FuncRef => "funcref",
            Self::ExternRef => "externref",
            Self::OtherRef => "ref",
        })
    }
}

/// The parameters and results of a function.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct FuncSig {
    /// The types of the parameters, in order.
    pub params: Vec<ValType>,
    /// The types of the results, in order.
    pub results: Vec<ValType>,
}

impl fmt::Display for FuncSig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |types: &[ValType]| {
            let names: Vec<String> = types.iter().map(ValType::to_string).collect();
            names.join(", ")
        };
        write!(f, "({})", list(&self.params))?;
        match self.results.as_slice() {
            [] => Ok(()),
            [one] => write!(f, " -> {one}"),
            many => write!(f, " -> ({})", list(many)),
        }
    }
}

/// A memory's size, in pages of 64 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// The pages that it starts with.
    pub min_pages: u64,
    /// The most pages that it may grow to; `None` where the module does not say.
    pub max_pages: Option<u64>,
}

/// A table's size, in elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// The type of its elements.
    pub element: ValType,
    /// The elements that it starts with.
    pub min: u64,
    /// The most elements that it may grow to; `None` where the module does not say.
    pub max: Option<u64>,
}

/// The type of something that a module imports or exports.
///
/// A function's signature is shared, so that a hostile module of many imports
/// of one long signature stays as small here as it is in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemType {
    /// A function.
    Func(Arc<FuncSig>),
    /// A table.
    Table(Table),
    /// A linear memory.
    Memory(Memory),
    /// A global variable.
    Global {
        /// The type of its value.
        value: ValType,
        /// Whether it can change.
        mutable: bool,
    },
    /// An exception tag. No engine here takes one, so it occurs only beside a problem.
    Tag,
    /// Something whose type the module does not define, which is reported as a problem.
    Unknown,
}

impl fmt::Display for ItemType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |f: &mut fmt::Formatter<'_>, min: u64, max: Option<u64>| match max {
            Some(max) => write!(f, "{min} to {max}"),
            None => write!(f, "{min} or more"),
        };
        match self {
            Self::Func(sig) => write!(f, "function {sig}"),
            Self::Table(table) => {
                f.write_str("table of ")?;
                range(f, table.min, table.max)?;
                write!(f, " {}", table.element)
            }
            Self::Memory(memory) => {
                f.write_str("memory of ")?;
                range(f, memory.min_pages, memory.max_pages)?;
                f.write_str(" pages")
            }
            Self::Global { value, mutable } => {
                let mutable = if *mutable { "mutable " } else { "" };
                write!(f, "{mutable}global {value}")
            }
            Self::Tag => f.write_str("tag"),
            Self::Unknown => f.write_str("item of unknown type"),
        }
    }
}

/// One thing that a module offers to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// The name that the host finds it by.
    pub name: String,
    /// What it is.
    pub ty: ItemType,
}

/// One thing that a module needs from the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The first of its two names, the import module.
    pub module: String,
    /// The second of its two names.
    pub name: String,
    /// What it must be.
    pub ty: ItemType,
}

/// The function whose body is the largest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LargestFunction {
    /// Its index, with imported functions counted first.
    pub index: u32,
    /// Its name, where the module has a `name` section.
    pub name: Option<String>,
    /// The size of its body in bytes.
    pub bytes: u32,
}

/// One entry of a module's `producers` section: a tool that had a part in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    /// The tool's part: `language`, `sdk` or `processed-by`.
    pub role: String,
    /// The tool's name.
    pub name: String,
    /// The tool's version, in its own form.
    pub version: String,
}

/// What a module offers and needs, as far as it could be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModuleInfo {
    /// The module's own name, from its `name` section.
    pub name: Option<String>,
    /// What it exports, in its own order.
    pub exports: Vec<Export>,
    /// What it imports, in its own order.
    pub imports: Vec<Import>,
    /// How many functions it defines, without the imported ones.
    pub functions: u32,
    /// The largest of them; `None` if it defines none.
    pub largest_function: Option<LargestFunction>,
    /// Its memories, the imported ones first.
    pub memories: Vec<Memory>,
    /// Its tables, the imported ones first.
    pub tables: Vec<Table>,
    /// Whether it has a start function, which is also a problem.
    pub start: bool,
    /// The tools that made it, from its `producers` section.
    pub producers: Vec<Producer>,
}

impl ModuleInfo {
    /// Finds an export by its name.
    pub fn export(&self, name: &str) -> Option<&Export> {
        self.exports.iter().find(|export| export.name == name)
    }
}
