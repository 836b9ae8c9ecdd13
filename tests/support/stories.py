"""Stories: text files in which commands to an engine stand between sentences.

    Words are kept as they are.

    > plan trip
    | 1 book_flight / cancel_flight id=$output.step_1.id
    > run
        DONE, committed
          1 book_flight  SUCCEEDED

A line that begins with ``>`` is a command, ``|`` its input; what is indented by four spaces is
what the command answers. A story passes if telling it again gives the same text.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_INDENT = "    "


@dataclass(slots=True)
class Command:
    """One command with its input; ``words`` are the lines of prose before it."""

    text: str
    words: list[str] = field(default_factory=list)
    given: list[str] = field(default_factory=list)

    def lines(self, answer: list[str]) -> list[str]:
        """Return the command as it stands in a story, with this answer."""
        said = [f"{_INDENT}{line}".rstrip() for line in answer]
        return [*self.words, f"> {self.text}", *(f"| {line}" for line in self.given), *said]


@dataclass(slots=True)
class Story:
    """The commands of a story, and the words after the last of them."""

    commands: list[Command]
    end: list[str]


def read_story(text: str) -> Story:
    """Return the story in a text; the answers in it are skipped."""
    commands: list[Command] = []
    words: list[str] = []
    for line in text.splitlines():
        if line.startswith("> "):
            commands.append(Command(line[2:].strip(), words))
            words = []
        elif line.startswith("|"):
            commands[-1].given.append(line[1:].removeprefix(" ").rstrip())
        elif not line.startswith(_INDENT):
            words.append(line)
    return Story(commands, words)
