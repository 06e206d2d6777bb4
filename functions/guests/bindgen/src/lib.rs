//! Functions in the bindgen wire format: two points and a label become a line, and one echo of every type on the wire.

use serde::{Deserialize, Serialize};
#[allow(unused_imports, reason = "the macro's code names what this has")]
use wasmedge_bindgen::*;
use wasmedge_bindgen_macro::wasmedge_bindgen;

#[derive(Serialize, Deserialize)]
struct Point {
    x: f32,
    y: f32,
}

#[derive(Serialize)]
struct Line {
    points: Vec<Point>,
    valid: bool,
    length: f32,
    desc: String,
}

/// Two points as JSON texts and a label in, a line as JSON bytes or an error out.
#[wasmedge_bindgen]
pub fn create_line(p1: String, p2: String, desc: String) -> Result<Vec<u8>, String> {
    let read =
        |text: &str| serde_json::from_str::<Point>(text).map_err(|e| format!("no point: {e}"));
    let (from, to) = (read(&p1)?, read(&p2)?);
    let length = ((from.x - to.x) * (from.x - to.x) + (from.y - to.y) * (from.y - to.y)).sqrt();
    let line = Line {
        points: vec![from, to],
        valid: length != 0.0,
        length,
        desc,
    };
    serde_json::to_vec(&line).map_err(|e| e.to_string())
}

/// Divides, or panics.
#[wasmedge_bindgen]
pub fn divide(a: i32, b: i32) -> i32 {
    a / b
}

/// Never ends.
#[wasmedge_bindgen]
pub fn spin(mut n: u64) -> u64 {
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}

/// As many bytes as asked for.
#[wasmedge_bindgen]
pub fn many(count: u32) -> Vec<u8> {
    vec![7; count as usize]
}

// The macro takes types as they are written only, so these cannot be made by another one; and it cannot give a `bool` or a
// `char` back.

#[wasmedge_bindgen]
pub fn bool_number(value: bool) -> u8 {
    value.into()
}

#[wasmedge_bindgen]
pub fn char_number(value: char) -> u32 {
    value.into()
}

#[wasmedge_bindgen]
pub fn echo_i8(value: i8) -> i8 {
    value
}

#[wasmedge_bindgen]
pub fn echo_i16(value: i16) -> i16 {
    value
}

#[wasmedge_bindgen]
pub fn echo_i32(value: i32) -> i32 {
    value
}

#[wasmedge_bindgen]
pub fn echo_i64(value: i64) -> i64 {
    value
}

#[wasmedge_bindgen]
pub fn echo_u8(value: u8) -> u8 {
    value
}

#[wasmedge_bindgen]
pub fn echo_u16(value: u16) -> u16 {
    value
}

#[wasmedge_bindgen]
pub fn echo_u32(value: u32) -> u32 {
    value
}

#[wasmedge_bindgen]
pub fn echo_u64(value: u64) -> u64 {
    value
}

#[wasmedge_bindgen]
pub fn echo_f32(value: f32) -> f32 {
    value
}

#[wasmedge_bindgen]
pub fn echo_f64(value: f64) -> f64 {
    value
}

#[wasmedge_bindgen]
pub fn echo_text(value: String) -> String {
    value
}

#[wasmedge_bindgen]
pub fn echo_bytes(value: Vec<u8>) -> Vec<u8> {
    value
}

#[wasmedge_bindgen]
pub fn echo_i8s(value: Vec<i8>) -> Vec<i8> {
    value
}

#[wasmedge_bindgen]
pub fn echo_i16s(value: Vec<i16>) -> Vec<i16> {
    value
}

#[wasmedge_bindgen]
pub fn echo_i32s(value: Vec<i32>) -> Vec<i32> {
    value
}

#[wasmedge_bindgen]
pub fn echo_i64s(value: Vec<i64>) -> Vec<i64> {
    value
}

#[wasmedge_bindgen]
pub fn echo_u16s(value: Vec<u16>) -> Vec<u16> {
    value
}

#[wasmedge_bindgen]
pub fn echo_u32s(value: Vec<u32>) -> Vec<u32> {
    value
}

#[wasmedge_bindgen]
pub fn echo_u64s(value: Vec<u64>) -> Vec<u64> {
    value
}
