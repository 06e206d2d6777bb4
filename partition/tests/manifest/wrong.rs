//! Each way to be wrong, with its line and what to do.

use crate::{folder, problems, problems_in};

/// A manifest without problems, to be spoiled; its lines are counted from 1.
const GOOD: &str = "\
[app]
name = 'shop'
partitions = 1
[storages.stock]
key = 'item: text'
value = 'count: int'
[storages.sales]
key = 'day: int'
value = 'count: int'
[packages.shop]
builtin = 'shop'
policy = 'keep'
limits = { intents = 5, stack = 9 }
waive = { rapid = ['stack'] }
[extensions.Sell]
kind = 'command'
args = 'item: text, tags: [text]'
access = { stock = ['read', 'put'] }
[extensions.Known]
kind = 'validator'
on = ['Sell']
access = { stock = ['read'] }
[extensions.Daily]
kind = 'projector'
mode = 'async'
on = ['Sell']
access = { sales = ['read', 'put'] }
[partition]
queue = 7
";

/// Replaces a part of [`GOOD`], which must be in it once, and expects one problem in this line with these words.
fn spoiled(part: &str, by: &str, line: usize, words: &str) {
    assert_eq!(GOOD.matches(part).count(), 1, "{part}");
    let found = problems(&GOOD.replace(part, by));
    assert_eq!(found.len(), 1, "{part} -> {by}: {found:#?}");
    assert_eq!(found[0].0, line, "{part} -> {by}: {found:#?}");
    assert!(found[0].1.contains(words), "{part} -> {by}: {found:#?}");
}

#[test]
fn the_manifest_to_spoil_is_good() {
    assert_eq!(problems(GOOD), []);
}

#[test]
fn a_row_shows_every_field_under_a_name_of_its_own() {
    let storage = "key = 'item: text'";
    spoiled(
        storage,
        "key = 'storage: text'",
        5,
        "`storage`: rows are shown with",
    );
    let value = "key = 'day: int'\nvalue = 'count: int'";
    let with = |fields: &str| format!("key = 'day: int'\nvalue = '{fields}'");
    spoiled(
        value,
        &with("partition: int"),
        9,
        "`partition`: rows are shown with",
    );
    spoiled(
        value,
        &with("count: int, day: int"),
        9,
        "`day` is in the key, too",
    );
    let query = "[partition]\nqueue = 7";
    let with = "[extensions.Ask]\nkind = 'query'\nresult = 'partition: int'\n[partition]";
    spoiled(
        query,
        with,
        30,
        "field `partition`: an answer is shown with its partition",
    );
}

#[test]
fn foreign_functions_that_the_program_does_not_have_are_refused() {
    let sales = "access = { sales = ['read', 'put'] }";
    spoiled(
        sales,
        "foreign = ['sha256', 'compres']",
        27,
        "`compres` is no foreign function of this program: did you mean `compress`?",
    );
    spoiled(
        sales,
        "foreign = ['now']",
        27,
        "use one of `compress`, `sha256`, `uncompress`",
    );
    spoiled(sales, "foreign = 'sha256'", 27, "a list of texts");
}

#[test]
fn unknown_keys_and_tables_are_refused_with_the_near_one() {
    spoiled("name =", "name = 'a'\nnam =", 3, "did you mean `name`?");
    spoiled(
        "[partition]",
        "[partitoin]",
        28,
        "did you mean `partition`?",
    );
    spoiled(
        "policy",
        "polcy",
        12,
        "`[packages.shop]` has no key `polcy`: did you mean `policy`?",
    );
    spoiled("mode", "modus", 25, "use one of");
    spoiled("queue", "queu", 29, "did you mean `queue`?");
    spoiled("intents", "intent", 13, "did you mean `intents`?");
    spoiled(
        "intents = 5",
        "deadline = 5",
        13,
        "did you mean `deadline_ms`?",
    );
    spoiled(
        "key = 'day: int'",
        "key = 'day: int'\nvalues = 'x'",
        9,
        "did you mean `value`?",
    );
}

#[test]
fn missing_keys_are_named_at_their_table() {
    spoiled("name = 'shop'", "", 1, "`[app]` needs `name = ");
    spoiled(
        "key = 'day: int'",
        "",
        7,
        "`[storages.sales]` needs `key = ",
    );
    spoiled("kind = 'validator'", "", 19, "needs `kind = ");
    spoiled("builtin = 'shop'", "", 10, "package `shop` has no code");
    assert_eq!(problems("").len(), 2);
    assert!(problems("")[0].1.contains("needs `[app]`"));
    assert!(problems("")[1].1.contains("no package"));
    let empty = "[app]\nname = 'a'\n[packages]\n[extensions.E]\nkind = 'job'\nevery = '1d'\n";
    assert_eq!(problems(empty).len(), 1);
}

