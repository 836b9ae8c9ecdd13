"""Types commands in processes of their own that start fast: forks of one that has imported all.

A command sees a fresh process with its own environment and standard streams, as a shell gives
it; only the imports, which take most of the time of a short command, are done once.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
CAN_FORK = hasattr(os, "fork")


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """How a command ended and what it printed."""

    returncode: int
    stdout: str
    stderr: str


class Typist:
    """The client: a server process that forks one process for each command."""

    def __enter__(self) -> Self:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.typist"],
            cwd=ROOT,
            env=os.environ | {"PYTHONUTF8": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for stream in (self._server.stdin, self._server.stdout):
            assert stream is not None
            stream.close()
        try:
            self._server.wait(10)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()

    def type(self, *words: str, env: Mapping[str, str], cwd: Path = ROOT) -> Typed:
        """Return how ``fsm-saga WORDS`` ended."""
        stdin, stdout = self._server.stdin, self._server.stdout
        assert stdin is not None
        assert stdout is not None
        order = {"words": words, "env": dict(env), "cwd": str(cwd)}
        stdin.write(json.dumps(order) + "\n")
        stdin.flush()
        answer = stdout.readline()
        assert answer, "the server has ended"
        return Typed(**json.loads(answer))


def main() -> None:
    """Serve until the input ends."""
    _import_everything()
    gc.freeze()  # a child that collects would copy every page that it looks at
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_carry_out(json.loads(line))) + "\n")
        sys.stdout.flush()


def _import_everything() -> None:
    # Here, not at the top: the client has no use for it.
    from fsm_saga.cli.app import COMMANDS  # noqa: PLC0415
    from fsm_saga.cli.commands import load_command  # noqa: PLC0415

    for listed in COMMANDS:
        load_command(listed)


def _carry_out(order: Mapping[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if not pid:
            _be_the_command(order, out.fileno(), err.fileno())
        _pid, status = os.waitpid(pid, 0)
        return {
            "returncode": os.waitstatus_to_exitcode(status),
            "stdout": _text(out),
            "stderr": _text(err),
        }


def _text(file: Any) -> str:
    file.seek(0)
    text: str = file.read().decode()
    return text


def _be_the_command(order: Mapping[str, Any], out: int, err: int) -> None:
    """Run the command and end the process; nothing may return into the server's loop."""
    code = 70
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, descriptor in enumerate((nothing, out, err)):
            os.dup2(descriptor, number)
        os.chdir(order["cwd"])
        os.environ.update(order["env"])
        code = _run(order["words"])
    except BaseException:  # noqa: BLE001  # see above
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _run(words: Sequence[str]) -> int:
    from fsm_saga.cli.app import main as cli  # noqa: PLC0415  # imported long ago

    return cli(words)


if __name__ == "__main__":
    main()
