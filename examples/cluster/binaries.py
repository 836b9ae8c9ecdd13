"""Where the servers are: etcd and Redis, from the PATH or unpacked below ``build/servers``.

``python -m examples.cluster.binaries`` finds each one, unpacks what is missing and prints where it
is. Nothing is installed into the system, and no right is needed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from examples.cluster.packages import Packages, PackagesError

SERVERS = Path(__file__).resolve().parents[2] / "build" / "servers"
VERSION_S_MAX = 20.0
UNPACK_S_MAX = 900.0

Version = tuple[int, ...]


class ServerMissingError(Exception):
    """A server is not there and could not be had; the message says what to install."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """A server's program."""

    path: Path
    version: Version

    def __str__(self) -> str:
        return f"{self.path} ({'.'.join(map(str, self.version))})"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """One server: its programs, the oldest version that serves, and the packages that have it.

    Attributes:
        suites: Releases to look into, best first; None is the machine's own.
    """

    name: str
    programs: tuple[str, ...]
    oldest: Version
    packages: tuple[str, ...]
    suites: tuple[str | None, ...]


# 3.5.0 to 3.5.2 can lose what was committed when they are killed under load, and the 3.4 line is
# out of support.
_ETCD = _Kind(
    name="etcd",
    programs=("etcd",),
    oldest=(3, 5, 16),
    packages=("etcd-server",),
    suites=("sid", "forky", "trixie", None),
)
_REDIS = _Kind(
    name="redis",
    programs=("redis-server", "valkey-server"),
    oldest=(6, 2, 0),
    packages=("redis-server", "redis-tools"),
    suites=(None, "trixie", "sid"),
)


def etcd_binary() -> Binary:
    """Return an etcd of 3.5.16 or newer; it is unpacked first if there is none.

    Raises:
        ServerMissingError: There is none, and none could be had.
    """
    return _binary(_ETCD)


def redis_binary() -> Binary:
    """Return a Redis or Valkey server of 6.2 or newer; it is unpacked first if there is none.

    Raises:
        ServerMissingError: There is none, and none could be had.
    """
    return _binary(_REDIS)


def parse_version(text: str) -> Version:
    """Return the first version in a text.

    Example:
        >>> parse_version("etcd Version: 3.5.30")
        (3, 5, 30)
        >>> parse_version("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0")
        (7, 0, 15)
    """
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return () if found is None else tuple(int(part or 0) for part in found.groups())


def _binary(kind: _Kind) -> Binary:
    found = _found(kind)
    if found is not None:
        return found
    SERVERS.mkdir(parents=True, exist_ok=True)
    with FileLock(SERVERS / f"{kind.name}.lock", timeout=UNPACK_S_MAX):
        return _found(kind) or _unpacked(kind)


def _found(kind: _Kind) -> Binary | None:
    candidates = [shutil.which(program) for program in kind.programs]
    for path in [*candidates, SERVERS / kind.name / kind.name]:
        version = () if path is None else _version_of(Path(path))
        if path is not None and version >= kind.oldest:
            return Binary(path=Path(path), version=version)
    return None


def _version_of(path: Path) -> Version:
    try:
        said = subprocess.run(  # noqa: S603  # a server's program, asked for its version
            [path, "--version"], capture_output=True, text=True, timeout=VERSION_S_MAX, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return parse_version(said.stdout)


def _unpacked(kind: _Kind) -> Binary:
    reasons = []
    for suite in kind.suites:
        try:
            with tempfile.TemporaryDirectory(prefix="apt-", dir=SERVERS) as work:
                _unpack(kind, Packages(Path(work), suite))
        except PackagesError as error:
            reasons.append(f"{suite or 'its own release'}: {error}")
            continue
        found = _found(kind)
        if found is not None:
            return found
        reasons.append(f"{suite or 'its own release'}: what was unpacked does not run")
    oldest = ".".join(map(str, kind.oldest))
    raise ServerMissingError(
        f"There is no {kind.name} server of {oldest} or newer: none is on the PATH "
        f"({', '.join(kind.programs)}), and none could be unpacked from Debian's packages "
        f"({'; '.join(dict.fromkeys(reasons))}). Install {kind.name}, then run this again."
    )


def _unpack(kind: _Kind, packages: Packages) -> None:
    packages.update()
    version = packages.version(kind.packages[0])
    if version is None or parse_version(version) < kind.oldest:
        raise PackagesError(f"it has {kind.packages[0]} {version or 'not at all'}")
    home = SERVERS / kind.name
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    packages.unpack(list(kind.packages), home)
    _write_start(kind, home)


def _write_start(kind: _Kind, home: Path) -> None:
    """Write what starts the program with the libraries beside it, as the same process."""
    folders = sorted({str(path.parent.relative_to(home)) for path in home.rglob("lib*.so*")})
    script = home / kind.name
    # Relative to itself: a checkout may be moved.
    script.write_text(
        "#!/bin/sh\n"
        'here=$(cd "$(dirname "$0")" && pwd)\n'
        f"for folder in {' '.join(folders)}; do\n"
        '  LD_LIBRARY_PATH="$here/$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"\n'
        "done\n"
        "export LD_LIBRARY_PATH\n"
        f'exec "$here/usr/bin/{kind.programs[0]}" "$@"\n',
        encoding="utf-8",
    )
    script.chmod(0o755)


def main(names: list[str]) -> int:
    """Print where each server is; return 1 if one is missing."""
    finders: dict[str, Callable[[], Binary]] = {"etcd": etcd_binary, "redis": redis_binary}
    missing = 0
    for name in names or finders:
        try:
            print(f"{name}: {finders[name]()}")
        except ServerMissingError as error:
            print(f"MISSING ON THIS SYSTEM: {error}", file=sys.stderr)
            missing += 1
    return min(missing, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
