//! Inspects a WASM module: what it offers and needs, and everything that is wrong with it.

mod info;
mod weight;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use wasmparser::{
    CompositeInnerType, Encoding, ExportSectionReader, ExternalKind, FuncValidatorAllocations,
    FunctionBody, ImportSectionReader, KnownCustom, Name, Parser, Payload, TypeRef,
    TypeSectionReader, ValidPayload, Validator, WasmFeatures,
};

pub use info::{
    Export, FuncSig, Import, ItemType, LargestFunction, Memory, ModuleInfo, Producer, Table,
    ValType,
};

use weight::Weight;

/// The WASM proposals that a guest may use: what every WASM engine here runs alike.
///
/// It is WebAssembly 2.0 with extended constant expressions, but without `externref`.
/// Left out are the proposals that some engine lacks, and those that make an answer
/// depend on the machine (relaxed SIMD) or on timing (threads).
pub const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::EXTENDED_CONST)
    .difference(WasmFeatures::GC_TYPES);

/// A module with more problems than this is described well enough by the first ones.
const MAX_PROBLEMS: usize = 100;

/// What [`inspect`] found out about a module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inspection {
    /// What the module offers and needs, as far as it could be read.
    pub info: ModuleInfo,
    /// What is wrong with it, in the order of its bytes; empty if any engine will take it.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong with a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where in the module, in bytes from its start.
    pub offset: usize,
    /// What is wrong, with the name of the proposal where the module needs one
    /// that is not in [`FEATURES`].
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {:#x})", self.message, self.offset)
    }
}

/// Reads a module and validates it against [`FEATURES`].
///
/// Reading goes on after a problem wherever the rest still means something: every function
/// is checked for itself, and a section that needs a missing proposal hides no other problem.
/// At most 100 problems are listed. Takes any bytes, in time and memory linear to their number.
pub fn inspect(bytes: &[u8]) -> Inspection {
    let mut inspector = Inspector::new();
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    for payload in parser.parse_all(bytes) {
        match payload {
            Ok(Payload::Version {
                encoding: Encoding::Component,
                ..
            }) => {
                let message = "this is a component; build a core module instead".to_owned();
                inspector.report(None, 0, message);
                break;
            }
            Ok(payload) => {
                inspector.validate(&payload);
                // A section that does not parse is reported by the validation.
                let _ = inspector.read(payload);
            }
            Err(error) => {
                inspector.report_error(None, &error);
                break;
            }
        }
    }
    inspector.finish()
}

/// The state of one inspection.
struct Inspector<'a> {
    info: ModuleInfo,
    /// Each problem with the function that it is in.
    problems: Vec<(Option<u32>, Problem)>,
    /// Decides whether the module is valid. Ends with the first invalid section.
    strict: Option<Validator>,
    /// Knows every proposal, and so can go on where `strict` had to end for lack of one.
    lenient: Option<Validator>,
    allocations: FuncValidatorAllocations,
    types: Vec<Option<Arc<FuncSig>>>,
    /// The types of all functions, imported ones first.
    functions: Vec<Option<Arc<FuncSig>>>,
    globals: Vec<ItemType>,
    imported_functions: u32,
    bodies: u32,
    names: HashMap<u32, &'a str>,
}

impl<'a> Inspector<'a> {
    fn new() -> Self {
        Self {
            info: ModuleInfo::default(),
            problems: Vec::new(),
            strict: Some(Validator::new_with_features(FEATURES)),
            lenient: Some(Validator::new_with_features(WasmFeatures::default())),
            allocations: FuncValidatorAllocations::default(),
            types: Vec::new(),
            functions: Vec::new(),
            globals: Vec::new(),
            imported_functions: 0,
            bodies: 0,
            names: HashMap::new(),
        }
    }

