//! Rows are shown also where an asynchronous projector has failed, which is said.

use serde_json::json;

use crate::support::{LUA, MANIFEST, PROJECTED, application, extengine, lines, said};

#[test]
fn a_failed_projector_keeps_no_row_from_being_shown() {
    let manifest = format!("{MANIFEST}{PROJECTED}");
    let lua = format!(
        "{LUA}
        function P()
          local k = host.get('sys.event').args.k
          if k == 2 then host.reject('no two') end
          host.put_value('b', {{k = k}}, {{v = 1}})
        end
        function Q() return {{k = 7}} end"
    );
    let folder = application(&manifest, &lua);
    let commands: String = (1..=3)
        .map(|k| format!("{{\"command\": \"C\", \"args\": {{\"k\": {k}}}}}\n"))
        .collect();
    let ran = extengine(folder.path(), &["run", "."], commands.as_bytes());
    assert_eq!(ran.status.code(), Some(1), "{}", said(&ran));
    assert_eq!(lines(&ran).len(), 3);

    // A shadow tells what it has compared all the same.
    let shadow = ["run", ".", "--data", "other", "--shadow", "p=p.lua"];
    let ran = extengine(folder.path(), &shadow, commands.as_bytes());
    assert_eq!(ran.status.code(), Some(1));
    let said_of_it = said(&ran);
    assert!(
        said_of_it.contains("p.lua beside package `p`: 3 commands compared, 0 differ"),
        "{said_of_it}"
    );
    assert!(said_of_it.contains("no two"), "{said_of_it}");

    let show = |args: &[&str]| {
        let shown = extengine(folder.path(), args, b"");
        assert_eq!(shown.status.code(), Some(1), "{args:?}");
        let said = said(&shown);
        let failure =
            "the rows of `b` stay behind, since asynchronous projector `P` failed: at command 1:";
        assert!(said.contains(failure), "{said}");
        lines(&shown)
    };
    assert_eq!(show(&["state", ".", "a"]).len(), 3);
    assert_eq!(show(&["state", ".", "b"]), [json!({"k": 1, "v": 1})]);
    assert_eq!(show(&["query", ".", "Q"]), [json!({"k": 7})]);
    assert!(show(&["state", ".", "--hash"]).is_empty());
    assert!(show(&["state", ".", "b", "--hash"]).is_empty());
    assert!(show(&["state", ".", "a", "--hash"])[0]["hash"].is_string());
}
