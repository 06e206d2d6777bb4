//! Modules that have the imports and exports of a guest, and no code: what runs is a script.

use engine_wasm_abi::inspect::{FuncSig, ValType};
use wasm_encoder::{
    CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection,
    Instruction, MemorySection, MemoryType, Module, TypeSection,
};

/// A function by its two names, or by its own alone, and its type in the form of [`signature`].
pub type Named = (&'static str, &'static str);

/// What WASI's part offers.
pub const WASI: [Named; 20] = [
    ("args_get", "ii:i"),
    ("args_sizes_get", "ii:i"),
    ("clock_res_get", "ii:i"),
    ("clock_time_get", "iIi:i"),
    ("environ_get", "ii:i"),
    ("environ_sizes_get", "ii:i"),
    ("fd_close", "i:i"),
    ("fd_fdstat_get", "ii:i"),
    ("fd_fdstat_set_flags", "ii:i"),
    ("fd_prestat_dir_name", "iii:i"),
    ("fd_prestat_get", "ii:i"),
    ("fd_read", "iiii:i"),
    ("fd_seek", "iIii:i"),
    ("fd_write", "iiii:i"),
    ("path_filestat_get", "iiiii:i"),
    ("path_open", "iiiiiIIii:i"),
    ("poll_oneoff", "iiii:i"),
    ("proc_exit", "i:"),
    ("random_get", "ii:i"),
    ("sched_yield", ":i"),
];

/// A type written as its parameters, a colon and its results: `i` and `I` are integers of 32 and 64 bits, `f` and `F` floats.
///
/// # Panics
/// Where it is written otherwise.
pub fn signature(text: &str) -> FuncSig {
    let types = |text: &str| {
        let types = text.chars().map(|c| match c {
            'i' => ValType::I32,
            'I' => ValType::I64,
            'f' => ValType::F32,
            'F' => ValType::F64,
            other => panic!("no type is written {other}"),
        });
        types.collect()
    };
    let (params, results) = text.split_once(':').expect("a colon");
    FuncSig {
        params: types(params),
        results: types(results),
    }
}

/// A module with a memory that imports WASI's part and these functions of `env`, and exports those.
pub fn module<'n>(
    imports: impl IntoIterator<Item = (&'n str, FuncSig)>,
    exports: impl IntoIterator<Item = (&'n str, FuncSig)>,
) -> Vec<u8> {
    let mut types = TypeSection::new();
    let mut ty = |sig: &FuncSig| {
        let of = |types: &[ValType]| types.iter().map(|ty| encoded(*ty)).collect::<Vec<_>>();
        types.ty().function(of(&sig.params), of(&sig.results));
        types.len() - 1
    };
    let mut section = ImportSection::new();
    let wasi = WASI
        .iter()
        .map(|(name, sig)| ("wasi_snapshot_preview1", *name, signature(sig)));
    let env = imports.into_iter().map(|(name, sig)| ("env", name, sig));
    for (module, name, sig) in wasi.chain(env) {
        section.import(module, name, EntityType::Function(ty(&sig)));
    }
    let imported = section.len();
    let mut functions = FunctionSection::new();
    let mut memories = MemorySection::new();
    let mut export = ExportSection::new();
    let mut code = CodeSection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    export.export("memory", ExportKind::Memory, 0);
    for (name, sig) in exports {
        export.export(name, ExportKind::Func, imported + functions.len());
        functions.function(ty(&sig));
        let mut body = Function::new([]);
        body.instruction(&Instruction::Unreachable);
        body.instruction(&Instruction::End);
        code.function(&body);
    }
    let mut module = Module::new();
    module
        .section(&types)
        .section(&section)
        .section(&functions)
        .section(&memories)
        .section(&export)
        .section(&code);
    module.finish()
}

fn encoded(ty: ValType) -> wasm_encoder::ValType {
    match ty {
        ValType::I64 => wasm_encoder::ValType::I64,
        ValType::F32 => wasm_encoder::ValType::F32,
        ValType::F64 => wasm_encoder::ValType::F64,
        _ => wasm_encoder::ValType::I32,
    }
}
