//! Rows as Lua tables and back.

use engine_core::error::ErrorKind;
use engine_core::key;
use engine_core::schema::Schema;
use engine_core::value::{Value, encode};

use crate::common::{ALL, ODD, Subject};

const MAX: i64 = (1 << 53) - 1;

/// On both sides of where numbers are exact.
const INTEGERS: [i64; 11] = [
    0,
    -1,
    127,
    MAX,
    -MAX,
    MAX + 1,
    MAX + 2,
    -MAX - 1,
    1 << 60,
    i64::MAX,
    i64::MIN,
];

fn row(i: i64) -> Vec<Value> {
    let text = |text: &str| Value::Text(text.into());
    vec![
        Value::Bool(true),
        Value::Int(i),
        Value::Float(-0.0),
        text("zwölf"),
        Value::Bytes(vec![0, 255, 10]),
        Value::Null,
        Value::List(vec![Value::Int(i), Value::Int(2)]),
        Value::List(vec![Value::List(vec![text("x")]), Value::List(vec![])]),
        Value::List(vec![Value::Int(i), Value::List(vec![Value::Null])]),
        Value::Int(1),
    ]
}

#[test]
fn rows_come_back_as_they_went() {
    for i in INTEGERS {
        let mut subject = Subject::new(
            "host.put_value('all', { id = args.n }, host.get('all', { id = args.n }))",
        );
        let storage = subject.storages.all;
        subject.state.put(storage, &[Value::Int(i)], &row(i));
        let ran = subject.run_on(&mut *subject.instance(), i);
        ran.outcome.result.unwrap();
        let intent = ran.intents.iter().next().unwrap();
        assert_eq!(intent.key, key::encode(&[Value::Int(i)]).unwrap(), "{i}");
        assert_eq!(intent.value, encode(&row(i)), "{i}");
    }
}

#[test]
fn the_missing_tail_of_an_old_row_is_its_defaults() {
    let mut subject = Subject::new(
        "local r = host.get('all', { id = 1 }) return { v = r.late, t = tostring(r.r) }",
    );
    let storage = subject.storages.all;
    subject.state.put(storage, &[Value::Int(1)], &row(5)[..8]);
    let ran = subject.run();
    assert_eq!((ran.value(), ran.text()), (7, "nil".to_owned()));
}

#[test]
fn integers_beyond_numbers_are_native() {
    let subject = Subject::new(
        "if type(args.n) == 'integer' then
            return { v = integer.add(args.n, integer.create(1)), t = 'integer ' .. tostring(args.n) }
        end
        return { v = args.n, t = type(args.n) }",
    );
    let mut instance = subject.instance();
    let ran = subject.run_on(&mut *instance, MAX);
    assert_eq!((ran.value(), ran.text()), (MAX, "number".to_owned()));
    let ran = subject.run_on(&mut *instance, MAX + 2);
    assert_eq!(ran.value(), MAX + 3);
    assert_eq!(ran.text(), format!("integer {}", MAX + 2));
    let ran = subject.run_on(&mut *instance, i64::MAX - 1);
    assert_eq!(ran.value(), i64::MAX);
}

#[test]
fn numbers_that_are_no_integers_are_refused_by_the_fields_name() {
    for number in [
        "1.5", "2 ^ 53", "-2 ^ 53", "2 ^ 60", "-2 ^ 63", "2 ^ 63", "1e300", "0 / 0", "1 / 0",
        "'1'", "true", "{}", "print",
    ] {
        let ran = Subject::new(&format!("return {{ v = {number} }}")).run();
        assert_eq!(ran.kind(), ErrorKind::BadIntent, "{number}");
        assert!(
            ran.error().message().contains("field `v`"),
            "{}",
            ran.error()
        );
    }
    assert_eq!(Subject::new("return { v = 2 ^ 53 - 1 }").value(), MAX);
    assert_eq!(Subject::new("return { v = -0 }").value(), 0);
    assert_eq!(Subject::new("return { v = integer.create(5) }").value(), 5);
    let least = "return { v = integer.minsigned }";
    assert_eq!(Subject::new(least).value(), i64::MIN);
}

