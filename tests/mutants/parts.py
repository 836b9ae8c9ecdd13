"""The parts of a run: what is mutated, and by which tests each mutant is tried.

The tests of a part are quick ones, mostly the unit tests of its modules: a mutant that only a long
search, the simulation or a whole run of the command line would notice survives here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some modules that belong together, and their tests.

    Attributes:
        mutated: Patterns of files.
        tests: Files and folders, as pytest takes them.
        left_out: Tests that fail by mutmut's mere presence, or take too long.
        chosen: What the names of the tests have to fulfil, as pytest's ``-k`` takes it.
    """

    mutated: tuple[str, ...]
    tests: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    chosen: str = ""


PARTS = {
    "tools": Part(
        mutated=(
            "fsm_saga/tools/classify.py",
            "fsm_saga/tools/redact.py",
            "fsm_saga/tools/wording.py",
        ),
        tests=(
            "tests/unit/tools/test_classify.py",
            "tests/unit/tools/test_redact.py",
            "tests/unit/tools/test_wording.py",
        ),
    ),
    "core": Part(
        mutated=("fsm_saga/core/*",),
        tests=("tests/unit/core", "tests/scenarios"),
        # It lists the functions of a module, to which mutmut adds.
        left_out=(
            "tests/unit/core/test_guards.py"
            "::test_the_set_is_closed_and_each_guard_is_known_by_its_own_name",
        ),
    ),
    "machine": Part(
        mutated=("fsm_saga/machine/*",),
        tests=(
            "tests/unit/machine",
            "tests/scenarios",
            "tests/property/test_class_equals_table.py",
            "tests/modelcheck/test_zoo.py::test_a_spoilt_decision_is_caught",
            "tests/modelcheck/test_zoo.py::test_a_broken_core_is_caught",
            "tests/modelcheck/test_zoo.py::test_an_unsafe_exit_is_caught",
        ),
        # They take a fifth of the time of all, and their smaller kin see the same.
        left_out=(
            "tests/property/test_class_equals_table.py"
            "::test_class_and_table_agree_in_every_state_on_every_event_for_all_facts[3]",
            "tests/property/test_class_equals_table.py"
            "::test_class_and_table_agree_in_every_state_on_every_event_for_all_facts[4]",
            "tests/modelcheck/test_zoo.py"
            "::test_a_spoilt_decision_is_caught[one too many-program15-INV-10]",
            "tests/unit/machine/test_verify.py"
            "::test_above_the_bound_the_rest_is_walked_at_random_and_the_seed_decides",
        ),
    ),
    "plan": Part(
        mutated=("fsm_saga/plan/*",),
        tests=("tests/unit/plan", "tests/corpus/test_plan_corpus.py"),
        # Two hold a time, and mutmut's own work takes more; one starts processes of its own.
        left_out=(
            "tests/unit/plan/test_lint.py::test_a_hostile_plan_is_refused_before_it_costs_much",
            "tests/unit/plan/test_lint.py::test_two_hundred_steps_are_checked_in_a_moment",
            "tests/corpus/test_plan_corpus.py"
            "::test_the_hash_of_a_plan_is_the_same_in_every_process",
        ),
    ),
    "stores": Part(
        mutated=(
            "fsm_saga/stores/codec.py",
            "fsm_saga/stores/damage.py",
            "fsm_saga/stores/group_commit.py",
            "fsm_saga/stores/heads.py",
            "fsm_saga/stores/held.py",
            "fsm_saga/stores/memory*.py",
            "fsm_saga/stores/opening.py",
            "fsm_saga/stores/places.py",
            "fsm_saga/stores/refusals.py",
            "fsm_saga/stores/sharding.py",
            "fsm_saga/stores/single_cluster.py",
            "fsm_saga/stores/sqlite*.py",
        ),
        tests=(
            "tests/unit/stores",
            "tests/conformance/test_clusters.py",
            "tests/conformance/test_commands.py",
            "tests/conformance/test_journals.py",
            "tests/conformance/test_linearizable.py",
            "tests/conformance/test_local_stores.py",
            "tests/integration/test_sqlite_commands.py",
            "tests/integration/test_sqlite_faults.py",
            "tests/integration/test_sqlite_files.py",
            "tests/integration/test_sqlite_heads.py",
            "tests/integration/test_sqlite_migration.py",
            "tests/unit/cli/test_checks_contents.py",
        ),
        # It holds a time, and a busy machine takes more.
        left_out=(
            "tests/integration/test_sqlite_faults.py"
            "::test_a_slow_disk_does_not_keep_the_loop_waiting",
        ),
        chosen="not etcd and not redis",
    ),
}
