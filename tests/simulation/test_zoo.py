"""Each planted bug is caught by a check that is there for it, as the table says; and the canary.

The table names the seed. When the engine or the world has changed, another seed may be the first:
then the bug is looked for again, and the table is to be written anew.
"""

from __future__ import annotations

import pytest

from fsm_saga.simulation.command import main
from tests.simulation.zoo.all_bugs import CANARY, ZOO, bug_named
from tests.simulation.zoo.bug import Bug
from tests.simulation.zoo.hunting import codes_of, hunt
from tests.simulation.zoo.table import read_rows

ROWS = {row.name: row for row in read_rows()}
LOOK_AGAIN = 300


def test_the_zoo_is_large_and_whole_in_the_table() -> None:
    assert len(ZOO) >= 30
    assert [bug.name for bug in ZOO] == list(ROWS)
    assert [row.name for row in ROWS.values() if row.after is None] == []


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("bug", ZOO, ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught(bug: Bug) -> None:
    after = ROWS[bug.name].after or 1
    with bug.planted():
        codes = codes_of(after - 1, is_cluster=bug.is_cluster)
    if not bug.codes & set(codes):
        found = hunt(bug, seed_max=LOOK_AGAIN + 2 * after, sample=0)
        assert found.first_seed is not None, f"{bug.name}: not caught in {found.seeds} seeds"


def test_a_planted_bug_leaves_nothing_behind() -> None:
    with bug_named("time-out taken for a failure").planted():
        assert codes_of(1)
    assert not codes_of(1)


def test_the_canary_turns_the_run_red(capsys: pytest.CaptureFixture[str]) -> None:
    with bug_named(CANARY).planted():
        assert main(["--seeds", "30", "--jobs", "1"]) == 1
    said = capsys.readouterr().out
    assert "X1" in said
    assert "python -m fsm_saga.simulation --seed" in said
    assert main(["--seeds", "30", "--jobs", "1"]) == 0
