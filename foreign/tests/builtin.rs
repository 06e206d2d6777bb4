//! The built-in functions against fixed vectors, another implementation where there is one, and damaged input.

use std::io::Write;
use std::process::{Command, Stdio};

use engine_core::error::ErrorKind;
use foreign::{builtin, builtin_up_to};

fn call(name: &str, bytes: &[u8]) -> Vec<u8> {
    let function = builtin().get(name).cloned().expect("it is built in");
    assert!(function.is_pure());
    function.call(bytes).expect("it answers")
}

fn refusal(name: &str, bytes: &[u8]) -> String {
    let function = builtin().get(name).cloned().expect("it is built in");
    let error = function.call(bytes).expect_err("it refuses");
    assert_eq!(error.kind(), ErrorKind::Rejected);
    error.message().to_owned()
}

/// Text with patterns and without.
fn sample() -> Vec<u8> {
    let mut state = 1u32;
    let noise = (0..50_000).map(|i| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if i % 3 == 0 {
            (state >> 24) as u8
        } else {
            b'a'
        }
    });
    noise.collect()
}

/// `hello hello hello hello` as zlib 1.2 compresses it.
const HELLO: &[u8] = b"\x78\x9c\xcb\x48\xcd\xc9\xc9\x57\xc8\x40\x27\x01\x68\x03\x08\xb1";

#[test]
fn hashes_are_those_of_the_standard() {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
    for (text, hash) in [
        (
            &b""[..],
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        (
            b"abc",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
    ] {
        assert_eq!(hex(&call("sha256", text)), hash);
    }
}

#[test]
fn a_stream_made_elsewhere_is_uncompressed() {
    assert_eq!(call("uncompress", HELLO), b"hello hello hello hello");
}

#[test]
fn what_was_compressed_comes_back() {
    for bytes in [&b""[..], b"a", &[0; 100_000], &sample()] {
        let packed = call("compress", bytes);
        assert_eq!(packed[..2], [0x78, 0x9c], "the head of RFC 1950");
        assert_eq!(call("uncompress", &packed), bytes);
    }
}

/// Where there is no Python, the fixed stream above is the other implementation.
#[test]
fn another_implementation_reads_what_is_compressed() {
    let program = "import sys, zlib; i = sys.stdin.buffer; o = sys.stdout.buffer; o.write(zlib.decompress(i.read()))";
    let python = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut python) = python else { return };
    let mut input = python.stdin.take().expect("a pipe");
    input
        .write_all(&call("compress", &sample()))
        .expect("it reads");
    drop(input);
    let output = python.wait_with_output().expect("it ends");
    assert!(output.status.success());
    assert_eq!(output.stdout, sample());
}

#[test]
fn damaged_streams_are_refused_by_their_damage() {
    let cut_off = "uncompress: the stream is cut off";
    assert_eq!(refusal("uncompress", b""), cut_off);
    assert_eq!(refusal("uncompress", &HELLO[..HELLO.len() - 1]), cut_off);
    let wrong = "uncompress: this is no zlib stream";
    assert_eq!(refusal("uncompress", b"no stream at all"), wrong);
    let mut damaged = HELLO.to_vec();
    damaged[HELLO.len() - 1] ^= 1;
    let wrong = "uncompress: the checksum is wrong";
    assert_eq!(refusal("uncompress", &damaged), wrong);
}

#[test]
fn any_flipped_bit_is_refused_or_harmless() {
    let packed = call("compress", &sample()[..2_000]);
    let function = builtin().get("uncompress").cloned().expect("built in");
    for place in 0..packed.len() * 8 {
        let mut damaged = packed.clone();
        damaged[place / 8] ^= 1 << (place % 8);
        if let Ok(bytes) = function.call(&damaged) {
            assert_eq!(bytes, sample()[..2_000], "bit {place}");
        }
    }
}

#[test]
fn a_stream_of_too_many_bytes_is_refused() {
    let functions = builtin_up_to(1_000);
    let uncompress = functions.get("uncompress").expect("built in");
    let within = uncompress.call(&call("compress", &[0; 1_000]));
    assert_eq!(within.expect("within").len(), 1_000);
    let beyond = uncompress.call(&call("compress", &[0; 1_001]));
    let message = "uncompress: there are more than the 1000 bytes that are allowed";
    assert_eq!(beyond.expect_err("beyond").message(), message);
    let bomb = call("compress", &vec![0; 17 << 20]);
    assert!(bomb.len() < 1 << 17);
    assert!(refusal("uncompress", &bomb).contains("more than the 16777216 bytes"));
}
