//! `extengine check` says what `run` would refuse, and nothing else.

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
