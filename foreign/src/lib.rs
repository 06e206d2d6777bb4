//! The foreign functions that come built in: `compress`, `uncompress` and `sha256`, of bytes, all pure.
//!
//! ```
//! let functions = foreign::builtin();
//! let call = |name, bytes: &[u8]| functions.get(name).unwrap().call(bytes).unwrap();
//! let packed = call("compress", &[7; 1000]);
//! assert!(packed.len() < 100);
//! assert_eq!(call("uncompress", &packed), [7; 1000]);
//! assert_eq!(call("sha256", b"").len(), 32);
//! ```

use std::sync::LazyLock;

use engine_core::foreign::{ForeignFunctions, Purity};
use miniz_oxide::deflate::compress_to_vec_zlib;
use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_zlib_with_limit};
use sha2::{Digest, Sha256};

/// The most bytes that `uncompress` gives by default: 16 MiB.
pub const UNCOMPRESSED_BYTES: usize = 16 << 20;

/// zlib's own default: between speed and size.
const LEVEL: u8 = 6;

/// The functions, with `uncompress` up to [`UNCOMPRESSED_BYTES`]; to be cloned and added to.
pub fn builtin() -> ForeignFunctions {
    // One registry for all, so that applications in one process share their compiled packages.
    static BUILTIN: LazyLock<ForeignFunctions> =
        LazyLock::new(|| builtin_up_to(UNCOMPRESSED_BYTES));
    BUILTIN.clone()
}

/// The functions, with `uncompress` up to so many bytes.
pub fn builtin_up_to(uncompressed_bytes: usize) -> ForeignFunctions {
    let mut functions = ForeignFunctions::new();
    functions
        .register("compress", Purity::Pure, |bytes| {
            Ok(compress_to_vec_zlib(bytes, LEVEL))
        })
        .register("uncompress", Purity::Pure, move |bytes| {
            uncompress(bytes, uncompressed_bytes)
        })
        .register("sha256", Purity::Pure, |bytes| {
            Ok(Sha256::digest(bytes).to_vec())
        });
    functions
}

/// What a zlib stream holds; bytes behind its end are ignored.
fn uncompress(stream: &[u8], max: usize) -> Result<Vec<u8>, String> {
    decompress_to_vec_zlib_with_limit(stream, max).map_err(|error| match error.status {
        TINFLStatus::HasMoreOutput => {
            format!("uncompress: there are more than the {max} bytes that are allowed")
        }
        TINFLStatus::Adler32Mismatch => "uncompress: the checksum is wrong".to_owned(),
        TINFLStatus::FailedCannotMakeProgress | TINFLStatus::NeedsMoreInput => {
            "uncompress: the stream is cut off".to_owned()
        }
        _ => "uncompress: this is no zlib stream".to_owned(),
    })
}
