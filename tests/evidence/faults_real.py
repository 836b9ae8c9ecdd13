"""The faults of real processes, disks, servers and networks."""

from __future__ import annotations

from tests.evidence.faults import (
    DISK,
    ETCD_UNIT,
    FENCE_RACES,
    FLIPS,
    GRID,
    INTEGRATION,
    LOOP,
    MOUNTED,
    NOT_OURS,
    POWER,
    RECOVERY,
    REDIS,
    SQLITE,
    UNIT,
    Fault,
    row,
)

REAL: tuple[Fault, ...] = (
    row(
        1,
        "kill -9 at any instant",
        RECOVERY + "test_processes_killed_at_random_again_and_again_come_to_the_right_end",
        INTEGRATION + "sqlite_processes.py::"
        "test_nothing_acknowledged_is_lost_when_the_writer_is_killed_again_and_again",
        "chaos:kill_a_leader",
    ),
    row(
        2,
        "kill -9 at every pass of every failpoint, in recoveries too",
        RECOVERY + "test_a_process_killed_at_every_pass_of_a_failpoint_is_finished_by_the_next",
        GRID + "test_each_recovery_from_each_kill_of_a_chain_is_killed_everywhere_too",
        GRID + "test_a_kill_in_the_middle_of_any_write_of_sqlite_loses_nothing",
    ),
    row(
        3,
        "all coordinators are killed, again and again",
        "simulation:outage",
        "chaos:kill_all_coordinators",
        LOOP,
        INTEGRATION + "poison.py::test_resume_gets_past_a_call_that_ends_its_process_each_time",
        missing=(
            "More than five ends of one call in a row: it is then left to a person, on purpose."
        ),
    ),
    row(
        4,
        "the leader is stopped past its lease between intent and call",
        "simulation:pause",
        "sometimes:stale leader's call deduped",
        "chaos:pause_a_leader",
        "chaos:stop_a_leader_before_a_call",
        "chaos:stop_a_leader_before_a_write",
    ),
    row(
        5,
        "it is stopped during a sync, or while it renews its lease",
        "simulation:pause",
        "simulation:store-slow",
        ETCD_UNIT + "session.py::test_a_process_that_was_paused_finds_its_lease_over_when_it_looks",
        missing="A real process that is stopped at just that moment.",
    ),
    row(
        6,
        "the leader is cut off from the store",
        "simulation:cut-store",
        "chaos:cut_a_leader_from_etcd",
    ),
    row(
        7,
        "the leader is cut off from the tools",
        "simulation:cut-tools",
        "chaos:cut_the_shop_off",
        "chaos:lose_all_between_coordinators_and_shop",
    ),
    row(
        8,
        "requests pass and answers do not, or the other way round",
        "simulation:store-reply-lost",
        "simulation:reply-lost",
        "chaos:lose_the_answers_of_etcd",
        "chaos:lose_the_requests_to_etcd",
        "chaos:lose_the_answers_of_the_shop",
        "chaos:lose_the_requests_to_the_shop",
    ),
    row(
        9,
        "a member of the store's cluster is killed, replaced, or most of them are gone",
        "chaos:kill_the_leader_of_etcd",
        "chaos:lose_the_majority_of_etcd",
        "chaos:restart_etcd_one_after_the_other",
        missing="A member that is replaced by a new one.",
    ),
    row(
        10,
        "a member of the store's cluster stands still",
        "chaos:pause_a_member_of_etcd",
        "tests/integration/etcd_client/test_failover.py::"
        "test_a_member_that_falls_silent_is_left_for_another",
    ),
    row(
        11,
        "the cluster throws history away all the time",
        "chaos:compact_all_the_time",
        ETCD_UNIT + "election.py::test_a_watch_that_was_compacted_away_under_a_leader_goes_on",
    ),
    row(
        12,
        "the cluster has no space left",
        "simulation:store-closed",
        "chaos:fill_etcd",
        "tests/integration/etcd_client/test_no_space.py::"
        "test_at_the_quota_a_write_is_in_doubt_and_room_can_be_made",
    ),
    row(
        13,
        "the store's server loses its data, or is restored from yesterday's",
        REDIS + "test_a_server_that_lost_what_it_had_confirmed_is_written_no_more",
        REDIS + "test_a_server_that_forgot_everything_is_written_no_more",
        missing="Redis only: not a member of etcd, nor an etcd that was restored.",
    ),
    row(
        14,
        "the disk is full, then has room again",
        MOUNTED + "test_a_disk_that_is_really_full_stops_the_engine_with_a_clear_word",
        MOUNTED + "test_with_room_again_the_saga_comes_to_its_end_and_nothing_is_done_twice",
        INTEGRATION + "cli.py::test_a_disk_that_fills_up_under_way_ends_with_75_and_resume_goes_on",
        DISK,
    ),
    row(
        15,
        "the power goes after any action of the store, in its recovery too",
        POWER + "test_nothing_acknowledged_is_lost_whenever_the_power_goes",
        POWER + "test_nothing_is_lost_when_the_power_goes_again_while_the_store_recovers",
        POWER + "test_with_synchronous_normal_acknowledged_records_are_lost",
    ),
    row(
        16,
        "torn pages, wrong bits, files that are cut off, a journal left hot",
        FLIPS + "test_a_flipped_bit_in_the_database_is_refused_or_makes_no_difference",
        FLIPS + "test_a_flipped_bit_in_the_log_leaves_an_earlier_moment_or_makes_no_difference",
        FLIPS + "test_a_flipped_bit_in_the_journal_of_the_first_moment_makes_a_store_or_is_refused",
        INTEGRATION
        + "sqlite_files.py::test_a_file_that_is_cut_off_is_damaged_or_refused_never_shorter",
    ),
    row(
        17,
        "a slow disk",
        SQLITE + "test_a_slow_disk_does_not_keep_the_loop_waiting",
        "simulation:store-slow",
        missing="A lease that is lost by it, in real processes.",
    ),
    row(
        18,
        "the file system becomes read-only, or a sync fails",
        MOUNTED + "test_a_file_system_that_became_read_only_is_refused_read_and_left_alone",
        INTEGRATION + "disk_failed_syncs.py::test_what_is_acknowledged_after_a_failed_sync_stays",
        DISK,
    ),
    row(
        19,
        "two coordinators on one SQLite file",
        INTEGRATION
        + "sqlite_processes.py::test_a_second_writer_is_refused_and_told_who_is_the_first",
        INTEGRATION
        + "engine_stores.py::test_a_second_engine_on_one_file_is_refused_and_told_who_holds_it",
    ),
    row(
        20,
        "the clock jumps during leases and retries",
        "simulation:clock-jump",
        UNIT + "coordinator/test_clock.py::"
        "test_a_clock_that_is_set_forward_is_noticed_within_the_longest_sleep",
        missing="A real process under a changed clock of the system.",
    ),
    row(
        21,
        "a tool's answer is late, double, swapped, cut off, endless, huge or no text",
        "simulation:late-reply",
        "simulation:other-answer",
        UNIT
        + "tools/test_output.py::test_what_cannot_be_stored_is_refused_without_saying_what_it_was",
        INTEGRATION + "engine_tools.py::test_a_tool_that_hangs_times_out_and_keeps_nobody_waiting",
        "chaos:hold_calls_to_the_shop",
        missing=f"An answer that is endless or garbled on the wire. {NOT_OURS}",
    ),
    row(
        22,
        "a tool acts and its connection is reset",
        "simulation:unknown-done",
        "chaos:lose_the_answers_of_the_shop",
        FENCE_RACES + "test_a_connection_that_the_server_ended_is_doubt_and_is_run_again",
        UNIT + "tools/test_classify.py::test_an_error_that_leaves_the_effect_open_is_doubtful",
    ),
    row(
        23,
        "a tool restarts and has forgotten its calls, against its word",
        UNIT + "tools/test_certify.py::test_each_lie_is_found_by_the_checks_that_are_about_it",
        "tests/crashpoints/test_crash_points.py::test_what_is_wrong_with_an_engine_is_seen",
        missing="While sagas run a contract is believed; `fsm-saga certify` is asked before.",
    ),
    row(
        24,
        "a tool's name does not resolve, or its address changes",
        UNIT + "tools/test_classify.py::test_every_other_error_is_a_refusal",
        missing=f"Only how the errors of a resolver are judged. {NOT_OURS}",
    ),
    row(
        25,
        "no files, no memory, no threads or no processor left",
        INTEGRATION + "sqlite_processes.py::test_a_file_that_may_not_grow_stops_no_one_for_good",
        UNIT + "tools/test_threads.py::test_when_no_thread_can_be_started_the_call_is_not",
        missing="Open files or memory used up, and a processor that is starved.",
    ),
    row(
        26,
        "a thousand sagas, and the leader is killed",
        INTEGRATION + "engine_many.py::test_sagas_that_were_left_in_the_middle_are_all_resumed",
        "chaos:burst",
    ),
    row(
        27,
        "onlookers who never read",
        INTEGRATION + "cli.py::test_a_reader_that_does_not_read_does_not_hold_the_saga_up",
        missing="There is no dashboard yet; this is the command line's own reader.",
    ),
    row(
        28,
        "coordinators are replaced by another version and back, one by one",
        INTEGRATION
        + "sqlite_migration.py::test_the_next_writer_raises_the_schema_and_protects_what_is_there",
        missing="There is one version so far; only the store's former schema is tried.",
    ),
    row(
        29,
        "a polite end and a kill, in every state",
        INTEGRATION + "cli.py::test_an_interrupted_run_stops_at_once_and_says_how_to_go_on",
        RECOVERY + "test_a_process_killed_at_every_pass_of_a_failpoint_is_finished_by_the_next",
        "chaos:restart_one_after_the_other",
        missing="A polite end in each state in turn: it comes where it comes.",
    ),
    row(
        30,
        "what is printed or logged cannot be written",
        INTEGRATION + "cli.py::test_a_saga_runs_to_its_end_whatever_becomes_of_its_output",
    ),
)
