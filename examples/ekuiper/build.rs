//! Generates the messages, the server and the client of the service; no `protoc` is needed.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

const SCHEMAS: &str = "service/schemas";
const SCHEMA: &str = "service/schemas/flights.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={SCHEMA}");
    let descriptor = Path::new(&env::var("OUT_DIR")?).join("flights.bin");
    let mut compiler = protox::Compiler::new([SCHEMAS])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_file(SCHEMA)?;
    fs::write(&descriptor, compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .file_descriptor_set_path(descriptor)
        .skip_protoc_run()
        // An answer that is a wrapped number is that number.
        .with_extended_rust_types(true)
        .compile_protos(&[SCHEMA], &[SCHEMAS])?;
    Ok(())
}