#[test]
fn wrong_types_say_what_is_expected() {
    spoiled(
        "'shop'\npart",
        "7\npart",
        2,
        "`name` is a text in quotes, but here stands a TOML integer",
    );
    spoiled("partitions = 1", "partitions = '1'", 3, "a whole number");
    spoiled(
        "['Sell']\naccess = { stock",
        "'Sell'\naccess = { stock",
        21,
        "a list of texts",
    );
    spoiled(
        "['Sell']\naccess = { sales",
        "['Sell', 3]\naccess = { sales",
        26,
        "a text in quotes",
    );
    spoiled(
        "{ rapid = ['stack'] }",
        "3",
        14,
        "`packages.shop.waive` is a table",
    );
    spoiled("[partition]\nqueue = 7", "[[partition]]", 28, "is a table");
    spoiled(
        "['read', 'put'] }\n[ext",
        "3 }\n[ext",
        18,
        "a list of texts",
    );
    spoiled("['stack']", "[]", 14, "empty list");
    assert_eq!(problems(&format!("app = 3\n{}", &GOOD[32..])).len(), 1);
}

#[test]
fn a_store_is_one_of_those_that_this_build_has() {
    spoiled(
        "queue",
        "store = 'disc'\nqueue",
        29,
        "`disc` is no store: did you mean `disk`?",
    );
    spoiled("queue", "store = 3\nqueue", 29, "a text in quotes");
    spoiled("queue", "stor = 'disk'\nqueue", 29, "did you mean `store`?");
    spoiled("queue", "store_bytes = 0\nqueue", 29, "a size");
    #[cfg(not(feature = "disk"))]
    spoiled(
        "queue",
        "store = 'disk'\nqueue",
        29,
        "this build has no store `disk`: build it with the feature `disk`, or choose `memory`",
    );
    #[cfg(feature = "disk")]
    assert_eq!(
        problems(&GOOD.replace("queue", "store = 'disk'\nqueue")),
        []
    );
}

#[test]
fn schemas_are_reported_at_their_field() {
    spoiled("'day: int'", "'day: it'", 8, "`key`: expected a type");
    spoiled("'day: int'", "'day: [int]'", 8, "key field `day`");
    spoiled("item: text, tags", "item: text, item", 17, "stands twice");
    spoiled(
        "'day: int'",
        "'''\nday\n: it'''",
        8,
        "of schema `day\\n: it`",
    );
}

#[test]
fn names_are_identifiers() {
    spoiled(
        "name = 'shop'",
        "name = '../shop'",
        2,
        "cannot name an application",
    );
    spoiled(
        "[partition]",
        "[storages.1a]\nkey = ''\nvalue = ''\n[partition]",
        28,
        "cannot name a storage",
    );
    spoiled(
        "[partition]",
        "[extensions.a-b]\nkind = 'job'\nevery = '1d'\n[partition]",
        28,
        "cannot name an extension",
    );
    spoiled(
        "[packages.shop]",
        "[packages.'a b']",
        10,
        "cannot name a package",
    );
}

#[test]
fn the_hosts_own_storages_can_be_neither_declared_nor_named() {
    let declared = "[storages.sys.event]\nkey = ''\nvalue = ''\n[partition]";
    spoiled("[partition]", declared, 28, "host's own");
    let declared = "[storages.'sys.x']\nkey = ''\nvalue = ''\n[partition]";
    spoiled("[partition]", declared, 28, "host's own");
    spoiled(
        "{ stock = ['read'] }",
        "{ sys.event = ['read'] }",
        22,
        "open without being named",
    );
    spoiled(
        "{ stock = ['read'] }",
        "{ 'sys.event' = ['read'] }",
        22,
        "open without being named",
    );
}

