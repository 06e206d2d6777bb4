//! Extensions as authors write and test them.

use extengine_guest::testing::TestState;
use extengine_guest::{
    Context, Error, ErrorKind, ExtensionKind, Op, Row, State, extension, extensions, key, row,
};

extengine_guest::package!("units");

#[extension(command)]
fn add_ünits(state: &mut State, args: &Row) -> Result<(), Error> {
    state.log("info", "adding");
    let unit = key("unit").text(args.text(0)?);
    let before = state.get(&unit)?.map_or(Ok(0), |element| element.int(0))?;
    state.put_value(&unit, &row().int(before + args.int(1)?));
    state.result(&row().int(before));
    if before == 13 {
        return Err(Error::rejected("thirteen"));
    }
    Ok(())
}

#[extension(query, name = "sum")]
fn total_of_units(state: &mut State, _args: &Row) -> Result<(), Error> {
    let mut total = 0;
    state.read(&key("unit"), |state, unit, element| {
        // A read inside a read, of the same row.
        let again = state.must_exist(&key("unit").text(&unit.text(0)?))?;
        assert_eq!(again, *element);
        total += element.int(0)?;
        Ok(())
    })?;
    state.result(&row().int(total));
    Ok(())
}

#[extension(validator)]
fn r#match(state: &State, _args: &Row) -> Result<(), Error> {
    let event = state.event()?;
    let (command, unit) = (event.command()?, event.args()?.text(0)?.to_owned());
    let answered = event.results()?.row()?.int(0)?;
    Err(Error::rejected(format!("{command} {unit} {answered}")))
}

#[test]
fn the_macros_register_kind_name_and_package() {
    let mut found: Vec<_> = extensions()
        .map(|extension| (extension.package(), extension.name, extension.kind))
        .collect();
    found.sort_by_key(|extension| extension.1);
    assert_eq!(
        found,
        [
            ("units", "AddÜnits", ExtensionKind::Command),
            ("units", "Match", ExtensionKind::Validator),
            ("units", "sum", ExtensionKind::Query),
        ]
    );
}

#[test]
fn writes_are_seen_once_they_are_applied() {
    let mut state = TestState::new();
    let one = row().text("a").int(1);
    state.run(add_ünits, &one).unwrap();
    assert_eq!(state.get(&key("unit").text("a")), None);
    assert_eq!(state.intents().len(), 1);
    assert_eq!(state.intents()[0].op, Op::Put);
    assert_eq!(state.results()[0].int(0), Ok(0));
    assert_eq!(state.log(), [("info".to_owned(), "adding".to_owned())]);
    state.apply().unwrap();
    assert_eq!(state.get(&key("unit").text("a")).unwrap().int(0), Ok(1));
    state.run(add_ünits, &one).unwrap();
    assert_eq!(state.results()[0].int(0), Ok(1));
}

#[test]
fn a_refusal_leaves_its_log_and_nothing_else() {
    let mut state = TestState::new();
    state.insert(&key("unit").text("a"), &row().int(13));
    let error = state.run(add_ünits, &row().text("a").int(1)).unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::Rejected, "thirteen")
    );
    assert!(state.intents().is_empty() && state.results().is_empty());
    assert_eq!(state.log().len(), 1);
}

#[test]
fn a_read_hands_over_the_rows_of_its_prefix_in_order() {
    let mut state = TestState::new();
    for (a, b) in [("x", 3), ("x", -1), ("xy", 2), ("w", 9)] {
        state.insert(&key("pair").text(a).int(b), &row().int(b));
    }
    let mut seen = Vec::new();
    state
        .run(
            |state, _| {
                state.read(&key("pair").text("x"), |_, key, element| {
                    assert_eq!(key.int(1), element.int(0));
                    seen.push((key.text(0)?.into_owned(), key.int(1)?));
                    Ok(())
                })
            },
            &row(),
        )
        .unwrap();
    assert_eq!(seen, [("x".to_owned(), -1), ("x".to_owned(), 3)]);
    state.run(total_of_units, &row()).unwrap();
    assert_eq!(state.results()[0].int(0), Ok(0));
}

#[test]
fn a_read_hands_over_no_row_whose_text_only_begins_like_the_one_asked_for() {
    let mut state = TestState::new();
    for (text, number) in [("a", 1), ("a", 2), ("a\0b", 3), ("ab", 4)] {
        state.insert(&key("leg").text(text).int(number), &row().int(number));
    }
    let mut read = |prefix| {
        let legs = |state: &mut State<'_>, _: &Row<'_>| {
            state.read(&prefix, |state, _, leg| {
                state.result(&row().int(leg.int(0)?));
                Ok(())
            })
        };
        state.run(legs, &row()).unwrap();
        let numbers = state.results().iter().map(|leg| leg.int(0).unwrap());
        numbers.collect::<Vec<_>>()
    };
    assert_eq!(read(key("leg").text("a")), [1, 2]);
    assert_eq!(read(key("leg").text("a\0b")), [3]);
    assert_eq!(read(key("leg")), [1, 2, 3, 4]);
}

