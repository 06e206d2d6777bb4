//! The matrix: everything of the boundary × every outcome that it can have, with the cases that cover it.
//!
//! A cell without a case, a case that is not there and a case in no cell fail this crate's tests. Where an outcome
//! cannot occur on a kind of engine, its cell says why.

/// What covers a cell on some kind of engine.
#[derive(Clone, Copy, Debug)]
pub enum Cover {
    /// These cases.
    Cases(&'static [&'static str]),
    /// Nothing, because it cannot occur.
    Never(&'static str),
}

/// One thing of the boundary with one outcome.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// The import, export, limit, failure or service.
    pub what: &'static str,
    /// The outcome.
    pub outcome: &'static str,
    /// What covers it: on `all` engines, those that are `sandboxed`, or the kinds `wasm`, `lua` and `builtin`.
    pub covers: &'static [(&'static str, Cover)],
}

macro_rules! cover {
    ([$($case:ident)*]) => { Cover::Cases(&[$(stringify!($case)),*]) };
    (($why:literal)) => { Cover::Never($why) };
}

macro_rules! cells {
    ($($what:literal { $($outcome:literal: $($engines:ident $cover:tt)*;)* })*) => {
        &[$($(Cell {
            what: $what,
            outcome: $outcome,
            covers: &[$((stringify!($engines), cover!($cover))),*],
        }),*),*]
    };
}

