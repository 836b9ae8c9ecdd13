"""What a planted bug is: a name, what is wrong, and the patch that makes it so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """One way of being wrong.

    Attributes:
        name: A few words, the same for ever.
        where: ``engine``, ``store``, ``tools`` or ``node``: whose promise is broken.
        plant: Makes it so, for as long as the patch lasts.
        codes: The checks of which at least one has to notice.
        is_cluster: It is looked for in runs of nodes that share shards.
    """

    name: str
    where: str
    plant: Plant
    codes: frozenset[str]
    is_cluster: bool = False

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Have the bug for a while."""
        with pytest.MonkeyPatch.context() as patch:
            self.plant(patch)
            yield


def bugs(
    where: str, plants: Mapping[str, tuple[str, Plant]], *, is_cluster: bool = False
) -> tuple[Bug, ...]:
    """Return the bugs of a table: name -> codes with blanks between, plant."""
    return tuple(
        Bug(
            name=name,
            where=where,
            plant=plant,
            codes=frozenset(codes.split()),
            is_cluster=is_cluster,
        )
        for name, (codes, plant) in plants.items()
    )
