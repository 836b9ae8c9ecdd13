"""What a set of seeds came to, as a document."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from fsm_saga.simulation.command import RAREST_SHOWN, document_of, main
from fsm_saga.simulation.many import Failure, Tally
from fsm_saga.simulation.sometimes import SOMETIMES


def test_the_document_names_what_failed_and_what_was_rare() -> None:
    often = Counter(dict.fromkeys(SOMETIMES, 9))
    del often[SOMETIMES[0]]
    often[SOMETIMES[1]] = 2
    tally = Tally(
        seeds=100,
        failures=[Failure(seed=7, code="C2", message="C2 does not hold")],
        counts=often,
        faults=Counter({"pause": 3, "slow": 2}),
        hashes=["a", "b"],
        virtual_s=7_200.0,
        wall_s=60.0,
    )
    document = document_of(tally, first=0, jobs=2)
    assert document["failures"] == [{"seed": 7, "code": "C2", "message": "C2 does not hold"}]
    assert (document["failed"], document["faults"], document["kinds_of_fault"]) == (1, 5, 2)
    assert document["sometimes_never"] == [SOMETIMES[0]]
    assert document["rarest"][:2] == [
        {"what": SOMETIMES[0], "times": 0},
        {"what": SOMETIMES[1], "times": 2},
    ]
    assert len(document["rarest"]) == RAREST_SHOWN
    assert (document["virtual_hours"], document["seeds_per_minute"]) == (2.0, 100)
    assert json.loads(json.dumps(document)) == document


def test_a_document_is_all_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "2", "--jobs", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["seeds"] == 2


def test_a_picture_that_cannot_be_written_is_refused_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--seed", "1", "--picture", str(tmp_path / "nowhere" / "run.svg")])
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "nowhere" in printed.err
