//! Lines of JSON from clients: a command's arguments become a row of its schema that is written as JSON again and reads as the
//! same, and the values of functions stay what they are.
#![no_main]

use std::sync::LazyLock;

use engine_core::error::ErrorKind;
use engine_core::json::{row_from_json, row_to_json};
use engine_core::schema::Schema;
use engine_core::value;
use functions::Value;
use fuzz::input::Input;
use libfuzzer_sys::fuzz_target;
use serde_json::Value as Json;

static SCHEMAS: LazyLock<Vec<Schema>> = LazyLock::new(|| {
    let texts = [
        "id: int, n: int = 4",
        "item: text, price: float, tags: [text], at: {x: float, y: float}?",
        "ops: [{verb: text, id: int, n: int}], by: text?",
        "raw: bytes, sure: bool?, deep: [[{b: bytes?}]]",
    ];
    texts
        .map(|text| Schema::parse(text).expect("a schema"))
        .into()
});

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let schema = input.one_of(&SCHEMAS);
    let Ok(json) = serde_json::from_slice::<Json>(input.rest()) else {
        return;
    };
    // As the command line has it, or the arguments alone.
    let args = json.get("args").unwrap_or(&json);
    match row_from_json(args, schema) {
        Ok(values) => {
            let row = value::encode(&values);
            schema.check(&row).expect("a row of the schema");
            let text = Json::Object(row_to_json(&values, schema)).to_string();
            let written: Json = serde_json::from_str(&text).expect("JSON");
            let again = row_from_json(&written, schema).expect("what was written");
            assert_eq!(value::encode(&again), row, "{text}");
            assert_eq!(schema.decode(&row).expect("a row"), again);
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::BadArgs, "{error}"),
    }
    // JSON has one kind of number: a float that is whole may come back as an integer.
    let written = Value::from_json(&json).to_json();
    assert_eq!(Value::from_json(&written).to_json(), written, "{json}");
});
