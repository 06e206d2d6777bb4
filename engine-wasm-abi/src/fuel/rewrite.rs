//! Re-encodes a module with its fuel global, its refill import and its charges.

use std::convert::Infallible;

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    CodeSection, ConstExpr, EntityType, ExportKind, ExportSection, Function, GlobalSection,
    GlobalType, ImportSection, Module, NameSection, SectionId, TypeSection, ValType,
};
use wasmparser::types::{EntityType as ParsedType, TypesRef};
use wasmparser::{KnownCustom, Parser};

use super::blocks::{Added, Blocks};
use super::{Costs, FUEL_GLOBAL, FuelError, REFILL_MODULE, REFILL_NAME};

type Result<T = ()> = std::result::Result<T, Error<Infallible>>;

/// Rewrites a module that is valid and has the given types.
pub(super) fn rewrite(
    bytes: &[u8],
    types: TypesRef<'_>,
    costs: &Costs,
) -> std::result::Result<Vec<u8>, FuelError> {
    let mut imported_functions = 0;
    for (module, name, ty) in types.core_imports().into_iter().flatten() {
        if (module, name) == (REFILL_MODULE, REFILL_NAME) {
            return Err(FuelError::Reserved("extengine.refill"));
        }
        imported_functions += u32::from(matches!(ty, ParsedType::Func(_)));
    }
    if types
        .core_exports()
        .into_iter()
        .flatten()
        .any(|(name, _)| name == FUEL_GLOBAL)
    {
        return Err(FuelError::Reserved(FUEL_GLOBAL));
    }
    let mut rewrite = Rewrite {
        costs,
        types,
        // Imported functions come first, and ours is the last of them.
        added: Added {
            fuel: types.global_count(),
            refill: imported_functions,
        },
        next_body: imported_functions,
        unwritten: &EXTENDED,
    };
    let mut module = Module::new();
    rewrite
        .parse_core_module(&mut module, Parser::new(0), bytes)
        .map_err(|error| FuelError::Invalid(error.to_string()))?;
    Ok(module.finish())
}

/// The sections that the rewrite adds an entry to, in the order that they stand in.
const EXTENDED: [SectionId; 4] = [
    SectionId::Type,
    SectionId::Import,
    SectionId::Global,
    SectionId::Export,
];

struct Rewrite<'a> {
    costs: &'a Costs,
    types: TypesRef<'a>,
    added: Added,
    /// The index, in the original, of the function whose body comes next.
    next_body: u32,
    /// Those of the extended sections that are still to come.
    unwritten: &'static [SectionId],
}

impl Rewrite<'_> {
    fn add_type(&self, types: &mut TypeSection) {
        types.ty().function([], []);
    }

    fn add_import(&self, imports: &mut ImportSection) {
        let ty = EntityType::Function(self.types.core_type_count_in_module());
        imports.import(REFILL_MODULE, REFILL_NAME, ty);
    }

    fn add_global(&self, globals: &mut GlobalSection) {
        let ty = GlobalType {
            val_type: ValType::I64,
            mutable: true,
            shared: false,
        };
        globals.global(ty, &ConstExpr::i64_const(0));
    }

    fn add_export(&self, exports: &mut ExportSection) {
        exports.export(FUEL_GLOBAL, ExportKind::Global, self.added.fuel);
    }

    /// Writes an extended section that the original does not have.
    fn write(&self, module: &mut Module, section: SectionId) {
        match section {
            SectionId::Type => {
                let mut types = TypeSection::new();
                self.add_type(&mut types);
                module.section(&types);
            }
            SectionId::Import => {
                let mut imports = ImportSection::new();
                self.add_import(&mut imports);
                module.section(&imports);
            }
            SectionId::Global => {
                let mut globals = GlobalSection::new();
                self.add_global(&mut globals);
                module.section(&globals);
            }
            _ => {
                let mut exports = ExportSection::new();
                self.add_export(&mut exports);
                module.section(&exports);
            }
        }
    }
}

impl Reencode for Rewrite<'_> {
    type Error = Infallible;

    fn function_index(&mut self, index: u32) -> Result<u32> {
        let shift = u32::from(index >= self.added.refill);
        // A `name` section may hold any number.
        Ok(index.saturating_add(shift))
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: wasmparser::TypeSectionReader<'_>,
    ) -> Result {
        utils::parse_type_section(self, types, section)?;
        self.add_type(types);
        Ok(())
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: wasmparser::ImportSectionReader<'_>,
    ) -> Result {
        utils::parse_import_section(self, imports, section)?;
        self.add_import(imports);
        Ok(())
    }

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: wasmparser::GlobalSectionReader<'_>,
    ) -> Result {
        utils::parse_global_section(self, globals, section)?;
        self.add_global(globals);
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: wasmparser::ExportSectionReader<'_>,
    ) -> Result {
        utils::parse_export_section(self, exports, section)?;
        self.add_export(exports);
        Ok(())
    }

    /// Called before each section and at the end of the module.
    fn intersperse_section_hook(
        &mut self,
        module: &mut Module,
        _after: Option<SectionId>,
        before: Option<SectionId>,
    ) -> Result {
        // The ids up to the export section are in the order of the sections,
        // but for the tag section, which no valid module here has.
        while let [next, rest @ ..] = self.unwritten
            && before.is_none_or(|before| *next <= before)
        {
            if before != Some(*next) {
                self.write(module, *next);
            }
            self.unwritten = rest;
        }
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: wasmparser::FunctionBody<'_>,
    ) -> Result {
        let signature = self.types.core_function_at(self.next_body);
        self.next_body += 1;
        let params = self.types[signature].unwrap_func().params().len() as u32;

        let mut locals = Vec::new();
        let mut count = params;
        for run in body.get_locals_reader()? {
            let (length, ty) = run?;
            locals.push((length, self.val_type(ty)?));
            count = count.saturating_add(length);
        }

        let mut blocks = Blocks::new(self.costs, self.added, count);
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            blocks.instruction(&self.parse_instruction(&mut reader)?);
        }
        let (charged, uses_length_local) = blocks.finish();

        if uses_length_local {
            locals.push((1, ValType::I32));
        }
        let mut function = Function::new(locals);
        function.raw(charged);
        code.function(&function);
        Ok(())
    }

    fn parse_custom_section(
        &mut self,
        module: &mut Module,
        section: wasmparser::CustomSectionReader<'_>,
    ) -> Result {
        // Names that do not parse are as little an error here as in the original.
        if let KnownCustom::Name(names) = section.as_known()
            && let Ok(names) = self.custom_name_section(names)
        {
            module.section(&names);
        }
        Ok(())
    }

    fn parse_custom_name_subsection(
        &mut self,
        names: &mut NameSection,
        section: wasmparser::Name<'_>,
    ) -> Result {
        // Labels are counted, and the charges' own constructs shift the count.
        if matches!(section, wasmparser::Name::Label(_)) {
            return Ok(());
        }
        utils::parse_custom_name_subsection(self, names, section)
    }
}
