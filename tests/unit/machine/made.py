"""What the search lets happen: ``python -m tests.unit.machine.made`` writes it down.

Each line is one kind of move: what a reader is told, who makes it, what happens at the tool, what
the engine is told, and what time has changed before. A move that is left out, or that tells the
engine something else, leaves every verdict as it was; so a change of a line is looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from fsm_saga.core.program import Program
from fsm_saga.core.saga import Saga
from fsm_saga.machine.canonical import Reduction
from fsm_saga.machine.explore import Space
from fsm_saga.machine.moves import Move
from tests.unit.machine.searches import PROGRAMS

RECORDED = Path(__file__).with_name("made.txt")
# Beside single steps: timers that fire together, and what a plan that may grow adds.
MORE = ("timed beside approved", "open chain")


def lines(name: str) -> list[str]:
    """Return the kinds of moves that the program of this name knows, in order."""
    program = PROGRAMS[name]()
    return sorted(set(_lines(program)))


def _lines(program: Program) -> Iterator[str]:
    space = Space(program, reduction=Reduction.NONE)
    todo = [space.initial()]
    seen = set(todo)
    told: set[int] = set()
    while todo:
        config = todo.pop()
        node = space.node(config)
        if node.number not in told:
            told.add(node.number)
            yield from (_line(node.saga, arc.move) for arc in space.arcs_of(node))
        for _made, after in space.successors(config):
            if after not in seen:
                seen.add(after)
                todo.append(after)


def _line(before: Saga, move: Move) -> str:
    parts = [f"{move.what} [{move.way.value}]"]
    if move.step >= 0:
        parts.append(f"step {move.step} {before.steps[move.step].status}")
    said: dict[str, Any] = {
        "act": move.act and move.act.name,
        "forgets": move.forgets and move.forgets.name,
        "answers": move.replies,
        "closes": move.closing,
    }
    parts += [f"{key} {value}" for key, value in said.items() if value not in (None, ())]
    parts += [name for name in ("accepts", "may_be_refused") if getattr(move, name)]
    parts += _changes(before, move.saga)
    parts.append(_event(move))
    return ", ".join(parts)


def _changes(before: Saga, after: Saga) -> Iterator[str]:
    """Yield what time has changed before the engine is told."""
    if after.deadline_at != before.deadline_at:
        yield f"the deadline is {after.deadline_at:g}"
    for index, (old, new) in enumerate(zip(before.steps, after.steps, strict=True)):
        pairs = [(old, new)] if old.undo is None else [(old, new), (old.undo, new.undo)]
        for was, now in pairs:
            for field in was.__struct_fields__:
                value = getattr(now, field)
                if field != "undo" and getattr(was, field) != value:
                    yield f"{field} of {index} is {value:g}"


def _event(move: Move) -> str:
    if move.event is None:
        return "the engine hears nothing"
    told = {
        field: getattr(move.event, field)
        for field in move.event.__struct_fields__
        if field not in ("step", "program")
    }
    return f"{type(move.event).__name__} {msgspec.json.encode(told, order='sorted').decode()}"


def names() -> list[str]:
    """Return the programs whose moves are written down."""
    return [name for name in PROGRAMS if name in MORE or " beside " not in name]


def recorded() -> dict[str, list[str]]:
    """Return what was written down, by the name of the program."""
    found: dict[str, list[str]] = {name: [] for name in names()}
    for part in RECORDED.read_text("utf-8").split("\n\n"):
        line, known = part.strip().split("\n  in ")
        for name in _named(known):
            found[name].append(line)
    return found


def _known(held: list[str]) -> str:
    """Return where a line holds, as it is written: ``_named`` reads it."""
    rest = [name for name in names() if name not in held]
    if len(rest) < len(held):
        return "; ".join(["all", *(f"not {name}" for name in rest)])
    return "; ".join(held)


def _named(known: str) -> list[str]:
    parts = known.split("; ")
    if parts[0] == "all":
        return [name for name in names() if f"not {name}" not in parts]
    return parts


def main() -> int:
    """Write down what can be made now, and in which programs."""
    held: dict[str, list[str]] = {}
    for name in names():
        for line in lines(name):
            held.setdefault(line, []).append(name)
    parts = [f"{line}\n  in {_known(held[line])}\n" for line in sorted(held)]
    RECORDED.write_text("\n".join(parts), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
