"""Where a picture goes: a file that may be replaced, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

from fsm_saga.errors import DrawingError


def picture_file(output: str | Path) -> Path:
    """Return the file that a picture is written to; where a link is named, what it leads to.

    A picture is written beside its file and then takes the file's place. A device or a pipe would
    be gone then, and so would a link.

    Raises:
        DrawingError: If no file can be called so, or something else is there than a file.
    """
    output = str(output)
    # Unlike a path's own methods, these take a name of any length or content.
    if not Path(output).name or "\0" in output:
        why = "no file can be called so"
    elif os.path.isdir(output):
        why = "it is a folder"
    elif os.path.exists(output) and not os.path.isfile(output):
        why = "it is a device or a pipe, and no file"
    elif os.path.islink(os.path.realpath(output)):
        why = "it is a link that leads back to itself"
    else:
        return Path(os.path.realpath(output) if os.path.islink(output) else output)
    raise DrawingError(
        f"The picture was not written to {output!r}: {why}. Nothing was changed; name a file."
    )
