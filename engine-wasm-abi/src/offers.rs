//! What a module says it offers: an optional custom section with the names of its extensions.

use engine_core::manifest::PackageManifest;
use wasmparser::{Parser, Payload};

/// The custom section's name.
const SECTION: &str = "extengine.extensions";

/// The lines of all sections of this name, each a kind, a space and a name; `None` for a module that has none.
pub(crate) fn offers(code: &[u8]) -> Option<Vec<String>> {
    let mut found = None;
    for payload in Parser::new(0).parse_all(code) {
        match payload {
            Ok(Payload::CustomSection(section)) if section.name() == SECTION => {
                let lines = String::from_utf8_lossy(section.data());
                let lines = lines.lines().filter(|line| !line.is_empty());
                found
                    .get_or_insert_with(Vec::new)
                    .extend(lines.map(str::to_owned));
            }
            Ok(_) => {}
            // The inspection says what is wrong.
            Err(_) => break,
        }
    }
    found
}

/// Everything that keeps a module from having the declared extensions.
pub(crate) fn problems(code: &[u8], manifest: &PackageManifest) -> Vec<String> {
    let offers = offers(code);
    let mut problems = Vec::new();
    for decl in &manifest.extensions {
        if decl.name.contains('\0') {
            problems.push(format!("the name of extension {:?} has a NUL", decl.name));
        }
        let line = format!("{} {}", decl.kind, decl.name);
        if let Some(offers) = offers.as_ref().filter(|offers| !offers.contains(&line)) {
            problems.push(format!(
                "the manifest declares the {} `{}`, which is not among what the module offers: {}",
                decl.kind,
                decl.name,
                offers.join(", ")
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(wat: &str) -> Vec<u8> {
        wat::parse_str(wat).unwrap()
    }

    #[test]
    fn the_lines_of_all_sections_are_read() {
        let code = module(
            r#"(module
            (@custom "extengine.extensions" "command visit\n")
            (@custom "other" "command no\n")
            (memory 1)
            (@custom "extengine.extensions" "query total\nquery visits\n"))"#,
        );
        let lines = offers(&code).unwrap();
        assert_eq!(lines, ["command visit", "query total", "query visits"]);
    }

    #[test]
    fn a_module_may_keep_silent() {
        assert_eq!(offers(&module("(module)")), None);
        assert_eq!(offers(b"\0asm\x01\0\0\0\x99"), None);
    }
}
