//! Configurations: the forms they have, and what is wrong with them.

use std::time::Duration;

use functions::{Abi, ErrorKind, PluginConfig};

fn json(text: &str) -> functions::Result<PluginConfig> {
    PluginConfig::from_json(text, "/plugins".as_ref())
}

#[test]
fn the_first_design_is_read_as_an_object_and_as_a_list() {
    let of = |vm: &str| {
        json(&format!(
            r#"{{"name": "car", "instance_num": 4, "vm_config": {vm}, "functions": ["link", "rank"]}}"#
        ))
        .unwrap()
    };
    let vm = r#"{"engine": "wasmedge", "path": "plugin/XX.wasm"}"#;
    let config = of(vm);
    assert_eq!((config.name.as_str(), config.instance_num), ("car", 4));
    assert_eq!(config.engine, "wasmtime");
    assert_eq!(config.path, std::path::Path::new("/plugins/plugin/XX.wasm"));
    assert_eq!(config.functions.len(), 2);
    assert!(
        config.notices[0].contains("engine `wasmedge` is not of this build; `wasmtime` runs"),
        "{:?}",
        config.notices
    );
    assert_eq!(of(&format!("[{vm}]")), config);
}

#[test]
fn later_ekuiper_fields_are_read_and_the_name_is_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fibonacci.json");
    let text = r#"{"version": "v1.0.0", "functions": ["fib"], "wasmFile": "/lib/fib.wasm", "wasmEngine": "wasmedge"}"#;
    std::fs::write(&file, text).unwrap();
    let config = PluginConfig::from_file(&file).unwrap();
    assert_eq!(config.name, "fibonacci");
    assert_eq!(config.version.as_deref(), Some("v1.0.0"));
    assert_eq!(config.path, std::path::Path::new("/lib/fib.wasm"));
    assert_eq!(config.instance_num, 1);
}

#[test]
fn toml_has_limits_and_signatures() {
    let text = "name = 'sum'\nengine = 'wasmer'\npath = 'sum.wasm'\nabi = 'plain'\ninstance_num = 2\ntimeout_ms = 50
        queue = 7\npolicy = 'fresh'\nwaive = ['stack']\nfunctions = ['add(a: i32, b: i32) -> i32']
        [limits]\nmemory = 65536\nfuel = 1000";
    let config = PluginConfig::from_toml(text, "/plugins".as_ref()).unwrap();
    assert_eq!(config.abi, Some(Abi::Plain));
    assert_eq!(
        (config.limits.memory, config.limits.fuel),
        (65536, Some(1000))
    );
    assert_eq!(
        (config.queue, config.timeout),
        (7, Duration::from_millis(50))
    );
    assert_eq!(
        config.functions[0].to_string(),
        "add(a: i32, b: i32) -> i32"
    );
}

#[test]
fn limits_are_written_as_in_an_applications_manifest() {
    let with = |limits: &str| {
        let text =
            format!("name = 'sum'\npath = 'sum.wasm'\nfunctions = ['add']\n[limits]\n{limits}");
        PluginConfig::from_toml(&text, "/plugins".as_ref())
    };
    let config = with("memory = '16 MiB'\nstack = '64 KiB'\nfuel = 7").unwrap();
    let limits = (
        config.limits.memory,
        config.limits.stack,
        config.limits.fuel,
    );
    assert_eq!(limits, (16 << 20, 64 << 10, Some(7)));
    let error = with(
        "memory = '16 MB'\nstack = 0\nfuel = '1 KiB'\ndeadline_ms = 0\nintents = 4294967296\nmemori = 1",
    );
    let error = error.unwrap_err();
    for part in [
        "`limits.memory` must be a size",
        "`limits.stack` must be a size, such as `1048576`",
        "`limits.fuel` must be a whole number",
        "`limits.deadline_ms` must be a whole number of at least 1",
        "`limits.intents` is too large: at most 4294967295",
        "`limits` has no `memori`",
    ] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
}

#[test]
fn a_limit_that_stands_twice_is_refused_in_either_form() {
    let text = r#"{"name": "sum", "path": "sum.wasm", "functions": ["add"], "limits": {"fuel": 7, "fuel": 9}}"#;
    let error = json(text).unwrap_err();
    assert!(error.message().contains("`fuel` stands twice"), "{error}");
    assert!(json(&text.replace(", \"fuel\": 9", "")).is_ok());
    let text = "name = 'sum'\npath = 'sum.wasm'\nfunctions = ['add']\n[limits]\nfuel = 7\nfuel = 9";
    assert!(PluginConfig::from_toml(text, "/plugins".as_ref()).is_err());
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let error = json(
        r#"{"name": "a b", "instance_num": 0, "engine": "v8", "wasmEngine": "wasmtime", "queue": 0,
            "functions": ["f(", "g", "g", "9"]}"#,
    )
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Manifest);
    for part in [
        "`name` is \"a b\"",
        "the engine is given more than once: engine, wasmEngine",
        "no engine `v8` in this build, which has: builtin, lua, wasmer, wasmtime",
        "no file with the code",
        "`instance_num` is 0: 1 to 256",
        "function `f(`: expected a name, found the end at character 3",
        "function `g` stands twice",
        "function `9`: expected a function's name",
        "`queue` is 0",
    ] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
}

#[test]
fn more_calls_than_there_is_room_for_cannot_wait() {
    let with = |queue: u64| {
        json(&format!(
            r#"{{"name": "a", "path": "a.wasm", "functions": ["f"], "queue": {queue}}}"#
        ))
    };
    assert_eq!(with(65_536).unwrap().queue, 65_536);
    let error = with(65_537).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Manifest);
    assert_eq!(error.message(), "`queue` is 65537: 1 to 65536 are wanted");
}

#[test]
fn a_configuration_made_by_code_is_checked_too() {
    let good = json(r#"{"name": "a", "path": "a.wasm", "functions": ["f", "g"]}"#).unwrap();
    good.validate().unwrap();
    let mut bad = good.clone();
    bad.name = String::new();
    bad.instance_num = 0;
    bad.queue = usize::MAX;
    bad.functions[1] = bad.functions[0].clone();
    let error = bad.validate().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Manifest);
    for part in [
        "`name` is \"\"",
        "`instance_num` is 0: 1 to 256",
        "`queue` is 18446744073709551615: 1 to 65536",
        "function `f` stands twice",
    ] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
    bad.functions.clear();
    let error = bad.validate().unwrap_err();
    assert!(error.message().contains("`functions` is empty"), "{error}");
}

#[test]
fn a_file_that_cannot_be_read_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        PluginConfig::from_file(&file).unwrap_err().to_string()
    };
    let error = write("a.json", "{\n  \"name\": 5}");
    assert!(
        error.contains("a.json") && error.contains("line 2"),
        "{error}"
    );
    let error = write(
        "b.toml",
        "name = 'b'\npath = 'b.wasm'\nfunctions = ['f']\nlimit = 1",
    );
    assert!(
        error.contains("b.toml") && error.contains("unknown field `limit`"),
        "{error}"
    );
    let error = write("c.yaml", "");
    assert!(error.contains("ends in `.json` or `.toml`"), "{error}");
    let error = write("d.json", r#"{"vm_config": 7, "functions": ["f"]}"#);
    assert!(error.contains("`vm_config` is an object"), "{error}");
    assert_eq!(PluginConfig::from_folder(folder.path()).unwrap().len(), 3);
    let gone = folder.path().join("gone");
    assert_eq!(
        PluginConfig::from_folder(&gone).unwrap_err().kind(),
        ErrorKind::Io
    );
}