#[test]
fn misfits_are_refused_with_their_place() {
    assert!(ALL.contains("n: [[text]]"));
    let good = "b = true, i = 1, f = 1, t = '', y = '', l = {}, n = {}, late = 1";
    let put = |fields: &str| format!("host.put_value('all', {{ id = 1 }}, {{ {fields} }})");
    for (change, part) in [
        ("i = nil", "field `i`: missing"),
        ("i = host.null", "field `i`: missing"),
        ("x = 1", "unknown field `x`"),
        ("[1] = 1", "unknown field `1`"),
        ("t = 5", "field `t`: expected text, found number"),
        ("t = '\\255'", "field `t`: text that is not UTF-8"),
        ("b = 'true'", "field `b`: expected bool, found string"),
        ("f = '1'", "field `f`: expected float, found string"),
        ("f = integer.maxsigned", "field `f`: expected float"),
        ("l = { 1, 2.5 }", "field `l`: element 2: expected int"),
        ("l = { 1, nil, 3 }", "field `l`: a list has"),
        ("l = { x = 1 }", "field `l`: a list has"),
        ("l = { [0] = 1 }", "field `l`: a list has"),
        (
            "n = { { 'x' }, { 1 } }",
            "element 2: element 1: expected text",
        ),
        ("r = { x = 1 }", "field `r`: field `s`: missing"),
        (
            "r = { x = 1, s = { deeper = 1 } }",
            "field `s`: unknown field `deeper`",
        ),
        ("y = 5", "field `y`: expected bytes, found number"),
    ] {
        let source = format!(
            "local row = {{ {good} }} for k, v in {{ {change} }} do row[k] = v end {}",
            "host.put_value('all', { id = 1 }, row)"
        );
        let source = if change == "i = nil" {
            put(&good.replace("i = 1, ", ""))
        } else {
            source
        };
        let ran = Subject::new(&source).run();
        assert_eq!(ran.kind(), ErrorKind::BadIntent, "{change}");
        assert!(
            ran.error().message().contains(part),
            "{change}: {}",
            ran.error()
        );
    }
    let more = put(&format!("{good}, o = host.null, r = {{ x = 1, s = {{}} }}"));
    assert!(Subject::new(&more).run().outcome.result.is_ok());
    let buffer = put(&good.replace("y = ''", "y = buffer.fromstring('ab')"));
    assert!(Subject::new(&buffer).run().outcome.result.is_ok());
    let inherited =
        "host.put_value('all', { id = 1 }, setmetatable({}, { __index = { b = true } }))";
    assert_eq!(Subject::new(inherited).kind(), ErrorKind::BadIntent);
}

#[test]
fn results_are_what_was_returned_or_given() {
    assert_eq!(Subject::new("host.result({ v = 4 })").value(), 4);
    assert_eq!(
        Subject::new("host.result({ v = 4 }) return { v = 5 }").kind(),
        ErrorKind::BadIntent
    );
    for other in ["1", "'x'", "true", "print"] {
        let ran = Subject::new(&format!("return {other}")).run();
        assert_eq!(ran.kind(), ErrorKind::BadIntent, "{other}");
    }
    assert!(Subject::new("return nil").run().intents.is_empty());
}

/// Results of a single field, whose name is a plain name in Luau or not, as a table and as the value itself.
#[test]
fn a_lone_integer_is_a_result_by_itself() {
    let results = |body: &str, schema: &str, n: i64| {
        let mut subject = Subject::new(body);
        subject.manifest.extensions[0].result = Schema::parse(schema).unwrap();
        subject.run_on(&mut *subject.instance(), n)
    };
    for schema in ["n: int", "end: int", "n: int?"] {
        let name = schema.split(':').next().unwrap();
        let table = format!("return {{ [{name:?}] = args.n }}");
        for n in INTEGERS {
            for body in ["return args.n", "host.result(args.n)", &table] {
                let ran = results(body, schema, n);
                let given: Vec<_> = ran.intents.results().collect();
                let row = encode(&[Value::Int(n)]);
                assert_eq!(given, [&row[..]], "{body} {schema} {n}: {:?}", ran.outcome);
            }
        }
        for (body, part) in [
            ("return 2 ^ 53", "use `integer`"),
            ("host.result(2 ^ 53)", "use `integer`"),
            ("return '1'", "expected int, found string"),
        ] {
            let ran = results(body, schema, 0);
            assert_eq!(ran.kind(), ErrorKind::BadIntent, "{body}");
            let message = ran.error().message();
            assert!(message.contains(part), "{body}: {message}");
        }
    }
    // Integers are floats where nothing is lost, and never texts.
    let ran = results("return args.n", "x: float", 1 << 60);
    let row = encode(&[Value::Float((1_i64 << 60) as f64)]);
    assert_eq!(ran.intents.results().collect::<Vec<_>>(), [&row[..]]);
    let ran = results("return args.n", "t: text", i64::MAX);
    assert_eq!(ran.kind(), ErrorKind::BadIntent);
    let ran = results("host.result(host.null)", "n: int?", 0);
    let row = encode(&[Value::Null]);
    assert_eq!(ran.intents.results().collect::<Vec<_>>(), [&row[..]]);
}

