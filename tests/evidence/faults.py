"""The faults that this project set out to survive, row by row: what tries each, and what does not.

A holder is ``file::test``, ``simulation:KIND`` for a kind of fault of the simulation, or
``sometimes:WORDS`` for a moment that its runs must have come to. A test looks whether they exist.
What is ``missing`` is said even where much is tried. `python -m tests.evidence --render` writes the
page, docs/faults.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from fsm_saga.simulation.faults import RATES
from fsm_saga.simulation.sometimes import SOMETIMES
from tests.corpus.holders import tests_in

YES, IN_PART, NO = "yes", "in part", "**no**"
INTEGRATION, UNIT = "tests/integration/test_", "tests/unit/"
CRASH_POINTS = (
    "tests/crashpoints/test_crash_points.py::"
    "test_no_single_fault_and_no_pair_of_them_leaves_anything_wrong_in_the_world"
)
TRUTH_TABLE = "tests/truthtable/test_truth_table.py::test_a_row_is_as_safe_as_it_is_listed"
GRID = INTEGRATION + "kill_grid.py::"
RECOVERY = INTEGRATION + "kill_recovery.py::"
POWER = INTEGRATION + "power_loss.py::"
FLIPS = INTEGRATION + "disk_bit_flips.py::"
MOUNTED = INTEGRATION + "disk_mounted.py::"
SQLITE = INTEGRATION + "sqlite_faults.py::"
FENCE_RACES = INTEGRATION + "fence_races.py::"
DISK = (
    INTEGRATION + "disk_everywhere.py::"
    "test_a_disk_that_fails_anywhere_loses_nothing_and_does_nothing_twice"
)
LOOP = GRID + "test_a_loop_of_kills_at_any_place_ends_as_one_run_would"

NO_CLUSTER = "Real processes that share a cluster as their store are not in the figures."
PLAYED_CLUSTER = f"In the simulation only, with a lease that is played. {NO_CLUSTER}"
IN_PROCESS = "A tool is a function in our process: it has no reply of its own that could be cut."


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One row.

    Attributes:
        number: Its number in the list that this project started from.
        what: The fault, in words.
        holders: What tries it.
        missing: What nothing tries.
    """

    number: int
    what: str
    holders: tuple[str, ...] = ()
    missing: str = ""

    @property
    def verdict(self) -> str:
        """Whether it is tried: yes, in part, or no."""
        if not self.holders:
            return NO
        return IN_PART if self.missing else YES


def _row(number: int, what: str, *holders: str, missing: str = "") -> Fault:
    return Fault(number=number, what=what, holders=holders, missing=missing)


