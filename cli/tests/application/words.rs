//! What guests say does not pass for what the host says.

use std::process::Output;

use crate::support::{LUA, MANIFEST, PROJECTED, application, extengine, said};

/// Checks that all of it was said, on lines of the host.
fn check(output: &Output, words: &[&str]) {
    let said = said(output);
    for words in words {
        let escaped = format!("{words}\\nThe state is gone\\u{{1b}}[2J");
        assert!(said.contains(&escaped), "{escaped}: {said}");
    }
    let is_forged = |line: &str| line.starts_with("The state is gone");
    assert!(!said.contains('\u{1b}'), "{said}");
    assert!(!said.lines().any(is_forged), "{said}");
}

#[test]
fn words_of_extensions_begin_no_line_and_command_no_terminal() {
    let lua = format!(
        "{LUA}
        local words = '\\nThe state is gone\\27[2J'
        local command = C
        function C(a) print('printed' .. words) command(a) end
        function P() host.reject('projected' .. words) end
        function Q() host.reject('queried' .. words) end"
    );
    let folder = application(&format!("{MANIFEST}{PROJECTED}"), &lua);
    let of = |args: &[&str], input: &[u8]| extengine(folder.path(), args, input);
    let command = b"{\"command\": \"C\", \"args\": {\"k\": 1}}\n";
    let shadow = ["run", ".", "--shadow", "p=p.lua"];
    check(&of(&shadow, command), &["printed", "projected"]);
    let called = of(&["call", ".", "C", "{\"k\": 1}"], b"");
    check(&called, &["printed"]);
    check(&of(&["state", "."], b""), &["projected"]);
    check(&of(&["query", ".", "Q"], b""), &["queried"]);
}
