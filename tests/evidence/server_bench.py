"""``python -m tests.evidence.server_bench``: start an etcd, measure a store in it, and print that.

What is measured is ``fsm-saga bench --json`` with the etcd of this machine as its store: one
member, its data in the folder for temporary files.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.servers.etcd import EtcdServer

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what the measurement says; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.evidence.server_bench")
    parser.add_argument("--quick", action="store_true", help="Measure less.")
    parser.add_argument("--repeats", type=int, default=3, metavar="N")
    asked = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="fsm-saga-etcd-") as folder,
        EtcdServer(Path(folder)) as server,
    ):
        url = f"etcd://{server.address}/bench"
        given = ["bench", "--json", "--repeats", str(asked.repeats), "--store", url]
        command = [sys.executable, "-m", "fsm_saga", *given, *(["--quick"] if asked.quick else [])]
        return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