#[test]
fn reads_nest() {
    let mut state = TestState::new();
    state.insert(&key("unit").text("a"), &row().int(1));
    state.insert(&key("unit").text("b\0"), &row().int(2));
    state.run(total_of_units, &row()).unwrap();
    assert_eq!(state.results()[0].int(0), Ok(3));
}

#[test]
fn an_error_in_a_callback_ends_the_read_with_it() {
    let mut state = TestState::new();
    for i in 0..5 {
        state.insert(&key("n").int(i), &row());
    }
    let mut calls = 0;
    let error = state
        .run(
            |state, _| {
                state.read(&key("n"), |_, key, _| {
                    calls += 1;
                    match key.int(0)? {
                        2 => Err(Error::rejected("two")),
                        _ => Ok(()),
                    }
                })
            },
            &row(),
        )
        .unwrap_err();
    assert_eq!((calls, error.message()), (3, "two"));
}

#[test]
fn a_missing_row_and_a_nan_in_a_key_can_be_told_apart() {
    let mut state = TestState::new();
    state
        .run(
            |state, _| {
                let error = state.must_exist(&key("unit").text("none")).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::NotFound);
                assert_eq!(error.message(), "no such row in storage `unit`");
                let nan = key("unit").int(1).float(f64::NAN);
                assert_eq!(state.get(&nan).unwrap_err().kind(), ErrorKind::BadKey);
                let read = state.read(&nan, |_, _, _| Ok(()));
                assert_eq!(read.unwrap_err().kind(), ErrorKind::BadKey);
                Ok(())
            },
            &row(),
        )
        .unwrap();
}

#[test]
fn event_context_and_randomness_come_from_the_host() {
    let mut state = TestState::new();
    let results = row().list(&row().int(7));
    state.set_event("Add", &row().text("a"), &results);
    let error = state
        .run(|state, args| r#match(state, args), &row())
        .unwrap_err();
    assert_eq!(error.message(), "Add a 7");
    state.insert(&key("sys.context"), &row().int(5).text("id").int(1).int(2));
    state.insert(&key("sys.random").int(3), &row().bytes(&[9; 32]));
    state
        .run(
            |state, _| {
                let expected = Context {
                    time: 5,
                    command_id: Some("id".to_owned()),
                    partition: 1,
                    offset: 2,
                };
                assert_eq!(state.context()?, expected);
                assert_eq!(state.random(3)?, [9; 32]);
                Ok(())
            },
            &row(),
        )
        .unwrap();
}

#[test]
fn intents_apply_all_or_none() {
    let mut state = TestState::new();
    state.insert(&key("n").int(1), &row().int(1));
    let writes = |state: &mut State<'_>, update: i64| -> Result<(), Error> {
        state.delete(&key("n").int(1));
        state.new_value(&key("n").int(1), &row().int(2));
        state.update_value(&key("n").int(update), &row().int(3));
        Ok(())
    };
    state.run(|state, _| writes(state, 5), &row()).unwrap();
    let refused = state.apply().unwrap_err();
    assert_eq!(refused.op, Op::Update);
    assert_eq!(state.get(&key("n").int(1)).unwrap().int(0), Ok(1));
    state.run(|state, _| writes(state, 1), &row()).unwrap();
    state.apply().unwrap();
    assert_eq!(state.get(&key("n").int(1)).unwrap().int(0), Ok(3));
}

#[test]
fn keys_and_rows_show_their_fields() {
    let key = key("flight")
        .text("UA")
        .int(-5)
        .null()
        .float(0.5)
        .bool(true);
    assert_eq!(
        format!("{key:?}"),
        r#"flight(Text("UA"), Int(-5), Null, Float(0.5), Bool(true))"#
    );
    let row = row().text("x").int(1).null().list(&row().int(2));
    assert_eq!(format!("{row:?}"), r#"["x", 1, null, [2]]"#);
}

#[test]
fn foreign_functions_answer_what_a_test_sets() {
    let digest = |state: &mut State<'_>, args: &Row<'_>| {
        let digest = state.call("digest", args.bytes(0)?)?;
        let half = state.call_row("half", &row().int(8))?;
        state.result(&row().bytes(&digest).int(half.int(0)?));
        Ok(())
    };
    let mut state = TestState::new();
    state.set_answer("digest", b"abc", Ok(b"\x01\x02"));
    state.set_answer("digest", b"", Err("nothing to digest"));
    state.set_answer("half", row().int(8).as_bytes(), Ok(row().int(4).as_bytes()));
    state.run(digest, &row().bytes(b"abc")).unwrap();
    assert_eq!(state.results()[0].bytes(0), Ok(&[1, 2][..]));
    assert_eq!(state.results()[0].int(1), Ok(4));
    let failed = state.run(digest, &row().bytes(b"")).unwrap_err();
    assert_eq!(failed, Error::rejected("nothing to digest"));
}