    fn report(&mut self, function: Option<u32>, offset: usize, message: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push((function, Problem { offset, message }));
        }
    }

    fn report_error(&mut self, function: Option<u32>, error: &wasmparser::Error) {
        let message = match error.missing_wasm_feature() {
            Some(missing) => {
                let names: Vec<String> = missing
                    .iter_names()
                    .map(|(name, _)| format!("`{}`", name.to_lowercase().replace('_', "-")))
                    .collect();
                format!(
                    "needs the proposal {}, which not every engine runs: {}",
                    names.join(" and "),
                    error.message()
                )
            }
            None => error.message().to_owned(),
        };
        self.report(function, error.offset(), message);
    }

    fn validate(&mut self, payload: &Payload<'a>) {
        let strict = self.strict.as_mut().map(|v| v.payload(payload));
        let lenient = self.lenient.as_mut().map(|v| v.payload(payload));
        match (&strict, &lenient) {
            // The parser does not name the proposal in every such error.
            (Some(Err(error)), Some(Ok(_))) if error.missing_wasm_feature().is_none() => {
                let what = error.message();
                let message = format!("needs a proposal that not every engine runs: {what}");
                self.report(None, error.offset(), message);
            }
            (Some(Err(error)), _) | (None, Some(Err(error))) => self.report_error(None, error),
            _ => {}
        }
        if matches!(strict, Some(Err(_))) {
            self.strict = None;
        }
        if matches!(lenient, Some(Err(_))) {
            self.lenient = None;
        }
        if let Some(Ok(ValidPayload::Func(mut function, body))) = strict.or(lenient) {
            function.features = FEATURES;
            let index = function.index;
            let mut validator = function.into_validator(std::mem::take(&mut self.allocations));
            if let Err(error) = validator.validate(&body) {
                self.report_error(Some(index), &error);
            }
            self.allocations = validator.into_allocations();
        }
    }

    /// Notes what a section says, up to its end or to what cannot be parsed.
    fn read(&mut self, payload: Payload<'a>) -> wasmparser::Result<()> {
        match payload {
            Payload::TypeSection(types) => self.types(types)?,
            Payload::ImportSection(imports) => self.imports(imports)?,
            Payload::FunctionSection(functions) => {
                for ty in functions {
                    let signature = self.signature(ty?);
                    self.functions.push(signature);
                    self.info.functions += 1;
                }
            }
            Payload::TableSection(tables) => {
                for table in tables {
                    self.info.tables.push(table_info(table?.ty));
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    self.info.memories.push(memory_info(memory?));
                }
            }
            Payload::GlobalSection(globals) => {
                for global in globals {
                    self.globals.push(global_info(global?.ty));
                }
            }
            Payload::ExportSection(exports) => self.exports(exports)?,
            Payload::StartSection { func, range } => {
                self.info.start = true;
                let message = "the start function would run outside any budget: \
                               move what it does into `WasmInit`";
                self.report(Some(func), range.start, message.to_owned());
            }
            Payload::CodeSectionEntry(body) => self.body(&body)?,
            Payload::CustomSection(section) => self.custom(section.as_known())?,
            _ => {}
        }
        Ok(())
    }

    fn types(&mut self, types: TypeSectionReader<'a>) -> wasmparser::Result<()> {
        for group in types {
            let types = group?.into_types();
            self.types
                .extend(types.map(|ty| match ty.composite_type.inner {
                    CompositeInnerType::Func(func) => Some(Arc::new(FuncSig {
                        params: func.params().iter().map(|&ty| ty.into()).collect(),
                        results: func.results().iter().map(|&ty| ty.into()).collect(),
                    })),
                    _ => None,
                }));
        }
        Ok(())
    }

    fn imports(&mut self, imports: ImportSectionReader<'a>) -> wasmparser::Result<()> {
        for import in imports.into_imports() {
            let import = import?;
            let ty = self.import(import.ty);
            self.info.imports.push(Import {
                module: import.module.to_owned(),
                name: import.name.to_owned(),
                ty,
            });
        }
        Ok(())
    }

    fn exports(&mut self, exports: ExportSectionReader<'a>) -> wasmparser::Result<()> {
        for export in exports {
            let export = export?;
            self.info.exports.push(Export {
                name: export.name.to_owned(),
                ty: self.export(export.kind, export.index),
            });
        }
        Ok(())
    }

    fn body(&mut self, body: &FunctionBody<'_>) -> wasmparser::Result<()> {
        let index = self.imported_functions.saturating_add(self.bodies);
        self.bodies += 1;
        let bytes = u32::try_from(body.range().len()).unwrap_or(u32::MAX);
        let largest = &mut self.info.largest_function;
        if largest.as_ref().is_none_or(|largest| bytes > largest.bytes) {
            *largest = Some(LargestFunction {
                index,
                name: None,
                bytes,
            });
        }
        self.weigh(index, body)
    }

    fn custom(&mut self, section: KnownCustom<'a>) -> wasmparser::Result<()> {
        match section {
            KnownCustom::Name(names) => {
                for name in names {
                    self.name(name?)?;
                }
            }
            KnownCustom::Producers(fields) => {
                for field in fields {
                    let field = field?;
                    for value in field.values {
                        let value = value?;
                        self.info.producers.push(Producer {
                            role: field.name.to_owned(),
                            name: value.name.to_owned(),
                            version: value.version.to_owned(),
                        });
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Reports a function that would take too long to compile.
    fn weigh(&mut self, index: u32, body: &FunctionBody<'_>) -> wasmparser::Result<()> {
        let signature = self.functions.get(index as usize).cloned().flatten();
        let weight = Weight::of(body, signature.as_deref(), &self.types, &self.functions)?;
        for problem in weight.problems() {
            self.report(Some(index), body.range().start, problem);
        }
        Ok(())
    }

    fn name(&mut self, name: Name<'a>) -> wasmparser::Result<()> {
        match name {
            Name::Module { name, .. } => self.info.name = Some(name.to_owned()),
            Name::Function(functions) => {
                for function in functions {
                    let function = function?;
                    self.names.insert(function.index, function.name);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, ty: TypeRef) -> ItemType {
        match ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                let signature = self.signature(ty);
                self.functions.push(signature.clone());
                self.imported_functions += 1;
                signature.map_or(ItemType::Unknown, ItemType::Func)
            }
            TypeRef::Table(ty) => {
                self.info.tables.push(table_info(ty));
                ItemType::Table(table_info(ty))
            }
            TypeRef::Memory(ty) => {
                self.info.memories.push(memory_info(ty));
                ItemType::Memory(memory_info(ty))
            }
            TypeRef::Global(ty) => {
                self.globals.push(global_info(ty));
                global_info(ty)
            }
            TypeRef::Tag(_) => ItemType::Tag,
        }
    }

    fn export(&self, kind: ExternalKind, index: u32) -> ItemType {
        let index = index as usize;
        let ty = match kind {
            ExternalKind::Func | ExternalKind::FuncExact => {
                let signature = self.functions.get(index).cloned().flatten();
                signature.map(ItemType::Func)
            }
            ExternalKind::Table => self.info.tables.get(index).copied().map(ItemType::Table),
            ExternalKind::Memory => self.info.memories.get(index).copied().map(ItemType::Memory),
            ExternalKind::Global => self.globals.get(index).cloned(),
            ExternalKind::Tag => Some(ItemType::Tag),
        };
        ty.unwrap_or(ItemType::Unknown)
    }

    fn signature(&self, ty: u32) -> Option<Arc<FuncSig>> {
        self.types.get(ty as usize).cloned().flatten()
    }

    /// Adds the functions' names, which a module gives last.
    fn finish(self) -> Inspection {
        let Self {
            mut info,
            problems,
            names,
            ..
        } = self;
        if let Some(largest) = &mut info.largest_function {
            largest.name = names.get(&largest.index).map(|&name| name.to_owned());
        }
        let problems = problems.into_iter().map(|(function, mut problem)| {
            if let Some(index) = function {
                let name = names.get(&index);
                let name = name.map_or(String::new(), |name| format!(" `{name}`"));
                problem.message = format!("function {index}{name}: {}", problem.message);
            }
            problem
        });
        Inspection {
            problems: problems.collect(),
            info,
        }
    }
}

fn table_info(ty: wasmparser::TableType) -> Table {
    Table {
        element: wasmparser::ValType::Ref(ty.element_type).into(),
        min: ty.initial,
        max: ty.maximum,
    }
}

fn memory_info(ty: wasmparser::MemoryType) -> Memory {
    Memory {
        min_pages: ty.initial,
        max_pages: ty.maximum,
    }
}

fn global_info(ty: wasmparser::GlobalType) -> ItemType {
    ItemType::Global {
        value: ty.content_type.into(),
        mutable: ty.mutable,
    }
}
