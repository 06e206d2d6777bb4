//! The cases, each a function that panics where an engine is wrong, and the list of them all.

pub mod batches;
pub mod builtin;
pub mod failures;
pub mod foreign;
pub mod host_input;
pub mod intents;
pub mod isolation;
pub mod life_cycle;
pub mod limits;
pub mod loading;
pub mod lua;
pub mod ranges;
pub mod reading;
pub mod sandbox;
pub mod types;
pub mod wasm_1_1;
pub mod wasm_blocks;
pub mod wasm_cache;
pub mod wasm_exports;
pub mod wasm_foreign;
pub mod wasm_imports;
pub mod wasm_limits;

use serde_json::json;

use crate::host::TestHost;
use crate::subject::{Answer, Subject};

/// Lets the suite's guest fail in one of its ways, on an instance of its own.
pub fn fail(subject: &Subject, how: &str) -> Answer {
    let args = json!({"how": how, "catch": false});
    subject.instance().call(&TestHost::new(), "Fail", args)
}

/// A case, as a function over the engine under test.
pub type Case = fn(&Subject);

/// Every case: the engines that run it, its theme, its name and itself.
pub const CASES: &[(&str, &str, &str, Case)] = crate::__cases!(__list;);

/// The case of this name.
pub fn case(name: &str) -> Case {
    let found = CASES.iter().find(|(_, _, case, _)| *case == name);
    found.expect("a case of the suite").3
}

#[doc(hidden)]
#[macro_export]
macro_rules! __list {
    ([] $($engines:ident { $($theme:ident { $($case:ident)* })* })*) => {
        &[$($($((
            stringify!($engines),
            stringify!($theme),
            stringify!($case),
            $crate::cases::$theme::$case as $crate::cases::Case,
        )),*),*),*]
    };
}