#[test]
fn what_is_named_must_be_there() {
    spoiled(
        "{ stock = ['read'] }",
        "{ stok = ['read'] }",
        22,
        "`stok` is no storage: did you mean `stock`?",
    );
    spoiled("['read'] }", "['raed'] }", 22, "did you mean `read`?");
    spoiled(
        "kind = 'command'",
        "kind = 'command'\npackage = 'shops'",
        17,
        "did you mean `shop`?",
    );
    spoiled(
        "'validator'",
        "'validater'",
        20,
        "did you mean `validator`?",
    );
    spoiled("'async'", "'asynch'", 25, "did you mean `async`?");
    spoiled("'keep'", "'kept'", 12, "`kept` is no policy");
    spoiled("['stack']", "['stacks']", 14, "did you mean `stack`?");
    spoiled(
        "['stack']",
        "['deadline_ms']",
        14,
        "did you mean `deadline`?",
    );
    spoiled("['stack']", "['stack', 'stack']", 14, "stands twice");
    spoiled(
        "policy = 'keep'",
        "engine = 'rapidd'",
        12,
        "did you mean `rapid`?",
    );
    spoiled(
        "partitions = 1",
        "engine = 'compct'",
        3,
        "did you mean `compact`?",
    );
    spoiled("{ rapid =", "{ rapit =", 14, "did you mean `rapid`?");
    spoiled(
        "partitions = 1",
        "commands = 'c.jsonl'",
        3,
        "there is no file `no-such-folder/c.jsonl`",
    );
    spoiled(
        "policy = 'keep'",
        "wasm = 'shop.wasm'",
        12,
        "there is no file",
    );
}

#[test]
fn a_package_has_code_for_its_engine() {
    spoiled(
        "policy = 'keep'",
        "engine = 'rapid'",
        12,
        "engine `rapid` runs wasm code and package `shop` has none",
    );
    spoiled(
        "partitions = 1",
        "engine = 'compact'",
        10,
        "engine `compact` runs lua code",
    );
    let folder = folder(&["shop.lua"]);
    let both = GOOD.replace("policy = 'keep'", "lua = 'shop.lua'\nengine = 'compact'");
    assert_eq!(problems_in(&both, folder.path()), []);
}

#[test]
fn an_extension_names_its_package_where_there_are_two() {
    let two = GOOD.replace(
        "[partition]",
        "[packages.other]\nbuiltin = 'x'\n[partition]",
    );
    let lines: Vec<_> = problems(&two).into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines, [15, 19, 23]);
}

#[test]
fn keys_are_those_of_the_kind() {
    spoiled(
        "{ stock = ['read'] }",
        "{ stock = ['read', 'put'] }",
        22,
        "a validator may not write",
    );
    spoiled(
        "on = ['Sell']\naccess = { stock",
        "access = { stock",
        19,
        "needs `on = ",
    );
    spoiled(
        "kind = 'validator'",
        "kind = 'validator'\nargs = ''",
        21,
        "`args` is not for a validator",
    );
    spoiled(
        "kind = 'validator'",
        "kind = 'validator'\nresult = ''",
        21,
        "`result` is not for a validator",
    );
    spoiled(
        "kind = 'validator'",
        "kind = 'validator'\nmode = 'sync'",
        21,
        "for projectors only",
    );
    spoiled(
        "kind = 'validator'",
        "kind = 'validator'\nfrom = 'oldest'",
        21,
        "for asynchronous projectors only",
    );
    let function = "[extensions.F]\nkind = 'function'\nargs = 'a: int'\nroute = 'a'\n[partition]";
    spoiled("[partition]", function, 31, "for commands and queries only");
    spoiled(
        "'command'",
        "'command'\non = ['Sell']",
        17,
        "for validators and projectors only",
    );
}

#[test]
fn on_names_commands() {
    spoiled(
        "on = ['Sell']\naccess = { stock",
        "on = ['Sel']\naccess = { stock",
        21,
        "did you mean `Sell`?",
    );
    spoiled(
        "on = ['Sell']\naccess = { stock",
        "on = ['Daily']\naccess = { stock",
        21,
        "`Daily` is a projector",
    );
}

#[test]
fn route_names_a_scalar_argument() {
    spoiled(
        "'command'",
        "'command'\nroute = 'itme'",
        17,
        "did you mean `item`?",
    );
    spoiled("'command'", "'command'\nroute = 'tags'", 17, "`[text]`");
    spoiled(
        "partitions = 1",
        "partitions = 2",
        15,
        "`Sell` is a command of an application with 2 partitions",
    );
}

#[test]
fn an_asynchronous_projector_alone_writes_what_it_reads() {
    spoiled(
        "{ sales = ['read', 'put'] }",
        "{ sales = ['put'], stock = ['read'] }",
        27,
        "reads `stock`",
    );
    spoiled(
        "{ stock = ['read', 'put'] }",
        "{ sales = ['insert'] }",
        18,
        "`Sell` may not write it",
    );
    let other = "[extensions.Other]\nkind = 'projector'\nmode = 'async'\non = ['Sell']\naccess = { sales = ['delete'] }\n";
    spoiled(
        "[partition]",
        &format!("{other}[partition]"),
        32,
        "`Other` may not write it",
    );
}

