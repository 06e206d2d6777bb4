//! Texts of schemas and of functions' signatures: what is read is written in a form that reads as the same, defaults included.
#![no_main]

use engine_core::error::ErrorKind;
use engine_core::schema::Schema;
use engine_core::value;
use functions::Function;
use libfuzzer_sys::fuzz_target;

/// Every default, in its encoding.
fn defaults(schema: &Schema) -> Vec<u8> {
    let defaults: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| field.default.clone())
        .collect();
    value::encode(&defaults)
}

fuzz_target!(|text: &str| {
    match Schema::parse(text) {
        Ok(schema) => {
            let written = schema.to_string();
            let again = Schema::parse(&written).expect("what was written");
            assert_eq!(again.to_string(), written);
            assert_eq!(defaults(&again), defaults(&schema), "{written}");
            // A schema is a manifest's own: whether it is still the same is asked of every data folder.
            assert_eq!(again, schema, "{written}");
            schema.check(&defaults(&schema)).expect("a row of defaults");
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Manifest, "{error}"),
    }
    match Function::parse(text) {
        Ok(function) => {
            let written = function.to_string();
            assert_eq!(
                Function::parse(&written).expect("what was written"),
                function,
                "{written}"
            );
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Manifest, "{error}"),
    }
});