/// Hands the list of all cases to the macro `$run`, behind what `$run` is to know besides.
///
/// Every engine runs those of `all`, and those of `newest` where its guest speaks the newest ABI; those of the engines
/// with a sandbox, and of each kind of engine, stand apart.
#[doc(hidden)]
#[macro_export]
macro_rules! __cases {
    ($run:ident; $($known:tt)*) => {
        $crate::$run! {
            [$($known)*]
            all {
                batches {
                    each_of_a_batch_is_settled_by_itself
                    an_unknown_extension_fails_alone_in_a_batch
                    each_of_a_batch_has_quotas_of_its_own
                    a_batch_takes_arguments_of_every_size
                }
                life_cycle {
                    the_factory_is_found_by_name
                    every_kind_of_extension_runs
                    an_instance_serves_many_invocations
                    instances_on_many_threads_work_side_by_side
                    instances_on_one_thread_take_turns
                    an_instance_outlives_its_engine
                    an_extension_that_is_not_there_is_unknown
                    crossings_are_traced_in_order
                }
                loading {
                    extensions_that_the_code_lacks_are_refused
                    a_limit_is_kept_or_refused
                    code_of_another_kind_is_refused
                    sound_code_passes_inspection
                    a_refusal_names_the_package
                }
                reading {
                    a_row_that_is_there_is_read
                    a_row_that_is_not_there_is_absent
                    a_row_that_must_exist_and_does_is_read
                    a_row_that_must_exist_and_does_not_is_not_found
                    a_guest_may_handle_a_row_that_is_not_found
                    an_incomplete_key_is_a_bad_key
                    a_guest_may_handle_a_bad_key
                    a_failing_store_is_io
                    a_guest_may_handle_a_failing_store
                    a_storage_that_is_not_declared_is_denied
                    a_storage_that_does_not_exist_is_denied
                    a_storage_without_the_verb_read_is_denied
                    a_denied_read_cannot_be_caught
                    an_invocation_does_not_see_its_own_intents
                }
                ranges {
                    a_range_read_goes_in_key_order
                    a_range_read_stays_below_its_prefix
                    an_empty_range_has_no_rows
                    ten_thousand_rows_are_read
                    a_prefix_of_the_wrong_type_is_a_bad_key
                    a_guest_may_handle_a_bad_prefix
                    a_range_of_a_failing_store_is_io
                    a_store_that_fails_within_a_range_is_io
                    a_range_of_a_storage_that_is_not_declared_is_denied
                    a_denied_range_cannot_be_caught
                    range_reads_nest_four_deep
                    range_reads_do_not_nest_five_deep
                    nested_ranges_keep_their_places
                    a_range_read_hands_over_large_rows
                }
                types {
                    booleans_come_back
                    integers_come_back_exactly
                    a_lone_integer_comes_back_exactly
                    floats_come_back_bit_by_bit
                    a_nan_comes_back_as_the_one_nan
                    texts_come_back
                    bytes_come_back
                    null_is_not_zero
                    lists_and_records_come_back
                    a_megabyte_comes_back
                    a_row_of_the_state_is_written_back_unchanged
                    keys_of_every_type_find_their_rows
                    a_nan_in_a_key_is_a_bad_key
                }
                intents {
                    each_verb_makes_its_intent
                    a_verb_that_is_not_declared_is_denied
                    the_hosts_own_storages_take_no_intents
                    a_query_does_not_write
                    a_faulty_intent_cannot_be_caught
                    a_rejection_stands_before_a_faulty_intent
                    a_value_of_the_wrong_type_is_a_bad_intent
                    an_intent_with_half_a_key_is_a_bad_intent
                    a_denied_write_is_denied_whatever_its_value
                    a_result_of_the_wrong_type_is_a_bad_intent
                    a_second_result_of_a_command_is_a_bad_intent
                    a_result_of_a_validator_is_a_bad_intent
                    many_intents_keep_their_order
                    many_results_keep_their_order
                    large_intents_are_taken
                }
                failures {
                    each_failure_has_its_kind_and_no_intents
                    trap_yields_no_intents
                    a_rejection_is_no_trap
                    a_rejection_of_many_words_is_cut
                    a_rejection_has_the_extensions_own_words
                    a_crash_has_a_message
                    a_rejected_invocation_may_log
                    a_validator_rejects
                    a_failure_has_a_ledger
                    a_kept_instance_works_after_each_failure
                    a_fresh_instance_works_after_each_failure
                    a_failed_attempt_adds_nothing_to_the_next
                }
                limits {
                    host_reads_are_limited
                    rows_read_are_limited
                    bytes_read_are_limited
                    intents_are_limited
                    bytes_of_intents_are_limited
                    bytes_of_results_are_limited
                    log_lines_are_limited
                    bytes_of_log_are_limited
                    a_limit_cannot_be_caught
                    a_deadline_ends_a_run_of_host_reads
                    a_deadline_ends_a_range_without_end
                    an_instance_works_after_a_timeout
                    the_ledger_of_a_timeout_tells_its_time
                    the_ledger_tells_all_of_a_long_time
                    an_instance_works_after_a_quota
                    limits_are_hit_alike_under_fresh
                }
                isolation {
                    one_timeout_leaves_sixteen_others_undisturbed
                    one_crash_leaves_sixteen_others_undisturbed
                    a_crash_leaves_a_neighbour_as_it_was
                    two_packages_with_the_same_inner_name_are_two
                    packages_of_one_engine_keep_their_own_limits
                    both_policies_answer_alike
                }
                host_input {
                    time_and_randomness_are_the_hosts
                    an_invocation_repeated_gives_the_same_answer
                    other_randomness_gives_other_bytes
                    a_projector_sees_the_event
                    a_query_sees_no_event
                    log_lines_reach_the_host
                }
            }
            newest {
                foreign {
                    a_foreign_function_answers
                    a_foreign_function_that_is_not_declared_is_denied
                    a_failing_foreign_function_answers_in_words
                    a_typed_foreign_function_takes_and_gives_rows
                    an_argument_that_does_not_fit_is_answered_in_words
                    a_large_answer_comes_whole
                    calls_of_foreign_functions_are_limited
                    bytes_of_foreign_functions_are_limited
                    an_argument_that_is_too_long_is_not_handed_over
                    a_deadline_ends_a_run_of_foreign_calls
                }
            }
            sandboxed {
                sandbox {
                    a_deadline_ends_a_loop
                    a_deadline_cannot_be_caught
                    a_deadline_ends_one_of_a_batch
                    a_batch_keeps_what_its_policy_keeps
                    what_is_made_ready_is_as_good_as_new
                    one_endless_loop_leaves_sixteen_others_undisturbed
                    memory_is_limited
                    running_out_of_memory_cannot_be_caught
                    what_the_host_hands_over_counts_as_memory
                    the_ledger_tells_the_memory
                    the_stack_is_limited
                    a_fresh_instance_remembers_nothing
                    a_kept_instance_is_clean_after_a_failure
                    packages_share_no_memory
                    instances_share_no_memory
                    the_size_of_code_is_limited
                    truncated_code_is_refused
                    garbage_is_refused
                }
            }
            wasm {
                wasm_1_1 {
                    a_guest_of_1_1_is_checked_at_load
                    a_guest_of_both_versions_speaks_1_1
                    the_calls_of_1_1_come_in_order
                    an_extension_without_a_number_breaks_the_rules
                    a_small_input_buffer_is_enlarged
                    an_exchange_out_of_range_breaks_the_rules
                    each_status_of_1_1_is_its_kind
                    a_failed_read_of_1_1_lends_its_words
                    each_op_of_1_1_makes_its_intent
                    a_malformed_output_of_1_1_breaks_the_rules
                    a_storage_has_one_number
                    a_deadline_ends_a_loop_of_names
                    get_of_1_1_answers_each_outcome
                    a_value_that_does_not_fit_is_taken_later
                    rows_are_pulled_as_they_fit
                    a_row_that_does_not_fit_tells_its_size
                    rows_of_1_1_answer_each_failure
                    cursors_are_few_and_do_not_last
                    a_cursor_that_is_not_open_breaks_the_rules
                    a_pointer_of_1_1_out_of_range_breaks_the_rules
                    asking_at_the_wrong_time_breaks_the_rules
                    a_guest_that_breaks_a_batch_costs_one_invocation
                    a_slow_start_is_not_the_time_of_one_of_a_batch
                }
                wasm_cache {
                    compiled_code_is_taken_from_the_cache
                    a_damaged_entry_is_compiled_anew
                }
                wasm_exports {
                    a_guest_with_every_export_runs
                    missing_exports_are_named_at_load
                    exports_of_another_type_are_named_at_load
                    another_abi_version_is_refused
                    a_start_function_is_refused
                    exports_are_called_in_order
                    a_trap_in_initialisation_gives_no_instance
                    initialisation_has_a_deadline
                    initialisation_has_no_host
                    every_initialiser_is_run
                    a_segment_out_of_bounds_is_said_to_be_one
                    each_trap_is_a_trap
                    a_trap_in_malloc_is_a_trap
                    a_malloc_that_asks_its_host_breaks_the_rules
                    a_malloc_without_memory_is_the_limit_memory
                    a_trap_in_reset_costs_only_the_instance
                    a_guest_cannot_refuse_to_end
                    a_truncated_module_is_refused
                    a_proposal_that_not_every_engine_runs_is_refused
                    every_problem_of_a_module_is_in_one_report
                    a_module_is_held_to_the_extensions_that_it_tells
                }
                wasm_foreign {
                    a_foreign_function_has_one_number
                    call_answers_each_outcome
                    an_answer_that_does_not_fit_is_taken_later
                    a_made_up_function_is_denied
                    a_call_out_of_range_breaks_the_rules
                    a_call_at_the_wrong_time_breaks_the_rules
                }
                wasm_imports {
                    get_elem_0_hands_over_the_element
                    get_elem_1_is_not_there
                    get_elem_2_is_a_bad_key
                    get_elem_3_is_io
                    get_elem_4_is_no_memory
                    read_elems_0_hands_over_each_row
                    read_elems_2_is_a_bad_key
                    read_elems_3_is_io
                    read_elems_without_memory_is_the_limit_memory
                    a_trap_in_on_read_is_a_trap
                    on_read_may_ask_the_host_in_turn
                    on_read_cannot_recurse_without_end
                    a_pointer_out_of_range_breaks_the_rules
                    a_length_that_overflows_breaks_the_rules
                    a_storage_name_that_is_not_utf8_breaks_the_rules
                    unknown_imports_are_named_at_load
                    imports_of_another_type_are_named_at_load
                    wasi_output_goes_to_the_log
                    the_wasi_clock_is_the_invocations_time
                    wasi_randomness_is_the_invocations
                    a_wasi_exit_is_a_trap
                    a_wasi_pointer_out_of_range_does_no_harm
                    wasi_takes_no_more_than_a_call_can_do
                }
                wasm_blocks {
                    each_status_is_its_kind
                    any_message_of_a_rejection_is_taken
                    a_refused_guest_only_logs
                    each_op_makes_its_intent
                    a_result_out_of_range_breaks_the_rules
                    a_malformed_intents_region_breaks_the_rules
                    what_is_not_canonical_is_a_bad_intent
                    another_nan_is_a_bad_intent
                    a_computed_nan_is_the_one_nan
                    a_block_for_the_host_out_of_range_breaks_the_rules
                    blocks_for_the_host_that_overlap_break_the_rules
                    name_and_arguments_lie_in_their_blocks
                    intents_to_storages_that_do_not_exist_are_denied
                    an_instance_is_clean_after_each_broken_rule
                    an_intents_region_may_end_with_the_memory
                }
                wasm_limits {
                    the_number_of_functions_is_limited
                    the_size_of_a_function_is_limited
                    a_table_above_its_limit_is_refused
                    a_memory_above_its_limit_is_refused
                    a_denied_growth_of_memory_ends_the_call
                    a_denied_growth_of_a_table_ends_the_call
                    a_fresh_instance_has_its_first_memory
                    fuel_is_the_same_on_every_engine
                    fuel_is_kept_exactly
                    without_a_limit_there_is_no_fuel
                    a_start_takes_no_fuel
                    fuel_ends_a_loop
                    a_function_that_takes_too_long_to_compile_is_refused
                }
            }
            lua {
                lua {
                    bytecode_is_refused
                    a_byte_order_mark_is_skipped
                    a_global_that_is_no_function_is_no_extension
                    a_chunk_that_does_not_load_is_refused
                    numbers_are_not_rounded
                    an_unknown_field_is_a_bad_intent
                    a_caught_error_is_no_failure
                    any_uncaught_error_is_a_trap
                    nothing_swallows_a_deadline
                    a_pattern_cannot_hold_the_thread
                    the_library_reaches_nothing_outside
                    the_library_cannot_be_changed
                    time_and_random_numbers_are_the_invocations
                    print_goes_to_the_log
                    a_name_that_is_not_utf8_is_denied
                    fuel_is_the_same_each_time
                    a_chunk_takes_no_fuel
                    fuel_ends_a_lua_loop
                }
            }
            builtin {
                builtin {
                    a_panic_is_caught_with_its_message
                    a_package_that_is_not_linked_in_is_refused
                    inspection_lists_what_is_linked_in
                }
            }
        }
    };
}