fn pairs() -> Subject {
    let mut subject = Subject::new("");
    let storage = subject.storages.pair;
    let text = |text: &str| Value::Text(text.into());
    for (v, (a, b, c)) in (0..).zip([
        ("x", Value::Null, 1.0),
        ("x", Value::Int(1), -1.0),
        ("x", Value::Int(1), 2.5),
        ("x", Value::Int(2), 0.0),
        ("y", Value::Int(1), 0.0),
    ]) {
        let key = [text(a), b, Value::Float(c)];
        subject.state.put(storage, &key, &[Value::Int(v)]);
    }
    subject
}

/// Runs a body over the rows of `pairs`.
fn over_pairs(body: &str) -> crate::common::Ran {
    let state = pairs().state;
    let mut subject = Subject::new(body);
    subject.state = state;
    subject.run()
}

#[test]
fn ranges_come_in_key_order_below_the_first_fields() {
    for (prefix, expected) in [
        ("{}", "x/nil/1=0 x/1/-1=1 x/1/2.5=2 x/2/0=3 y/1/0=4"),
        ("nil", "x/nil/1=0 x/1/-1=1 x/1/2.5=2 x/2/0=3 y/1/0=4"),
        ("{ a = 'x' }", "x/nil/1=0 x/1/-1=1 x/1/2.5=2 x/2/0=3"),
        ("{ a = 'x', b = 1 }", "x/1/-1=1 x/1/2.5=2"),
        ("{ a = 'x', b = host.null }", "x/nil/1=0"),
        ("{ a = 'x', b = 1, c = 2.5 }", "x/1/2.5=2"),
        ("{ a = 'z' }", ""),
    ] {
        let ran = over_pairs(&format!(
            "local seen = {{}}
            host.read('pair', {prefix}, function(k, r)
                seen[#seen + 1] = k.a .. '/' .. tostring(k.b) .. '/' .. k.c .. '=' .. r.v
            end)
            return {{ v = 0, t = table.concat(seen, ' ') }}"
        ));
        assert_eq!(ran.text(), expected, "{prefix}");
    }
}

#[test]
fn keys_that_do_not_fit_are_bad_keys() {
    for read in [
        "host.get('pair', { a = 'x', b = 1 })",
        "host.get('pair', { a = 'x', b = 1, c = 0 / 0 })",
        "host.get('pair', { a = 'x', b = 1, c = 1, d = 1 })",
        "host.get('pair', { a = 1, b = 1, c = 1 })",
        "host.get('pair', 'x')",
        "host.get('pair')",
        "host.read('pair', { b = 1 }, print)",
        "host.read('pair', { a = 'x', c = 1 }, print)",
        "host.read('pair', { d = 1 }, print)",
        "host.read('pair', { a = host.null }, print)",
    ] {
        assert_eq!(over_pairs(read).kind(), ErrorKind::BadKey, "{read}");
        let caught = format!(
            "local ok, err = pcall(function() {read} end) return {{ v = 1, t = err.kind }}"
        );
        assert_eq!(over_pairs(&caught).text(), "bad_key", "{read}");
    }
    let null = "return { v = host.get('pair', { a = 'x', c = 1 }).v }";
    assert_eq!(over_pairs(null).value(), 0);
}

#[test]
fn reads_stand_in_one_another() {
    let ran = over_pairs(
        "local n = 0
        host.read('pair', nil, function() host.read('pair', nil, function() n += 1 end) end)
        return { v = n }",
    );
    assert_eq!(ran.value(), 25);
}

#[test]
fn errors_leave_a_read_as_they_were_raised() {
    let ran = over_pairs(
        "local mine = { code = 5 }
        local ok, err = pcall(host.read, 'pair', nil, function() error(mine) end)
        assert(not ok and err == mine)
        local ok, err = pcall(host.read, 'pair', nil, function() error('text', 0) end)
        assert(not ok and err == 'text')
        local ok, err = pcall(host.read, 'pair', nil, function() host.reject('no') end)
        assert(not ok and err.kind == 'rejected' and err.message == 'no')
        return { v = 1 }",
    );
    assert_eq!(ran.value(), 1);
    let ran = over_pairs("host.read('pair', nil, function() host.reject('no') end)");
    assert_eq!(ran.kind(), ErrorKind::Rejected);
}

#[test]
fn events_are_decoded_by_their_commands_schemas() {
    let source = "function Run() end function Watch()
        local event = host.get('sys.event')
        assert(event.command == 'Book' and event.args.seat == 12 and event.args.note == nil)
        assert(#event.result == 1 and event.result[1].ticket == 'T1')
        host.put_value('pair', { a = event.command, b = event.args.seat, c = 0 }, { v = 1 })
    end";
    let mut subject = Subject::new(source);
    let event = |command: &str| {
        [
            Value::Text(command.into()),
            Value::List(vec![Value::Int(12), Value::Null]),
            Value::List(vec![Value::List(vec![Value::Text("T1".into())])]),
        ]
    };
    subject
        .state
        .put(engine_core::catalog::StorageId::EVENT, &[], &event("Book"));
    let ran = subject.invoke(&mut *subject.instance(), 1, &[]);
    ran.outcome.result.unwrap();
    assert_eq!(ran.intents.len(), 1);
    subject
        .state
        .put(engine_core::catalog::StorageId::EVENT, &[], &event("Gone"));
    let ran = subject.invoke(&mut *subject.instance(), 1, &[]);
    assert_eq!(ran.kind(), ErrorKind::Io);
}

#[test]
fn the_context_and_random_bytes_are_rows_too() {
    let subject = Subject::new(
        "local context = host.get('sys.context', {})
        assert(#host.must_exist('sys.random', { index = 1 }).bytes == 32)
        return { v = context.offset, t = context.command_id }",
    );
    let ran = subject.run();
    assert_eq!((ran.value(), ran.text()), (17, "c1".to_owned()));
}

#[test]
fn names_that_luau_has_to_escape_or_keeps_for_itself_are_names_all_the_same() {
    for (storage, key, value, field) in [
        (ODD, "{ id = 3 }", "{ v = 4 }", "v"),
        ("words", "{ ['not'] = 3 }", "{ ['end'] = 4, _x = 5 }", "end"),
    ] {
        let name = format!("{storage:?}");
        let source = format!(
            "host.put_value({name}, {key}, {value})
            host.delete({name}, {key})
            local row = host.get({name}, {key})
            local seen = 0
            host.read({name}, nil, function(k, r) seen += r[{field:?}] end)
            return {{ v = row[{field:?}] + seen }}"
        );
        let mut subject = Subject::new(&source);
        let id = subject.manifest.catalog.id(storage).unwrap();
        let row = [Value::Int(4), Value::Int(5)];
        let row = if storage == ODD { &row[..1] } else { &row };
        subject.state.put(id, &[Value::Int(3)], row);
        let ran = subject.run();
        assert_eq!(ran.value(), 8, "{storage}");
        let intent = ran.intents.iter().next().unwrap();
        assert_eq!(intent.value, encode(row), "{storage}");
    }
}

#[test]
fn wide_rows_come_back_as_they_went() {
    let mut subject =
        Subject::new("host.put_value('wide', { id = 1 }, host.must_exist('wide', { id = 1 }))");
    let wide = subject.manifest.catalog.id("wide").unwrap();
    let row: Vec<_> = (0..40).map(Value::Int).collect();
    subject.state.put(wide, &[Value::Int(1)], &row);
    let ran = subject.run();
    ran.outcome.result.unwrap();
    assert_eq!(ran.intents.iter().next().unwrap().value, encode(&row));
}

#[test]
fn metatables_and_iterators_hide_and_add_nothing() {
    let put = |value: &str| {
        let source = format!("host.put_value({ODD:?}, {{ id = 1 }}, {value}) return {{ v = 1 }}");
        Subject::new(&source).run()
    };
    let index = "setmetatable({}, { __index = { v = 1 }, __len = error, __iter = error })";
    let ran = put(index);
    let intent = ran.intents.iter().next().unwrap();
    assert_eq!(intent.value, encode(&[Value::Null]));
    let hidden = "setmetatable({ v = 1, x = 2 }, { __iter = function() return next, {} end })";
    assert_eq!(put(hidden).kind(), ErrorKind::BadIntent);
    assert_eq!(put("{ v = host.null }").value(), 1);
    assert_eq!(put("'text'").kind(), ErrorKind::BadIntent);
}

#[test]
fn results_are_refused_where_they_do_not_fit() {
    for (row, part) in [
        ("{ v = 1, x = 2 }", "unknown field `x`"),
        ("{ t = 'x' }", "field `v`: missing"),
        ("{ v = 1, t = 5 }", "field `t`: expected text"),
        ("{}", "field `v`: missing"),
        ("5", "expected a table by field name"),
        ("false", "expected a table by field name"),
    ] {
        let ran = Subject::new(&format!("return {row}")).run();
        assert_eq!(ran.kind(), ErrorKind::BadIntent, "{row}");
        assert!(ran.error().message().contains(part), "{}", ran.error());
    }
    let index = "return setmetatable({ v = 1 }, { __index = { t = 'x' } }), 'more'";
    let ran = Subject::new(index).run();
    ran.outcome.result.unwrap();
    let row = encode(&[Value::Int(1), Value::Null]);
    assert_eq!(ran.intents.results().collect::<Vec<_>>(), [&row[..]]);
}
