"""Every story in this folder gives the answers that stand in it.

After a change of behaviour: ``pytest tests/scenarios --rewrite``, and read the diff.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.stories import read_story
from tests.support.telling import tell

STORIES = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_the_story_goes_as_it_is_told(path: Path, is_rewriting: bool) -> None:
    told = tell(read_story(path.read_text(encoding="utf-8")), path.stem)
    if is_rewriting:
        path.write_text(told, encoding="utf-8")
    assert told == path.read_text(encoding="utf-8")


def test_there_are_stories() -> None:
    assert len(STORIES) >= 25
