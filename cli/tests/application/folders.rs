//! Data folders that are not the application's.

use crate::support::{LUA, MANIFEST, application, extengine, lines, said};

#[test]
fn a_replay_refuses_the_data_folder_of_another_application() {
    let folder = application(MANIFEST, LUA);
    let other = application(&MANIFEST.replace("\"x\"", "\"y\""), LUA);
    let data = other.path().join("data");
    let data = data.to_str().unwrap();
    let command = b"{\"command\": \"C\", \"args\": {\"k\": 1}}";
    let ran = extengine(other.path(), &["run", ".", "--data", data], command);
    assert_eq!(lines(&ran).len(), 1, "{}", said(&ran));
    for verb in ["replay", "state"] {
        let refused = extengine(folder.path(), &[verb, ".", "--data", data], b"");
        assert_eq!(refused.status.code(), Some(1));
        assert!(lines(&refused).is_empty());
        let said = said(&refused);
        assert!(
            said.contains("belongs to application `y`, not to `x`"),
            "{said}"
        );
    }
    let replayed = extengine(other.path(), &["replay", ".", "--data", data], b"");
    assert_eq!(replayed.status.code(), Some(0), "{}", said(&replayed));
}