SIMULATED: tuple[Fault, ...] = (
    _row(
        1,
        "the process dies before or after any wait",
        "simulation:crash-before",
        "simulation:crash-sent",
        "simulation:crash-after",
        "simulation:crash-asleep",
        CRASH_POINTS,
    ),
    _row(
        2,
        "the process stands still, for longer than its lease too",
        "simulation:pause",
        "sometimes:stale leader calls",
        "sometimes:stale leader's write refused",
    ),
    _row(3, "a request is lost", "simulation:request-lost", CRASH_POINTS),
    _row(
        4,
        "it was done, and the answer is lost: of a tool, of the store",
        "simulation:reply-lost",
        "simulation:unknown-done",
        "simulation:store-reply-lost",
        "sometimes:unknown append found applied",
        CRASH_POINTS,
    ),
    _row(
        5,
        "messages are late, some of them by far",
        "simulation:slow",
        "simulation:very-slow",
        "simulation:late-reply",
    ),
    _row(
        6,
        "a request or an answer comes twice",
        "simulation:duplicate",
        "simulation:other-answer",
        "sometimes:action deduped",
        "sometimes:compensation deduped",
    ),
    _row(
        7,
        "messages of steps and attempts change places",
        "simulation:very-slow",
        "sometimes:reply ignored",
        "tests/modelcheck/test_shapes.py::test_every_history_of_every_shape_of_four_steps_is_sound",
    ),
    _row(
        8,
        "an action arrives after its undo was acknowledged",
        "simulation:held-for-undo",
        "sometimes:late action fenced",
        TRUTH_TABLE,
    ),
    _row(
        9,
        "an undo arrives after its step was ordered anew",
        "simulation:duplicate",
        "tests/modelcheck/test_found_by_search.py::"
        "test_an_undo_interrupted_by_a_crash_keeps_its_id_where_refusals_are_forgotten",
        missing="No copy of an undo is held back on purpose until then: it meets by chance.",
    ),
    _row(
        10,
        "a coordinator is cut off from the store, or from the tools",
        "simulation:cut-store",
        "simulation:cut-tools",
        missing="A cut that lasts and lets one direction through.",
    ),
    _row(
        11,
        "links fail one after the other and come back in another order",
        "simulation:cut-store",
        "simulation:cut-tools",
        missing="They do so where chance has it; no run is made of that alone.",
    ),
    _row(
        12,
        "the store refuses, does not answer, is slow, or acts after the caller gave up",
        "simulation:store-conflict",
        "simulation:store-lost",
        "simulation:store-slow",
        "simulation:store-late",
        "tests/unit/coordinator/test_driver.py::"
        "test_an_append_whose_reply_is_lost_counts_once_whether_it_was_written_or_not",
    ),
    _row(
        13,
        "a lease ends early, late, or without its holder knowing",
        "simulation:lease-lost",
        "sometimes:told that another leads",
        "tests/unit/cluster/test_node.py::"
        "test_who_loses_its_lease_without_knowing_can_write_no_more_and_begins_anew",
        missing="An election that was won and whose answer is lost.",
    ),
    _row(
        14,
        "notices of changes are cut off and begin anew",
        "simulation:watch-reset",
        "sometimes:watch reset",
        missing="Notices that are doubled, or of which history was thrown away.",
    ),
    _row(15, "the store takes nothing more for a while", "simulation:store-closed", DISK),
    _row(
        16,
        "a tool refuses once or always, hangs, answers nonsense, too much, or two things",
        "simulation:refuses",
        "simulation:refuses-first",
        "simulation:never-answers",
        "simulation:bad-output",
        "simulation:poor-output",
        "simulation:other-answer",
        "tests/unit/tools/test_runner.py::test_an_output_above_the_limit_is_no_failure_either",
    ),
    _row(
        17,
        "a tool dies between its effect and its memory of it",
        FENCE_RACES + "test_a_process_that_is_killed_between_effect_and_commit_leaves_neither",
        "tests/simulation/test_zoo.py::test_a_planted_bug_is_caught",
    ),
    _row(
        18,
        "a tool forgets a call when its time is over, or too early",
        "sometimes:retention expired before a resend",
        TRUTH_TABLE,
        "tests/modelcheck/test_found_by_search.py::"
        "test_a_retry_that_is_due_after_the_tool_forgot_the_call_is_not_sent",
    ),
    _row(
        19,
        "clocks differ, and jump",
        "simulation:clock-skew",
        "simulation:clock-jump",
        "tests/unit/coordinator/test_clock.py::test_a_clock_that_is_set_back_makes_timers_late",
        missing=(
            "Clocks that run faster or slower than others, or stand still; jumps of the simulation "
            "are half an hour at most, and two seconds where a tool promises something in seconds."
        ),
    ),
    _row(
        20,
        "a record is damaged when it is read again",
        "simulation:corrupt",
        "sometimes:corrupt journal refused",
        FLIPS + "test_a_flipped_bit_in_the_database_is_refused_or_makes_no_difference",
    ),
    _row(
        21,
        "a disk that lies about its syncs: has to be noticed",
        POWER + "test_with_a_disk_that_lies_about_its_syncs_acknowledged_records_are_lost",
        "tests/crashpoints/test_crash_points.py::test_what_is_wrong_with_an_engine_is_seen",
    ),
    _row(
        22,
        "every restart dies again",
        "simulation:crash-loop",
        "sometimes:crash in recovery",
        LOOP,
        RECOVERY + "test_a_call_that_each_process_dies_of_is_left_to_a_person",
    ),
    _row(
        23,
        "people cancel, answer twice, late, or about what is past",
        "simulation:cancel",
        "simulation:stale-answer",
        "simulation:wrong-answer",
        "simulation:doubled",
        "simulation:amend",
        "sometimes:cancel refused",
    ),
    _row(
        24,
        "the engine is replaced by another version while sagas run",
        "tests/unit/stores/test_codec.py::test_old_versions_are_read_through_their_upgrades",
        missing="There is one version so far: nothing was begun by one and ended by another.",
    ),
    _row(
        25,
        "hundreds of sagas at once, and a tool that never answers",
        INTEGRATION + "engine_many.py::test_two_hundred_sagas_finish_while_one_hangs_in_its_tool",
        UNIT
        + "tools/test_threads.py::test_a_tool_that_hangs_leaves_half_of_the_threads_to_the_others",
        missing="Not in the simulation, whose runs have three sagas at most.",
    ),
)