/// Every cell.
pub const MATRIX: &[Cell] = cells! {
    // Loading.
    "package" {
        "loads": all [the_factory_is_found_by_name every_kind_of_extension_runs sound_code_passes_inspection] builtin [inspection_lists_what_is_linked_in];
        "lacks a declared extension": all [extensions_that_the_code_lacks_are_refused a_refusal_names_the_package] wasm [a_module_is_held_to_the_extensions_that_it_tells] lua [a_global_that_is_no_function_is_no_extension];
        "asks for a limit that is not kept": all [a_limit_is_kept_or_refused];
        "is of another kind": all [code_of_another_kind_is_refused] lua [bytecode_is_refused];
        "is cut off": sandboxed [truncated_code_is_refused] wasm [a_truncated_module_is_refused] builtin ("native code is linked, not read");
        "is garbage": sandboxed [garbage_is_refused] lua [a_chunk_that_does_not_load_is_refused] builtin [a_package_that_is_not_linked_in_is_refused];
        "begins with a byte order mark": wasm ("a module is no text") lua [a_byte_order_mark_is_skipped] builtin ("native code is linked, not read");
        "has initialisers": wasm [every_initialiser_is_run] lua ("a chunk is its own initialisation") builtin ("native code is initialised with its program");
        "has a segment out of bounds": wasm [a_segment_out_of_bounds_is_said_to_be_one] lua ("Lua has no segments") builtin ("native code has no segments");
        "has many problems": wasm [every_problem_of_a_module_is_in_one_report] lua [extensions_that_the_code_lacks_are_refused] builtin [extensions_that_the_code_lacks_are_refused];
        "needs what not every engine has": wasm [a_proposal_that_not_every_engine_runs_is_refused a_start_function_is_refused] lua ("there is one Lua engine") builtin ("there is one native engine");
        "has the inner name of another": all [two_packages_with_the_same_inner_name_are_two] sandboxed [packages_share_no_memory];
    }

    // Exports.
    "export memory" {
        "works": wasm [a_guest_with_every_export_runs] lua ("Lua exports functions alone") builtin ("native code shares its memory");
        "is missing": wasm [missing_exports_are_named_at_load] lua ("Lua exports functions alone") builtin ("native code shares its memory");
        "is of another type": wasm [exports_of_another_type_are_named_at_load] lua ("Lua exports functions alone") builtin ("native code shares its memory");
    }
    "export _initialize" {
        "is called in order": wasm [exports_are_called_in_order] lua ("a chunk is its own initialisation") builtin ("native code is initialised with its program");
        "is missing": wasm [a_guest_with_every_export_runs] lua ("a chunk is its own initialisation") builtin ("native code is initialised with its program");
        "traps": wasm [a_trap_in_initialisation_gives_no_instance] lua [a_chunk_that_does_not_load_is_refused] builtin ("native code is initialised with its program");
    }
    "export WasmAbiVersion_1_0" {
        "is called in order": wasm [exports_are_called_in_order] lua ("Lua has no ABI") builtin ("native code is built with its SDK");
        "is missing": wasm [missing_exports_are_named_at_load another_abi_version_is_refused] lua ("Lua has no ABI") builtin ("native code is built with its SDK");
        "is of another type": wasm [exports_of_another_type_are_named_at_load] lua ("Lua has no ABI") builtin ("native code is built with its SDK");
        "traps": wasm [a_trap_in_initialisation_gives_no_instance] lua ("Lua has no ABI") builtin ("native code is built with its SDK");
    }
    "export WasmInit" {
        "is called in order": wasm [exports_are_called_in_order] lua ("a chunk is its own initialisation") builtin ("native code is initialised with its program");
        "is missing": wasm [missing_exports_are_named_at_load] lua ("a chunk is its own initialisation") builtin ("native code is initialised with its program");
        "is of another type": wasm [exports_of_another_type_are_named_at_load] lua ("a chunk is its own initialisation") builtin ("native code is initialised with its program");
        "traps": wasm [a_trap_in_initialisation_gives_no_instance] lua [a_chunk_that_does_not_load_is_refused] builtin ("native code is initialised with its program");
        "does not end": wasm [initialisation_has_a_deadline] lua [a_chunk_that_does_not_load_is_refused] builtin ("native code is initialised with its program");
        "asks the host": wasm [initialisation_has_no_host] lua [a_chunk_that_does_not_load_is_refused] builtin ("native code is initialised with its program");
    }
    "export WasmRun" {
        "is called in order": all [an_instance_serves_many_invocations crossings_are_traced_in_order] wasm [exports_are_called_in_order name_and_arguments_lie_in_their_blocks];
        "is missing": all [extensions_that_the_code_lacks_are_refused] wasm [missing_exports_are_named_at_load];
        "is of another type": wasm [exports_of_another_type_are_named_at_load] lua [a_global_that_is_no_function_is_no_extension] builtin ("the compiler checks the type");
        "traps": all [trap_yields_no_intents] wasm [each_trap_is_a_trap] lua [any_uncaught_error_is_a_trap] builtin [a_panic_is_caught_with_its_message];
        "does not end": sandboxed [a_deadline_ends_a_loop a_deadline_cannot_be_caught] lua [nothing_swallows_a_deadline a_pattern_cannot_hold_the_thread] builtin ("native code cannot be ended; the manifest waives the limit");
        "is called for an unknown extension": all [an_extension_that_is_not_there_is_unknown];
        "hands over a bad result block": wasm [a_result_out_of_range_breaks_the_rules each_status_is_its_kind] lua ("results are values, not blocks") builtin ("results are values, not blocks");
    }
    "export WasmMalloc" {
        "is called in order": wasm [exports_are_called_in_order] lua ("the host makes Lua's values itself") builtin ("host and guest share memory");
        "is missing": wasm [missing_exports_are_named_at_load] lua ("the host makes Lua's values itself") builtin ("host and guest share memory");
        "is of another type": wasm [exports_of_another_type_are_named_at_load] lua ("the host makes Lua's values itself") builtin ("host and guest share memory");
        "traps": wasm [a_trap_in_malloc_is_a_trap a_malloc_that_asks_its_host_breaks_the_rules] lua ("the host makes Lua's values itself") builtin ("host and guest share memory");
        "has no memory": sandboxed [what_the_host_hands_over_counts_as_memory] wasm [a_malloc_without_memory_is_the_limit_memory] builtin ("host and guest share memory");
        "gives a block out of range": wasm [a_block_for_the_host_out_of_range_breaks_the_rules] lua ("the host makes Lua's values itself") builtin ("host and guest share memory");
        "gives blocks that overlap": wasm [blocks_for_the_host_that_overlap_break_the_rules] lua ("the host makes Lua's values itself") builtin ("host and guest share memory");
    }
    "export WasmReset" {
        "is called in order": wasm [exports_are_called_in_order] lua ("Lua collects its garbage itself") builtin ("the SDK frees what it made");
        "is missing": wasm [missing_exports_are_named_at_load] lua ("Lua collects its garbage itself") builtin ("the SDK frees what it made");
        "is of another type": wasm [exports_of_another_type_are_named_at_load] lua ("Lua collects its garbage itself") builtin ("the SDK frees what it made");
        "traps": wasm [a_trap_in_reset_costs_only_the_instance] lua ("Lua collects its garbage itself") builtin ("the SDK frees what it made");
    }
    "export WasmFinit" {
        "is called at the end": all [an_instance_outlives_its_engine] wasm [a_guest_cannot_refuse_to_end];
        "is missing": wasm [missing_exports_are_named_at_load] lua ("a Lua state is dropped") builtin ("native code lives as long as its program");
        "is of another type": wasm [exports_of_another_type_are_named_at_load] lua ("a Lua state is dropped") builtin ("native code lives as long as its program");
        "traps": wasm [a_guest_cannot_refuse_to_end] lua ("a Lua state is dropped") builtin ("native code lives as long as its program");
        "does not end": wasm [a_guest_cannot_refuse_to_end] lua ("a Lua state is dropped") builtin ("native code lives as long as its program");
    }
    "export WasmOnRead" {
        "is called for each row": all [a_range_read_goes_in_key_order ten_thousand_rows_are_read] wasm [read_elems_0_hands_over_each_row];
        "is missing": wasm [missing_exports_are_named_at_load] lua ("the callback is an argument") builtin ("the callback is an argument");
        "is of another type": wasm [exports_of_another_type_are_named_at_load] lua ("the callback is an argument") builtin ("the callback is an argument");
        "traps": wasm [a_trap_in_on_read_is_a_trap] lua [any_uncaught_error_is_a_trap] builtin [a_panic_is_caught_with_its_message];
        "asks the host in turn": all [range_reads_nest_four_deep nested_ranges_keep_their_places] wasm [on_read_may_ask_the_host_in_turn];
        "asks without end": all [range_reads_do_not_nest_five_deep] wasm [on_read_cannot_recurse_without_end];
    }

    // ABI 1.1.
    "exports of 1.1" {
        "at load": wasm [a_guest_of_1_1_is_checked_at_load a_guest_of_both_versions_speaks_1_1] lua ("Lua has no ABI") builtin ("native code is built with its SDK");
        "are called in order": wasm [the_calls_of_1_1_come_in_order] lua ("Lua has no ABI") builtin ("native code is built with its SDK");
        "WasmExchange, WasmReserve": wasm [a_small_input_buffer_is_enlarged an_exchange_out_of_range_breaks_the_rules] lua ("the host makes Lua's values itself") builtin ("host and guest share memory");
        "WasmResolve": wasm [an_extension_without_a_number_breaks_the_rules] lua ("functions are found by name when a chunk is loaded") builtin ("functions are found by name when a package is loaded");
        "WasmInvoke": wasm [each_status_of_1_1_is_its_kind a_failed_read_of_1_1_lends_its_words each_op_of_1_1_makes_its_intent a_malformed_output_of_1_1_breaks_the_rules] lua ("results are values, not records") builtin ("results are values, not records");
        "WasmBatch": wasm [a_guest_that_breaks_a_batch_costs_one_invocation] lua ("each invocation is a call of its own") builtin ("each invocation is a call of its own");
    }
    "imports of 1.1" {
        "HostStorage": wasm [a_storage_has_one_number a_deadline_ends_a_loop_of_names] lua [a_name_that_is_not_utf8_is_denied] builtin ("names are Rust's strings");
        "HostGet": wasm [get_of_1_1_answers_each_outcome] lua ("values are made for Lua") builtin ("host and guest share memory");
        "HostTake": wasm [a_value_that_does_not_fit_is_taken_later] lua ("values are made for Lua") builtin ("host and guest share memory");
        "HostScan, HostRows": wasm [rows_are_pulled_as_they_fit a_row_that_does_not_fit_tells_its_size rows_of_1_1_answer_each_failure] lua ("rows are handed over one by one") builtin ("rows are handed over one by one");
        "HostClose": wasm [cursors_are_few_and_do_not_last a_cursor_that_is_not_open_breaks_the_rules] lua ("ranges end with their callback") builtin ("ranges end with their callback");
        "HostNext": wasm [asking_at_the_wrong_time_breaks_the_rules] lua ("each invocation is a call of its own") builtin ("each invocation is a call of its own");
        "a pointer out of range": wasm [a_pointer_of_1_1_out_of_range_breaks_the_rules] lua ("Lua has no pointers") builtin ("the compiler checks pointers");
    }
    "batch" {
        "each by itself": all [each_of_a_batch_is_settled_by_itself an_unknown_extension_fails_alone_in_a_batch a_batch_takes_arguments_of_every_size];
        "quotas": all [each_of_a_batch_has_quotas_of_its_own];
        "deadline": sandboxed [a_deadline_ends_one_of_a_batch] wasm [a_slow_start_is_not_the_time_of_one_of_a_batch] builtin ("native code cannot be ended; the manifest waives the limit");
        "policy": sandboxed [a_batch_keeps_what_its_policy_keeps] builtin ("native code shares its memory");
    }
    "a spare sandbox" {
        "is as good as new": sandboxed [what_is_made_ready_is_as_good_as_new] builtin ("native code has no sandbox");
    }
    "compiled code that is kept" {
        "is whole": wasm [compiled_code_is_taken_from_the_cache] lua ("Lua is compiled in no time") builtin ("native code is compiled with its program");
        "is damaged": wasm [a_damaged_entry_is_compiled_anew] lua ("Lua is compiled in no time") builtin ("native code is compiled with its program");
    }

    // Imports.
    "import HostGetElem" {
        "0: there": all [a_row_that_is_there_is_read a_row_that_must_exist_and_does_is_read keys_of_every_type_find_their_rows] wasm [get_elem_0_hands_over_the_element];
        "1: not there": all [a_row_that_is_not_there_is_absent an_invocation_does_not_see_its_own_intents] wasm [get_elem_1_is_not_there];
        "2: a bad key": all [an_incomplete_key_is_a_bad_key a_nan_in_a_key_is_a_bad_key] wasm [get_elem_2_is_a_bad_key];
        "3: i/o": all [a_failing_store_is_io] wasm [get_elem_3_is_io];
        "4: no memory": sandboxed [what_the_host_hands_over_counts_as_memory] wasm [get_elem_4_is_no_memory] builtin ("host and guest share memory");
        "handled by the guest": all [a_guest_may_handle_a_row_that_is_not_found a_guest_may_handle_a_bad_key a_guest_may_handle_a_failing_store];
        "denied": all [a_storage_that_is_not_declared_is_denied a_storage_that_does_not_exist_is_denied a_storage_without_the_verb_read_is_denied a_denied_read_cannot_be_caught];
        "a limit": all [host_reads_are_limited a_limit_cannot_be_caught];
        "the deadline": all [a_deadline_ends_a_run_of_host_reads];
        "a pointer out of range": wasm [a_pointer_out_of_range_breaks_the_rules] lua ("Lua has no pointers") builtin ("the compiler checks pointers");
        "a length that overflows": wasm [a_length_that_overflows_breaks_the_rules] lua ("Lua has no pointers") builtin ("the compiler checks lengths");
        "a name that is not UTF-8": wasm [a_storage_name_that_is_not_utf8_breaks_the_rules] lua [a_name_that_is_not_utf8_is_denied] builtin ("names are Rust's strings");
    }
    "import HostReadElems" {
        "0: all rows": all [a_range_read_goes_in_key_order a_range_read_stays_below_its_prefix an_empty_range_has_no_rows a_range_read_hands_over_large_rows] wasm [read_elems_0_hands_over_each_row];
        "2: a bad key": all [a_prefix_of_the_wrong_type_is_a_bad_key a_guest_may_handle_a_bad_prefix] wasm [read_elems_2_is_a_bad_key];
        "3: i/o": all [a_range_of_a_failing_store_is_io a_store_that_fails_within_a_range_is_io] wasm [read_elems_3_is_io];
        "no memory": wasm [read_elems_without_memory_is_the_limit_memory] lua [memory_is_limited] builtin ("host and guest share memory");
        "denied": all [a_range_of_a_storage_that_is_not_declared_is_denied a_denied_range_cannot_be_caught];
        "a limit": all [rows_read_are_limited bytes_read_are_limited range_reads_do_not_nest_five_deep];
        "the deadline": all [a_deadline_ends_a_range_without_end];
        "a pointer out of range": wasm [a_pointer_out_of_range_breaks_the_rules] lua ("Lua has no pointers") builtin ("the compiler checks pointers");
        "a length that overflows": wasm [a_length_that_overflows_breaks_the_rules] lua ("Lua has no pointers") builtin ("the compiler checks lengths");
    }
    "import of WASI" {
        "output": wasm [wasi_output_goes_to_the_log] lua [print_goes_to_the_log] builtin ("native code has the program's output");
        "the clock": wasm [the_wasi_clock_is_the_invocations_time] lua [time_and_random_numbers_are_the_invocations] builtin ("native code has the machine's clock; the SDK offers the invocation's");
        "random bytes": wasm [wasi_randomness_is_the_invocations] lua [time_and_random_numbers_are_the_invocations] builtin ("native code has the machine's; the SDK offers the invocation's");
        "exit": wasm [a_wasi_exit_is_a_trap] lua [the_library_reaches_nothing_outside] builtin ("a native extension can end its program");
        "a pointer out of range": wasm [a_wasi_pointer_out_of_range_does_no_harm wasi_takes_no_more_than_a_call_can_do] lua ("Lua has no pointers") builtin ("native code does not call WASI");
    }
    "any other import" {
        "is unknown": wasm [unknown_imports_are_named_at_load] lua [the_library_reaches_nothing_outside] builtin ("native code is linked with its program");
        "is of another type": wasm [imports_of_another_type_are_named_at_load] lua [the_library_cannot_be_changed] builtin ("the compiler checks the type");
    }

    // Intents and results.
    "intent" {
        "of each verb": all [each_verb_makes_its_intent] wasm [each_op_makes_its_intent];
        "many": all [many_intents_keep_their_order];
        "large": all [large_intents_are_taken] wasm [an_intents_region_may_end_with_the_memory];
        "denied": all [a_verb_that_is_not_declared_is_denied the_hosts_own_storages_take_no_intents a_query_does_not_write a_denied_write_is_denied_whatever_its_value] wasm [intents_to_storages_that_do_not_exist_are_denied];
        "a bad value": all [a_value_of_the_wrong_type_is_a_bad_intent] wasm [what_is_not_canonical_is_a_bad_intent another_nan_is_a_bad_intent] lua [numbers_are_not_rounded an_unknown_field_is_a_bad_intent];
        "a bad key": all [an_intent_with_half_a_key_is_a_bad_intent] wasm [what_is_not_canonical_is_a_bad_intent];
        "caught by the guest": all [a_faulty_intent_cannot_be_caught a_rejection_stands_before_a_faulty_intent];
        "in a malformed region": wasm [a_malformed_intents_region_breaks_the_rules a_result_out_of_range_breaks_the_rules] lua ("intents are calls, not a region") builtin ("intents are calls, not a region");
    }
    "result" {
        "one": all [every_kind_of_extension_runs];
        "many": all [many_results_keep_their_order];
        "one too many": all [a_second_result_of_a_command_is_a_bad_intent a_result_of_a_validator_is_a_bad_intent];
        "of the wrong type": all [a_result_of_the_wrong_type_is_a_bad_intent] wasm [what_is_not_canonical_is_a_bad_intent];
    }

    // Foreign functions.
    "foreign function" {
        "answers": all [a_foreign_function_answers a_large_answer_comes_whole] wasm [call_answers_each_outcome an_answer_that_does_not_fit_is_taken_later];
        "fails": all [a_failing_foreign_function_answers_in_words] wasm [call_answers_each_outcome an_answer_that_does_not_fit_is_taken_later];
        "is denied": all [a_foreign_function_that_is_not_declared_is_denied] wasm [a_made_up_function_is_denied];
        "is typed": all [a_typed_foreign_function_takes_and_gives_rows an_argument_that_does_not_fit_is_answered_in_words];
        "takes its time": all [a_deadline_ends_a_run_of_foreign_calls];
        "by number": wasm [a_foreign_function_has_one_number] lua ("Lua names what it calls") builtin ("native code names what it calls");
        "with a pointer out of range": wasm [a_call_out_of_range_breaks_the_rules] lua ("Lua has no pointers") builtin ("the compiler checks the boundary");
        "outside of an invocation": wasm [a_call_at_the_wrong_time_breaks_the_rules] lua [a_chunk_that_does_not_load_is_refused] builtin ("native code is initialised with its program");
    }

    // Types.
    "type bool" { "at its edges": all [booleans_come_back]; }
    "type int" { "at its edges": all [integers_come_back_exactly a_lone_integer_comes_back_exactly] lua [numbers_are_not_rounded]; }
    "type float" { "at its edges": all [floats_come_back_bit_by_bit a_nan_comes_back_as_the_one_nan] wasm [a_computed_nan_is_the_one_nan another_nan_is_a_bad_intent]; }
    "type text" { "at its edges": all [texts_come_back a_megabyte_comes_back]; }
    "type bytes" { "at its edges": all [bytes_come_back a_megabyte_comes_back]; }
    "type optional" { "at its edges": all [null_is_not_zero]; }
    "type list" { "at its edges": all [lists_and_records_come_back]; }
    "type record" { "at its edges": all [lists_and_records_come_back a_row_of_the_state_is_written_back_unchanged]; }

    // What the host offers.
    "sys.event" {
        "is seen": all [a_projector_sees_the_event a_validator_rejects];
        "is denied": all [a_query_sees_no_event];
    }
    "sys.context" { "is seen": all [time_and_randomness_are_the_hosts]; }
    "sys.random" {
        "is seen": all [time_and_randomness_are_the_hosts];
        "is the same on every attempt": all [an_invocation_repeated_gives_the_same_answer];
        "is the host's": all [other_randomness_gives_other_bytes];
    }
    "sys.log" {
        "takes lines": all [log_lines_reach_the_host];
        "takes lines of a refused invocation": all [a_rejected_invocation_may_log] wasm [a_refused_guest_only_logs];
    }

    // Limits.
    "limit code_bytes" {
        "within": all [every_kind_of_extension_runs];
        "exceeded": sandboxed [the_size_of_code_is_limited] builtin ("native code is linked into the program");
    }
    "limit functions" {
        "within": wasm [the_number_of_functions_is_limited] lua ("a chunk is one text") builtin ("native code is linked into the program");
        "exceeded": wasm [the_number_of_functions_is_limited] lua ("a chunk is one text") builtin ("native code is linked into the program");
    }
    "limit function_bytes" {
        "within": wasm [the_size_of_a_function_is_limited] lua ("a chunk is one text") builtin ("native code is linked into the program");
        "exceeded": wasm [a_function_that_takes_too_long_to_compile_is_refused the_size_of_a_function_is_limited] lua ("a chunk is one text") builtin ("native code is linked into the program");
    }
    "limit memory" {
        "within": sandboxed [the_ledger_tells_the_memory] wasm [a_denied_growth_of_memory_ends_the_call] builtin ("native code shares the program's memory; the manifest waives the limit");
        "exceeded": sandboxed [memory_is_limited running_out_of_memory_cannot_be_caught what_the_host_hands_over_counts_as_memory] wasm [a_memory_above_its_limit_is_refused a_denied_growth_of_memory_ends_the_call] builtin ("native code shares the program's memory; the manifest waives the limit");
    }
    "limit table_elements" {
        "within": wasm [a_table_above_its_limit_is_refused a_denied_growth_of_a_table_ends_the_call] lua ("Lua has no element tables") builtin ("native code has no element tables");
        "exceeded": wasm [a_table_above_its_limit_is_refused a_denied_growth_of_a_table_ends_the_call] lua ("Lua has no element tables") builtin ("native code has no element tables");
    }
    "limit stack" {
        "within": all [range_reads_nest_four_deep];
        "exceeded": sandboxed [the_stack_is_limited] builtin ("native code runs on the caller's stack; the manifest waives the limit");
    }
    "limit deadline" {
        "within": all [both_policies_answer_alike];
        "exceeded": all [a_deadline_ends_a_run_of_host_reads a_deadline_ends_a_range_without_end an_instance_works_after_a_timeout the_ledger_of_a_timeout_tells_its_time the_ledger_tells_all_of_a_long_time] sandboxed [a_deadline_ends_a_loop a_deadline_cannot_be_caught];
    }
    "limit fuel" {
        "at the start": wasm [a_start_takes_no_fuel] lua [a_chunk_takes_no_fuel] builtin ("native code is not metered; the manifest waives the limit");
        "within": wasm [fuel_is_the_same_on_every_engine fuel_is_kept_exactly without_a_limit_there_is_no_fuel] lua [fuel_is_the_same_each_time] builtin ("native code is not metered; the manifest waives the limit");
        "exceeded": wasm [fuel_ends_a_loop fuel_is_kept_exactly] lua [fuel_ends_a_lua_loop] builtin ("native code is not metered; the manifest waives the limit");
    }
    "limit host_reads" {
        "within": all [host_reads_are_limited];
        "exceeded": all [host_reads_are_limited a_limit_cannot_be_caught an_instance_works_after_a_quota];
    }
    "limit rows_read" {
        "within": all [rows_read_are_limited];
        "exceeded": all [rows_read_are_limited];
    }
    "limit bytes_read" {
        "within": all [bytes_read_are_limited];
        "exceeded": all [bytes_read_are_limited];
    }
    "limit read_depth" {
        "within": all [range_reads_nest_four_deep];
        "exceeded": all [range_reads_do_not_nest_five_deep] wasm [on_read_cannot_recurse_without_end];
    }
    "limit intents" {
        "within": all [intents_are_limited];
        "exceeded": all [intents_are_limited an_instance_works_after_a_quota packages_of_one_engine_keep_their_own_limits];
    }
    "limit intent_bytes" {
        "within": all [bytes_of_intents_are_limited];
        "exceeded": all [bytes_of_intents_are_limited] wasm [an_intents_region_may_end_with_the_memory];
    }
    "limit result_bytes" {
        "within": all [bytes_of_results_are_limited];
        "exceeded": all [bytes_of_results_are_limited];
    }
    "limit log_lines" {
        "within": all [log_lines_are_limited];
        "exceeded": all [log_lines_are_limited];
    }
    "limit log_bytes" {
        "within": all [bytes_of_log_are_limited];
        "exceeded": all [bytes_of_log_are_limited];
    }
    "limit foreign_calls" {
        "within": all [calls_of_foreign_functions_are_limited];
        "exceeded": all [calls_of_foreign_functions_are_limited];
    }
    "limit foreign_bytes" {
        "within": all [bytes_of_foreign_functions_are_limited];
        "exceeded": all [bytes_of_foreign_functions_are_limited an_argument_that_is_too_long_is_not_handed_over];
    }

    // Failures. The kinds that an invocation can end with come first.
    "failure rejected" {
        "its kind": all [each_failure_has_its_kind_and_no_intents a_rejection_is_no_trap a_rejection_has_the_extensions_own_words a_rejection_of_many_words_is_cut a_validator_rejects] wasm [each_status_is_its_kind any_message_of_a_rejection_is_taken];
        "leaves no intents": all [each_failure_has_its_kind_and_no_intents] wasm [a_refused_guest_only_logs];
        "its ledger": all [a_rejected_invocation_may_log];
        "the next call under keep": all [a_kept_instance_works_after_each_failure];
        "the next call under fresh": all [a_fresh_instance_works_after_each_failure] sandboxed [a_fresh_instance_remembers_nothing];
    }
    "failure not_found" {
        "its kind": all [a_row_that_must_exist_and_does_not_is_not_found each_failure_has_its_kind_and_no_intents] wasm [each_status_is_its_kind];
        "leaves no intents": all [each_failure_has_its_kind_and_no_intents];
        "its ledger": all [a_failure_has_a_ledger];
        "the next call under keep": all [a_kept_instance_works_after_each_failure];
        "the next call under fresh": all [a_fresh_instance_works_after_each_failure];
    }
    "failure bad_key" {
        "its kind": all [an_incomplete_key_is_a_bad_key each_failure_has_its_kind_and_no_intents] wasm [each_status_is_its_kind];
        "leaves no intents": all [each_failure_has_its_kind_and_no_intents];
        "its ledger": all [a_failure_has_a_ledger];
        "the next call under keep": all [a_kept_instance_works_after_each_failure];
        "the next call under fresh": all [a_fresh_instance_works_after_each_failure];
    }
    "failure io" {
        "its kind": all [a_failing_store_is_io each_failure_has_its_kind_and_no_intents] wasm [each_status_is_its_kind];
        "leaves no intents": all [each_failure_has_its_kind_and_no_intents];
        "its ledger": all [a_failure_has_a_ledger a_store_that_fails_within_a_range_is_io];
        "the next call under keep": all [a_kept_instance_works_after_each_failure];
        "the next call under fresh": all [a_fresh_instance_works_after_each_failure];
    }
    "failure denied" {
        "its kind": all [a_storage_that_is_not_declared_is_denied a_verb_that_is_not_declared_is_denied each_failure_has_its_kind_and_no_intents];
        "leaves no intents": all [each_failure_has_its_kind_and_no_intents];
        "its ledger": all [a_failure_has_a_ledger];
        "the next call under keep": all [a_kept_instance_works_after_each_failure] sandboxed [a_kept_instance_is_clean_after_a_failure];
        "the next call under fresh": all [a_fresh_instance_works_after_each_failure];
    }
    "failure bad_intent" {
        "its kind": all [a_value_of_the_wrong_type_is_a_bad_intent each_failure_has_its_kind_and_no_intents];
        "leaves no intents": all [each_failure_has_its_kind_and_no_intents];
        "its ledger": all [intents_are_limited];
        "the next call under keep": all [a_kept_instance_works_after_each_failure] sandboxed [a_kept_instance_is_clean_after_a_failure];
        "the next call under fresh": all [a_fresh_instance_works_after_each_failure];
    }
    "failure trap" {
        "its kind": all [a_rejection_is_no_trap a_crash_has_a_message] wasm [each_trap_is_a_trap] lua [any_uncaught_error_is_a_trap a_caught_error_is_no_failure] builtin [a_panic_is_caught_with_its_message];
        "leaves no intents": all [trap_yields_no_intents a_failed_attempt_adds_nothing_to_the_next];
        "its ledger": all [a_failure_has_a_ledger];
        "the next call under keep": all [a_kept_instance_works_after_each_failure a_crash_leaves_a_neighbour_as_it_was] sandboxed [a_kept_instance_is_clean_after_a_failure];
        "the next call under fresh": all [a_fresh_instance_works_after_each_failure];
    }
    "failure abi" {
        "its kind": wasm [a_pointer_out_of_range_breaks_the_rules a_result_out_of_range_breaks_the_rules] lua ("Lua has no binary boundary") builtin ("the compiler checks the boundary");
        "leaves no intents": wasm [a_malformed_intents_region_breaks_the_rules] lua ("Lua has no binary boundary") builtin ("the compiler checks the boundary");
        "its ledger": wasm [a_length_that_overflows_breaks_the_rules] lua ("Lua has no binary boundary") builtin ("the compiler checks the boundary");
        "the next call under keep": wasm [an_instance_is_clean_after_each_broken_rule] lua ("Lua has no binary boundary") builtin ("the compiler checks the boundary");
        "the next call under fresh": wasm [an_instance_is_clean_after_each_broken_rule] lua ("Lua has no binary boundary") builtin ("the compiler checks the boundary");
    }
    "failure limit" {
        "its kind": all [host_reads_are_limited];
        "leaves no intents": all [intents_are_limited];
        "its ledger": all [host_reads_are_limited the_ledger_of_a_timeout_tells_its_time];
        "the next call under keep": all [an_instance_works_after_a_quota an_instance_works_after_a_timeout] sandboxed [memory_is_limited];
        "the next call under fresh": all [limits_are_hit_alike_under_fresh] wasm [a_fresh_instance_has_its_first_memory];
    }
    "failure unknown" {
        "its kind": all [an_extension_that_is_not_there_is_unknown];
        "leaves no intents": all [an_extension_that_is_not_there_is_unknown];
        "its ledger": all ("nothing ran");
        "the next call under keep": all [an_extension_that_is_not_there_is_unknown];
        "the next call under fresh": all ("nothing ran");
    }

    // What holds between invocations.
    "instance" {
        "on many threads": all [instances_on_many_threads_work_side_by_side];
        "beside others on one thread": all [instances_on_one_thread_take_turns a_crash_leaves_a_neighbour_as_it_was] sandboxed [instances_share_no_memory];
        "times out beside sixteen others": all [one_timeout_leaves_sixteen_others_undisturbed] sandboxed [one_endless_loop_leaves_sixteen_others_undisturbed];
        "crashes beside sixteen others": all [one_crash_leaves_sixteen_others_undisturbed];
        "remembers nothing under fresh": sandboxed [a_fresh_instance_remembers_nothing] wasm [a_fresh_instance_has_its_first_memory] builtin ("native code has the program's globals");
        "remembers nothing of another package": sandboxed [packages_share_no_memory] builtin ("native code has the program's globals");
        "answers alike under both policies": all [both_policies_answer_alike];
    }
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use engine_core::error::ErrorKind;
    use engine_core::limits::Limit;

    use super::*;
    use crate::cases::CASES;
    use crate::wat::EXPORTS;

    const KINDS: [&str; 3] = ["wasm", "lua", "builtin"];

    /// Whether what holds for `engines` holds for a kind of engine.
    fn applies(engines: &str, kind: &str) -> bool {
        match engines {
            "all" | "newest" => true,
            "sandboxed" => kind != "builtin",
            own => own == kind,
        }
    }

    fn covers(cell: &Cell, kind: &str) -> Vec<Cover> {
        let covers = cell.covers.iter();
        let covers = covers.filter(|(engines, _)| applies(engines, kind));
        covers.map(|(_, cover)| *cover).collect()
    }

    fn name(cell: &Cell) -> String {
        format!("{} / {}", cell.what, cell.outcome)
    }

    #[test]
    fn no_cell_is_empty() {
        for cell in MATRIX {
            for kind in KINDS {
                let covers = covers(cell, kind);
                let never = covers.iter().any(|c| matches!(c, Cover::Never(_)));
                let covered = covers
                    .iter()
                    .any(|c| matches!(c, Cover::Cases(cases) if !cases.is_empty()));
                assert!(covered != never, "{} on {kind}: {covers:?}", name(cell));
                assert!(!never || covers.len() == 1, "{} on {kind}", name(cell));
            }
        }
    }

    #[test]
    fn every_case_that_a_cell_names_runs_on_its_engines() {
        for cell in MATRIX {
            for (engines, cover) in cell.covers {
                let known = ["all", "sandboxed", "wasm", "lua", "builtin"].contains(engines);
                assert!(known, "{}: no engines are called {engines}", name(cell));
                let Cover::Cases(cases) = cover else { continue };
                for case in *cases {
                    let Some((runs_on, ..)) = CASES.iter().find(|(_, _, found, _)| found == case)
                    else {
                        panic!("{}: there is no case {case}", name(cell));
                    };
                    for kind in KINDS.into_iter().filter(|kind| applies(engines, kind)) {
                        assert!(
                            applies(runs_on, kind),
                            "{}: {case} does not run on {kind}",
                            name(cell)
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn every_case_is_in_a_cell_and_has_a_name_of_its_own() {
        let named: BTreeSet<&str> = MATRIX
            .iter()
            .flat_map(|cell| cell.covers)
            .flat_map(|(_, cover)| match cover {
                Cover::Cases(cases) => cases.iter().copied(),
                Cover::Never(_) => [].iter().copied(),
            })
            .collect();
        let mut seen = BTreeSet::new();
        for (_, theme, case, _) in CASES {
            assert!(named.contains(case), "{theme}::{case} is in no cell");
            assert!(seen.insert(case), "{theme}::{case} stands twice");
        }
    }

    /// The outcomes that everything of a sort has; the cells may have more.
    fn due() -> Vec<(String, Vec<&'static str>)> {
        let mut due = Vec::new();
        for limit in Limit::ALL {
            due.push((format!("limit {limit}"), vec!["within", "exceeded"]));
        }
        for (_, export) in EXPORTS {
            let outcomes = vec!["is missing", "is of another type"];
            due.push((format!("export {export}"), outcomes));
        }
        for export in [
            "_initialize",
            "WasmAbiVersion_1_0",
            "WasmInit",
            "WasmMalloc",
            "WasmRun",
            "WasmReset",
        ] {
            let outcomes = vec!["is called in order", "traps"];
            due.push((format!("export {export}"), outcomes));
        }
        let get = [
            "0: there",
            "1: not there",
            "2: a bad key",
            "3: i/o",
            "4: no memory",
        ];
        due.push(("import HostGetElem".into(), get.into()));
        let read = ["0: all rows", "2: a bad key", "3: i/o"];
        due.push(("import HostReadElems".into(), read.into()));
        for kind in [
            ErrorKind::Rejected.name(),
            ErrorKind::NotFound.name(),
            ErrorKind::BadKey.name(),
            ErrorKind::Io.name(),
            ErrorKind::BadIntent.name(),
            ErrorKind::Denied.name(),
            ErrorKind::Trap.name(),
            ErrorKind::Abi.name(),
            ErrorKind::Unknown.name(),
            "limit",
        ] {
            let outcomes = vec![
                "its kind",
                "leaves no intents",
                "its ledger",
                "the next call under keep",
                "the next call under fresh",
            ];
            due.push((format!("failure {kind}"), outcomes));
        }
        due
    }

    #[test]
    fn everything_of_the_boundary_has_its_cells() {
        let cells: Vec<_> = MATRIX
            .iter()
            .map(|cell| (cell.what, cell.outcome))
            .collect();
        for (what, outcomes) in due() {
            for outcome in outcomes {
                let found = cells
                    .iter()
                    .filter(|cell| **cell == (what.as_str(), outcome));
                assert_eq!(found.count(), 1, "{what} / {outcome}");
            }
        }
        let distinct: BTreeSet<_> = cells.iter().collect();
        assert_eq!(distinct.len(), cells.len(), "a cell stands twice");
    }
}