#[test]
fn numbers_are_sane() {
    for (value, words) in [
        ("0", "from 1 to 1024"),
        ("-3", "from 1 to 1024"),
        ("1025", "from 1 to 1024"),
        ("1.5", "a whole number"),
    ] {
        spoiled("partitions = 1", &format!("partitions = {value}"), 3, words);
    }
    spoiled("intents = 5", "intents = 0", 13, "at least 1");
    spoiled(
        "intents = 5",
        "intents = 4294967296",
        13,
        "at most 4294967295",
    );
    spoiled(
        "intents = 5",
        "intents = '5 MiB'",
        13,
        "`intents` is a whole number",
    );
    spoiled("stack = 9 }", "stack = '9 MB' }", 13, "KiB");
    spoiled("stack = 9 }", "memory = true }", 13, "a size");
    spoiled("queue = 7", "queue = 99999999", 29, "from 1 to 1048576");
}

#[test]
fn what_stands_twice_leaves_the_rest_checked() {
    let twice = GOOD
        .replace("queue = 7", "queue = 7\nqueue = 7")
        .replace("'keep'", "'kept'");
    let found = problems(&twice);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_eq!((found[0].0, found[1].0), (12, 30));
    assert_eq!(found[1].1, "`queue` stands twice: keep one");
}

#[test]
fn syntax_errors_are_reported_alone_and_all() {
    let broken = GOOD
        .replace("[partition]", "[partition")
        .replace("'keep'", "'keep");
    let lines: Vec<_> = problems(&broken)
        .into_iter()
        .map(|(line, _)| line)
        .collect();
    assert_eq!(lines, [12, 28]);
}

#[test]
fn line_breaks_in_names_leave_one_line_a_problem() {
    spoiled("[partition]", "\"a\\nb\" = 3\n[partition]", 28, "a\\nb");
}

#[test]
fn ten_problems_are_ten_lines() {
    let spoil = [
        ("name = 'shop'", "nmae = 'shop'"),
        ("key = 'item: text'", "key = 'item: txt'"),
        ("'keep'", "'kept'"),
        ("intents = 5", "intents = 0"),
        ("['stack']", "['stick']"),
        ("stock = ['read', 'put']", "stock = ['read', 'putt']"),
        (
            "on = ['Sell']\naccess = { stock",
            "on = ['Sold']\naccess = { stock",
        ),
        ("'async'", "'later'"),
        ("queue = 7", "cue = 7"),
    ];
    let text = spoil.iter().fold(GOOD.to_owned(), |text, (part, by)| {
        assert_eq!(text.matches(part).count(), 1, "{part}");
        text.replace(part, by)
    });
    let lines: Vec<_> = problems(&text).into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines, [1, 2, 5, 12, 13, 14, 18, 21, 25, 29]);
}

#[test]
fn a_rollback_that_never_comes_is_refused() {
    let policy = "policy = 'keep'";
    let rollback = |rule: &str| format!("rollback = {{ {rule} }}");
    let never = rollback("failures = 3, of = 2");
    spoiled(policy, &never, 12, "make `failures` at most `of`");
    spoiled(policy, &rollback("failures = 0"), 12, "from 1 to");
    spoiled(
        policy,
        &rollback("fail = 1"),
        12,
        "did you mean `failures`?",
    );
}

#[test]
fn a_job_has_one_schedule_that_comes_and_no_argument_but_its_due_time() {
    let job = |lines: &str| {
        let job = format!("[extensions.Tidy]\nkind = 'job'\n{lines}\n[partition]");
        problems(&GOOD.replace("[partition]", &job))
    };
    let one = |lines: &str, line: usize, words: &str| {
        let found = job(lines);
        assert_eq!(found.len(), 1, "{lines}: {found:#?}");
        assert_eq!(found[0].0, line, "{lines}: {found:#?}");
        assert!(found[0].1.contains(words), "{lines}: {found:#?}");
    };
    assert_eq!(job("every = '10s'\nargs = 'due: int'"), []);
    assert_eq!(job("cron = '*/5 * * * mon-fri'"), []);
    one("", 28, "`[extensions.Tidy]` needs `every = ");
    one("every = '10'", 30, "`every` must be a whole number");
    one("cron = '*/5 * * *'", 30, "`cron` must have five fields");
    one("cron = '0 25 * * *'", 30, "field `hour` cannot be `25`");
    one("cron = '0 0 31 2 *'", 30, "never comes");
    one("every = '1s'\ncron = '* * * * *'", 31, "remove it");
    one(
        "every = '1s'\nargs = 'due: text'",
        31,
        "nothing but the time",
    );
    one(
        "every = '1s'\nargs = 'a: int, b: int'",
        31,
        "nothing but the time",
    );
    spoiled(
        "kind = 'command'",
        "kind = 'command'\nevery = '1s'",
        17,
        "for jobs only",
    );
}