REAL: tuple[Fault, ...] = (
    _row(
        1,
        "kill -9 at any instant",
        RECOVERY + "test_processes_killed_at_random_again_and_again_come_to_the_right_end",
        INTEGRATION + "sqlite_processes.py::"
        "test_nothing_acknowledged_is_lost_when_the_writer_is_killed_again_and_again",
        missing=f"The time until another coordinator takes over. {NO_CLUSTER}",
    ),
    _row(
        2,
        "kill -9 at every pass of every failpoint, in recoveries too",
        RECOVERY + "test_a_process_killed_at_every_pass_of_a_failpoint_is_finished_by_the_next",
        GRID + "test_each_recovery_from_each_kill_of_a_chain_is_killed_everywhere_too",
        GRID + "test_a_kill_in_the_middle_of_any_write_of_sqlite_loses_nothing",
    ),
    _row(
        3,
        "all coordinators are killed, again and again",
        "simulation:outage",
        LOOP,
        INTEGRATION + "poison.py::test_resume_gets_past_a_call_that_ends_its_process_each_time",
        missing=(
            "More than five ends of one call in a row: it is then left to a person, on purpose."
        ),
    ),
    _row(
        4,
        "the leader is stopped past its lease between intent and call",
        "simulation:pause",
        "sometimes:stale leader's call deduped",
        missing=PLAYED_CLUSTER,
    ),
    _row(
        5,
        "it is stopped during a sync, or while it renews its lease",
        "simulation:pause",
        "simulation:store-slow",
        missing=PLAYED_CLUSTER,
    ),
    _row(6, "the leader is cut off from the store", "simulation:cut-store", missing=PLAYED_CLUSTER),
    _row(7, "the leader is cut off from the tools", "simulation:cut-tools", missing=PLAYED_CLUSTER),
    _row(
        8,
        "requests pass and answers do not",
        "simulation:store-reply-lost",
        "simulation:reply-lost",
        missing=PLAYED_CLUSTER,
    ),
    _row(
        9,
        "a member of the store's cluster is killed, replaced, or most of them are gone",
        missing=NO_CLUSTER,
    ),
    _row(10, "a member of the store's cluster stands still", missing=NO_CLUSTER),
    _row(11, "the cluster throws history away all the time", missing=NO_CLUSTER),
    _row(
        12,
        "the cluster has no space left",
        "simulation:store-closed",
        missing=PLAYED_CLUSTER,
    ),
    _row(13, "a member loses its data, or is restored from yesterday's", missing=NO_CLUSTER),
    _row(
        14,
        "the disk is full, then has room again",
        MOUNTED + "test_a_disk_that_is_really_full_stops_the_engine_with_a_clear_word",
        MOUNTED + "test_with_room_again_the_saga_comes_to_its_end_and_nothing_is_done_twice",
        INTEGRATION + "cli.py::test_a_disk_that_fills_up_under_way_ends_with_75_and_resume_goes_on",
        DISK,
    ),
    _row(
        15,
        "the power goes after any action of the store, in its recovery too",
        POWER + "test_nothing_acknowledged_is_lost_whenever_the_power_goes",
        POWER + "test_nothing_is_lost_when_the_power_goes_again_while_the_store_recovers",
        POWER + "test_with_synchronous_normal_acknowledged_records_are_lost",
    ),
    _row(
        16,
        "torn pages, wrong bits, files that are cut off, a journal left hot",
        FLIPS + "test_a_flipped_bit_in_the_database_is_refused_or_makes_no_difference",
        FLIPS + "test_a_flipped_bit_in_the_log_leaves_an_earlier_moment_or_makes_no_difference",
        FLIPS + "test_a_flipped_bit_in_the_journal_of_the_first_moment_makes_a_store_or_is_refused",
        INTEGRATION
        + "sqlite_files.py::test_a_file_that_is_cut_off_is_damaged_or_refused_never_shorter",
    ),
    _row(
        17,
        "a slow disk",
        SQLITE + "test_a_slow_disk_does_not_keep_the_loop_waiting",
        "simulation:store-slow",
        missing="A lease that is lost by it, in real processes.",
    ),
    _row(
        18,
        "the file system becomes read-only, or a sync fails",
        MOUNTED + "test_a_file_system_that_became_read_only_is_refused_read_and_left_alone",
        INTEGRATION + "disk_failed_syncs.py::test_what_is_acknowledged_after_a_failed_sync_stays",
        DISK,
    ),
    _row(
        19,
        "two coordinators on one SQLite file",
        INTEGRATION
        + "sqlite_processes.py::test_a_second_writer_is_refused_and_told_who_is_the_first",
        INTEGRATION
        + "engine_stores.py::test_a_second_engine_on_one_file_is_refused_and_told_who_holds_it",
    ),
    _row(
        20,
        "the clock jumps during leases and retries",
        "simulation:clock-jump",
        UNIT + "coordinator/test_clock.py::"
        "test_a_clock_that_is_set_forward_is_noticed_within_the_longest_sleep",
        missing="A real process under a changed clock of the system.",
    ),
    _row(
        21,
        "a tool's answer is late, double, swapped, cut off, endless, huge or no text",
        "simulation:late-reply",
        "simulation:other-answer",
        UNIT
        + "tools/test_output.py::test_what_cannot_be_stored_is_refused_without_saying_what_it_was",
        INTEGRATION + "engine_tools.py::test_a_tool_that_hangs_times_out_and_keeps_nobody_waiting",
        missing=f"{IN_PROCESS} What it talks to is its own.",
    ),
    _row(
        22,
        "a tool acts and its connection is reset",
        "simulation:unknown-done",
        FENCE_RACES + "test_a_connection_that_the_server_ended_is_doubt_and_is_run_again",
        UNIT + "tools/test_classify.py::test_an_error_that_leaves_the_effect_open_is_doubtful",
    ),
    _row(
        23,
        "a tool restarts and has forgotten its calls, against its word",
        UNIT + "tools/test_certify.py::test_each_lie_is_found_by_the_checks_that_are_about_it",
        "tests/crashpoints/test_crash_points.py::test_what_is_wrong_with_an_engine_is_seen",
        missing="While sagas run a contract is believed; `fsm-saga certify` is asked before.",
    ),
    _row(
        24,
        "a tool's name does not resolve, or its address changes",
        UNIT + "tools/test_classify.py::test_every_other_error_is_a_refusal",
        missing=f"Only how the errors of a resolver are judged. {IN_PROCESS}",
    ),
    _row(
        25,
        "no files, no memory, no threads or no processor left",
        INTEGRATION + "sqlite_processes.py::test_a_file_that_may_not_grow_stops_no_one_for_good",
        UNIT + "tools/test_threads.py::test_when_no_thread_can_be_started_the_call_is_not",
        missing="Open files or memory used up, and a processor that is starved.",
    ),
    _row(
        26,
        "a thousand sagas, and the leader is killed",
        INTEGRATION + "engine_many.py::test_sagas_that_were_left_in_the_middle_are_all_resumed",
        RECOVERY + "test_processes_killed_at_random_again_and_again_come_to_the_right_end",
        missing="So many at once with a kill; the kills have six sagas at a time.",
    ),
    _row(
        27,
        "onlookers who never read",
        INTEGRATION + "cli.py::test_a_reader_that_does_not_read_does_not_hold_the_saga_up",
        missing="There is no dashboard yet; this is the command line's own reader.",
    ),
    _row(
        28,
        "coordinators are replaced by another version and back, one by one",
        INTEGRATION
        + "sqlite_migration.py::test_the_next_writer_raises_the_schema_and_protects_what_is_there",
        missing="There is one version so far; only the store's former schema is tried.",
    ),
    _row(
        29,
        "a polite end and a kill, in every state",
        INTEGRATION + "cli.py::test_an_interrupted_run_stops_at_once_and_says_how_to_go_on",
        RECOVERY + "test_a_process_killed_at_every_pass_of_a_failpoint_is_finished_by_the_next",
        missing="The polite end comes at one moment only. A lease is resigned in unit tests.",
    ),
    _row(
        30,
        "what is printed or logged cannot be written",
        INTEGRATION + "cli.py::test_a_saga_runs_to_its_end_whatever_becomes_of_its_output",
    ),
)


def exists(holder: str) -> bool:
    """Return whether a test, a kind of simulated fault, or a moment is there.

    Example:
        >>> exists("simulation:pause"), exists("simulation:earthquake")
        (True, False)
    """
    place, _colon, name = holder.partition(":")
    if place == "simulation":
        return name in RATES
    if place == "sometimes":
        return name in SOMETIMES
    file, _colons, test = holder.partition("::")
    return test in tests_in(file)
