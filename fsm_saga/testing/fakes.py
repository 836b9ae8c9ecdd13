"""Played tools as a test sees them: they do what the contract says until the script says else."""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from fsm_saga.testing.blame import told_at_the_test


class Deed(enum.Enum):
    """What is made of one call."""

    REJECTS = "rejects"
    FAILS = "fails"
    LOSES_REQUEST = "loses_request"
    LOSES_REPLY = "loses_reply"
    HANGS = "hangs"
    ANSWERS_BADLY = "answers_badly"
    CRASHES = "crashes"
    CRASHES_BEFORE = "crashes_before"
    LATE = "late_by"
    DUPLICATE = "arrives_twice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """What happens to the next calls; ``times`` is None for all that come."""

    deed: Deed
    times: int | None
    text: str = ""
    seconds: float = 0.0


class FakeTool:
    """A played tool. Each method says what happens to its next calls, and they can be chained.

    What was said first happens first; ``times`` says to how many calls, None to all from then on.
    After that the tool works as it declares, and so it does from the start if nothing was said:
    it answers a repeated ``req_id`` with its first result, remembers refusals, refuses what it
    has fenced, all of it only as far as its contract promises that.

    Example:
        >>> FakeTool("pay").loses_reply().rejects("no money")
        <fake tool 'pay': loses_reply x1, rejects>
    """

    def __init__(self, name: str, check: Callable[[Any], Any] | None = None) -> None:
        self.name = name
        self.output: Any = None
        self.has_output = False
        self.script: list[Scripted] = []
        self._check = check

    def __repr__(self) -> str:
        said = ", ".join(
            each.deed.value + ("" if each.times is None else f" x{each.times}")
            for each in self.script
        )
        return f"<fake tool {self.name!r}: {said or 'works'}>"

    @told_at_the_test
    def returns(self, output: Any) -> FakeTool:
        """Return this whenever it works; a real tool's declared type is held against it.

        Raises:
            ToolsError: If the real tool could not return this.
        """
        self.output = output if self._check is None else self._check(output)
        self.has_output = True
        return self

    def rejects(self, message: str = "refused", *, times: int | None = None) -> FakeTool:
        """Refuse: certainly nothing was done."""
        return self._then(Deed.REJECTS, times, text=message)

    def fails(self, message: str = "broken", *, times: int | None = 1) -> FakeTool:
        """Fail without a word of whether something was done; nothing was."""
        return self._then(Deed.FAILS, times, text=message)

    def loses_request(self, times: int | None = 1) -> FakeTool:
        """Never get the call."""
        return self._then(Deed.LOSES_REQUEST, times)

    def loses_reply(self, times: int | None = 1) -> FakeTool:
        """Act, and the answer is lost."""
        return self._then(Deed.LOSES_REPLY, times)

    def hangs(self, times: int | None = None) -> FakeTool:
        """Get the call, do nothing, and never answer."""
        return self._then(Deed.HANGS, times)

    def answers_badly(self, message: str = "not JSON", *, times: int | None = None) -> FakeTool:
        """Act, and return what cannot be read."""
        return self._then(Deed.ANSWERS_BADLY, times, text=message)

    def crashes(self, times: int | None = 1, *, before: bool = False) -> FakeTool:
        """Have the coordinator killed during the call, and another take its place.

        The tool acts, and nobody hears of it; with ``before`` the call has not left yet.
        """
        return self._then(Deed.CRASHES_BEFORE if before else Deed.CRASHES, times)

    def late_by(self, seconds: float, times: int | None = 1) -> FakeTool:
        """Get the call so much later; its sender may have given up by then."""
        return self._then(Deed.LATE, times, seconds=seconds)

    def arrives_twice(self, times: int | None = 1) -> FakeTool:
        """Get the call twice."""
        return self._then(Deed.DUPLICATE, times)

    def works(self) -> FakeTool:
        """Forget what was said of its calls, but for what it returns."""
        self.script.clear()
        return self

    def _then(
        self, deed: Deed, times: int | None, *, text: str = "", seconds: float = 0.0
    ) -> FakeTool:
        self.script.append(Scripted(deed=deed, times=times, text=text, seconds=seconds))
        return self


# What kills the coordinator does so once: the same call, sent again, finds the next deed.
_DEADLY = frozenset({Deed.CRASHES, Deed.CRASHES_BEFORE})


class Scripts:
    """What is left of all scripts in one run.

    Args:
        fakes: Who has a script, by tool and step.
        is_by_attempt: A call that is sent again because its sender died counts once, and what
            happened to it happens to it again. Otherwise each message counts.
    """

    def __init__(
        self, fakes: dict[tuple[str, str | None], FakeTool], *, is_by_attempt: bool = False
    ) -> None:
        self._fakes = fakes
        self._left = {
            key: [(each, each.times) for each in fake.script] for key, fake in fakes.items()
        }
        self._drawn: dict[Hashable, Scripted | None] | None = {} if is_by_attempt else None

    def next(self, tool: str, step: str, *, attempt: Hashable) -> Scripted | None:
        """Return what happens to this call of the tool, and count it; None if it works.

        Args:
            tool: The tool.
            step: The step_id.
            attempt: What this attempt of this call alone has, however often it is sent.
        """
        if self._drawn is None:
            return self._draw(tool, step)
        if attempt in self._drawn:
            return self._drawn[attempt]
        found = self._draw(tool, step)
        if found is None or found.deed not in _DEADLY:
            self._drawn[attempt] = found
        return found

    def _draw(self, tool: str, step: str) -> Scripted | None:
        for key in ((tool, step), (tool, None)):
            left = self._left.get(key)
            while left:
                scripted, times = left[0]
                if times is None:
                    return scripted
                left[0] = (scripted, times - 1)
                if times > 0:
                    return scripted
                left.pop(0)
        return None

    def output(self, tool: str, step: str) -> tuple[bool, Any]:
        """Return whether it was said what the tool returns for the step, and what."""
        for key in ((tool, step), (tool, None)):
            fake = self._fakes.get(key)
            if fake is not None and fake.has_output:
                return True, fake.output
        return False, None
