"""A person at a terminal: types commands into a folder of their own and reads what comes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fsm_saga.cli.app import main

TOOLS = '''
"""What the tests of the command line call."""

from fsm_saga import CallContext, OutcomeUnknown, tool

CALLS = []


@tool(undo="give_back", dedupe=True, sticky_failures=True)
def take(what: str, ctx: CallContext) -> dict:
    """Take something."""
    CALLS.append((ctx.direction, what))
    if what == "nothing":
        raise ValueError("there is nothing to take")
    if what == "doubt":
        raise OutcomeUnknown("the line went dead")
    return {"id": "id-" + what}


@tool(dedupe=True, sticky_failures=True)
def give_back(id: str, ctx: CallContext) -> None:
    """Give it back."""
    CALLS.append((ctx.direction, id))
    if id == "id-glue":
        raise ValueError("it sticks")
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, which has to be one JSON document."""
        return json.loads(self.out)


class Desk:
    """A folder with tools, plans and a store, and the command line."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.store = f"sqlite:///{folder / 'sagas.db'}"
        self.tools = str(folder / "tools.py")
        self._capture = capture
        (folder / "tools.py").write_text(TOOLS, encoding="utf-8")

    def type(self, *words: str) -> Ended:
        """Return how the command ended."""
        self._capture.readouterr()
        code = main(words)
        printed = self._capture.readouterr()
        return Ended(code=code, out=printed.out, err=printed.err)

    def on_store(self, *words: str, has_tools: bool = False) -> Ended:
        """Return how a command on this desk's store ended."""
        tools = ("--tools", self.tools) if has_tools else ()
        return self.type(*words, "--store", self.store, *tools)

    def plan(self, *things: str, name: str = "trip", **options: Any) -> str:
        """Write a plan that takes these things one after the other; return its path."""
        steps = [
            {
                "step_id": number,
                "name": f"take {thing}",
                "tool": "take",
                "params": {"what": thing},
                "rollback": {
                    "tool": "give_back",
                    "params": {"id": f"$output.step_{number}.id"},
                },
                "retry": {"attempts": 2, "delay_s": 0.001},
            }
            for number, thing in enumerate(things, start=1)
        ]
        for key, value in options.items():
            for step in steps:
                step[key] = value
        return self.write(f"{name}.json", {"task_id": name, "steps": steps})

    def write(self, name: str, value: Any) -> str:
        """Write JSON, or a text as it is, to a file and return its path."""
        path = self.folder / name
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        path.write_text(text, encoding="utf-8")
        return str(path)

    def run(self, *things: str, name: str = "trip", **options: Any) -> Ended:
        """Run a plan that takes these things, and return how that ended."""
        return self.on_store("run", self.plan(*things, name=name, **options), has_tools=True)

    def show(self, saga_id: str = "trip") -> Any:
        """Return the saga as ``show --json`` prints it."""
        return self.on_store("show", saga_id, "--json").json


def statuses(saga: Any) -> list[str]:
    """Return the statuses of a saga's steps in the plan's order."""
    return [step["status"] for step in saga["steps"]]
