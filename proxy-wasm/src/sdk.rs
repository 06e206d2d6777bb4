//! With which SDK a filter was written, guessed from the traces that SDKs leave.

use engine_wasm_abi::inspect::ModuleInfo;

/// What the SDK for Rust leaves behind its name: the folder of its source, with its version.
const RUST: &[u8] = b"proxy-wasm-";

/// What the SDK for AssemblyScript leaves: the name of its package, in UTF-16.
const ASSEMBLYSCRIPT: &str = "@solo-io/proxy-runtime";

/// The SDK, or the language where there is none; none where nothing tells.
pub(crate) fn guess(code: &[u8], info: &ModuleInfo) -> Option<String> {
    if let Some(version) = rust(code) {
        return Some(format!("Rust, proxy-wasm {version}"));
    }
    let utf16: Vec<u8> = ASSEMBLYSCRIPT
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    if find(code, &utf16).is_some() {
        return Some(format!("AssemblyScript, {ASSEMBLYSCRIPT}"));
    }
    let made_by = |name: &str| {
        info.producers
            .iter()
            .any(|producer| producer.name.starts_with(name))
    };
    let cpp = info.export("proxy_on_request_metadata").is_some();
    let languages = [
        (made_by("TinyGo"), "TinyGo"),
        (made_by("Go"), "Go"),
        (cpp, "C++"),
    ];
    let mut languages = languages.into_iter().filter(|(told, _)| *told);
    languages.next().map(|(_, language)| language.to_owned())
}

/// The version of the SDK for Rust.
fn rust(code: &[u8]) -> Option<&str> {
    let mut rest = code;
    while let Some(at) = find(rest, RUST) {
        rest = &rest[at + RUST.len()..];
        let end = rest
            .iter()
            .position(|&byte| !byte.is_ascii_digit() && byte != b'.')?;
        if end > 0 && rest[end] == b'/' {
            return std::str::from_utf8(&rest[..end]).ok();
        }
    }
    None
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use engine_wasm_abi::inspect::Producer;

    use super::*;

    #[test]
    fn each_sdk_is_known_by_its_traces() {
        let none = ModuleInfo::default();
        let rust = b"a proxy-wasm-filter in /src/proxy-wasm-0.2.5/src/lib.rs";
        assert_eq!(
            guess(rust, &none).as_deref(),
            Some("Rust, proxy-wasm 0.2.5")
        );
        let utf16: Vec<u8> = "~lib/@solo-io/proxy-runtime/runtime.ts"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let told = guess(&utf16, &none);
        assert_eq!(
            told.as_deref(),
            Some("AssemblyScript, @solo-io/proxy-runtime")
        );
        for name in ["Go", "TinyGo"] {
            let info = ModuleInfo {
                producers: vec![Producer {
                    role: "language".into(),
                    name: name.into(),
                    version: "1".into(),
                }],
                ..ModuleInfo::default()
            };
            assert_eq!(guess(b"", &info).as_deref(), Some(name));
        }
        assert_eq!(guess(b"proxy-wasm-", &none), None);
    }
}
