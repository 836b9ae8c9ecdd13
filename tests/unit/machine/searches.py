"""What the search sees of each kind of step: ``python -m tests.unit.machine.searches`` records it.

A search that sees less than before still says "proven". So what it saw is written down, and a
change of it is looked at: is something new possible, or is something no longer tried?
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fsm_saga.core.program import Program
from fsm_saga.machine.canonical import Reduction
from fsm_saga.machine.explore import Space
from fsm_saga.machine.moves import Move
from fsm_saga.machine.nodes import Late
from fsm_saga.machine.verify import Verification, verify_program
from tests.modelcheck.mixes import AFTER, BACKWARD, PIVOTS
from tests.modelcheck.programs import (
    APPROVED,
    CHECKED,
    COMPENSATABLE,
    FENCED,
    NEVER,
    ONCE,
    PIVOT,
    READ_ONLY,
    RETRIABLE,
    SEMANTIC,
    TIMED,
    TWICE,
    Step,
    make_program,
)

RECORDED = Path(__file__).with_name("searches.json")
PLAIN = COMPENSATABLE
BESIDE = ((), ())


def _of(step: Step, **more: Any) -> Callable[[], Program]:
    return lambda: make_program((step,), **more)


# Each program is made when it is asked for, so that nothing is made while tests are collected.
PROGRAMS: dict[str, Callable[[], Program]] = {
    **{name: _of(step) for name, step in {**BACKWARD, **PIVOTS, **AFTER}.items()},
    **{
        f"{name}, within a deadline": _of(BACKWARD[name], deadline_s=60.0)
        for name in ("approved", "timed", "checked", "semantic", "undo with retention")
    },
    "checked, its output used": _of(
        Step(contract=CHECKED.contract, output_is_used=True, undo_needs_output=True)
    ),
    "open": _of(PLAIN, is_open=True),
    "tried twice": _of(Step(retry=TWICE)),
    "tried once, its undo too": _of(Step(undo_retry=ONCE, retry=NEVER)),
    "plain beside plain": lambda: make_program((PLAIN, PLAIN), BESIDE),
    "semantic beside plain": lambda: make_program((SEMANTIC, PLAIN), BESIDE),
    "approved beside approved": lambda: make_program((APPROVED, APPROVED), BESIDE),
    "semantic beside semantic": lambda: make_program((SEMANTIC, SEMANTIC), BESIDE),
    "fenced, then plain": lambda: make_program((FENCED, PLAIN)),
    "read, plain, pivot, retriable": lambda: make_program((READ_ONLY, PLAIN, PIVOT, RETRIABLE)),
    "approved beside a pivot": lambda: make_program((APPROVED, PIVOT), BESIDE),
    "timed beside approved": lambda: make_program((TIMED, APPROVED), BESIDE, deadline_s=60.0),
    "open chain": lambda: make_program((PLAIN, PLAIN), is_open=True),
}


def seen(found: Verification) -> dict[str, Any]:
    """Return what a search saw, as JSON."""
    told = found.as_json()
    names = ("verdict", "configurations", "transitions", "depth", "by_person_only", "ends")
    return {name: told[name] for name in names} | {
        "questions": [
            f"{q['step_id']} {q['status']}: {q['why']}? {', '.join(q['answers'])}"
            for q in told["questions"]
        ]
    }


def words(program: Program) -> list[str]:
    """Return all that can happen somewhere: by whom, what it is at the tool, what follows."""
    space = Space(program, reduction=Reduction.NONE)
    todo = [space.initial()]
    seen_already = set(todo)
    said: set[str] = set()
    while todo:
        config = todo.pop()
        for made, after in space.successors(config):
            saga = space.node(after).saga
            end = f"{saga.state} {saga.steps[0].status}"
            said.add(f"{made.what if isinstance(made, Late) else _said(made.move)} -> {end}")
            if after not in seen_already:
                seen_already.add(after)
                todo.append(after)
    return sorted(said)


def _said(move: Move) -> str:
    parts = [f"{move.way.value}: {move.what}"]
    parts += [str(act.name) for act in (move.act, move.forgets) if act is not None]
    parts += [] if move.replies is None else [f"answers {move.replies}"]
    parts += [name for name in ("closing", "accepts", "may_be_refused") if getattr(move, name)]
    return ", ".join(parts)


def search(name: str) -> dict[str, Any]:
    """Search the program of this name, with a network that makes copies too."""
    program = PROGRAMS[name]()
    with_doubles = verify_program(program, has_doubles=True)
    found = seen(verify_program(program)) | {
        "with doubles": [with_doubles.configurations, with_doubles.transitions]
    }
    if len(program.steps) == 1:
        found["moves"] = words(program)
    return found


def main() -> int:
    """Write down what is seen now."""
    found = {name: search(name) for name in PROGRAMS}
    lines = (f"{json.dumps(name)}: {json.dumps(each)}" for name, each in found.items())
    RECORDED.write_text("{" + ",\n".join(lines) + "}\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
