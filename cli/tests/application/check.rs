//! `extengine check` says what `run` would refuse, and nothing else.

use std::fs;

use serde_json::{Value as Json, json};

use crate::support::{LUA, MANIFEST, application, extengine, lines};

fn check(manifest: &str, lua: &str) -> (Option<i32>, Vec<Json>) {
    let folder = application(manifest, lua);
    let checked = extengine(folder.path(), &["check", "."], b"");
    (checked.status.code(), lines(&checked))
}

#[test]
fn an_engine_that_is_missing_is_a_problem() {
    let (status, lines) = check(
        &MANIFEST.replace("\"lua\"\n[storages", "\"zzz\"\n[storages"),
        LUA,
    );
    assert_eq!(status, Some(1));
    assert_eq!(lines[0]["engine"], json!("zzz"));
    assert_eq!(lines[0]["loads"], json!(false));
    assert_eq!(lines[0]["error"]["kind"], json!("unknown"));

    let (status, lines) = check(&MANIFEST.replace("engine = \"lua\"\n", ""), LUA);
    assert_eq!(status, Some(1));
    let message = lines[0]["error"]["message"].as_str().unwrap();
    assert!(message.contains("package `p` names no engine"), "{message}");
}

#[test]
fn native_code_that_is_not_linked_is_a_notice_unless_it_is_chosen() {
    let both = MANIFEST.replace("lua = \"p.lua\"", "lua = \"p.lua\"\nbuiltin = \"p\"");
    let (status, lines) = check(&both, LUA);
    assert_eq!(status, Some(0), "{lines:?}");
    assert_eq!(lines.len(), 2);
    let notice = lines[0]["notice"].as_str().unwrap();
    assert!(notice.contains("which has: none"), "{notice}");

    let chosen = both.replace("engine = \"lua\"", "engine = \"builtin\"");
    let (status, lines) = check(&chosen, LUA);
    assert_eq!(status, Some(1), "{lines:?}");
    assert!(lines[0].get("error").is_some(), "{lines:?}");
}

#[test]
fn problems_of_a_chunk_name_it_as_a_run_does() {
    let (status, lines) = check(MANIFEST, "function C(a)\n  nonsense here\nend");
    assert_eq!(status, Some(1));
    let problem = lines[0]["report"]["problems"][0].as_str().unwrap();
    assert!(problem.starts_with("p.lua:2:"), "{problem}");
}

#[test]
#[cfg(unix)]
fn a_device_is_no_code() {
    let folder = application(MANIFEST, LUA);
    std::os::unix::fs::symlink("/dev/null", folder.path().join("null.lua")).unwrap();
    for args in [
        &["check", "null.lua"][..],
        &["run", ".", "--shadow", "p=null.lua"],
    ] {
        let ran = extengine(folder.path(), args, b"");
        assert_eq!(ran.status.code(), Some(1), "{args:?}");
        let said = String::from_utf8(ran.stderr).unwrap();
        let part = "cannot read null.lua: it is no regular file";
        assert!(said.contains(part), "{args:?}: {said}");
    }
}

#[test]
fn a_file_that_is_too_long_is_not_read_to_its_end() {
    let folder = application(MANIFEST, LUA);
    let file = fs::File::create(folder.path().join("long.lua")).unwrap();
    // A file with nothing in it, and of a length that no memory has.
    file.set_len(1 << 40).unwrap();
    let ran = extengine(folder.path(), &["check", "long.lua"], b"");
    assert_eq!(ran.status.code(), Some(1));
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(
        said.contains("limit `code_bytes` reached: 16777216 allowed"),
        "{said}"
    );
}
