"""Debian packages, unpacked into a folder instead of installed: no root, nothing is started.

apt gets lists and a cache of its own, so the machine's stay as they are. Which mirror to ask is
read from the machine's own configuration.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
APT_S_MAX = 300.0
OUTPUT_SHOWN = 600


class PackagesError(Exception):
    """Packages could not be had; the message says why."""


class Packages:
    """The packages of one release.

    Args:
        work: A folder of its own for lists, cache and downloads.
        suite: The release, for example ``sid``; None for the machine's own.
    """

    def __init__(self, work: Path, suite: str | None = None) -> None:
        self._work = work
        self._options = [
            *("-o", f"Dir::State::lists={work / 'lists'}"),
            *("-o", f"Dir::Cache={work / 'cache'}"),
            *("-o", "APT::Sandbox::User="),
            *("-o", "Acquire::Languages=none"),
            *("-o", "Acquire::Retries=2"),
        ]
        for folder in ("lists/partial", "cache/archives/partial", "debs"):
            (work / folder).mkdir(parents=True, exist_ok=True)
        if suite is not None:
            source = work / "sources.list"
            source.write_text(_source_of(suite), encoding="utf-8")
            self._options += [
                *("-o", f"Dir::Etc::sourcelist={source}"),
                *("-o", "Dir::Etc::sourceparts=-"),
            ]

    def update(self) -> None:
        """Fetch the lists of the release.

        Raises:
            PackagesError: They cannot be had.
        """
        _run(["apt-get", *self._options, "-qq", "update"], self._work)

    def version(self, package: str) -> str | None:
        """Return the version that the release has, without epoch and revision, or None."""
        shown = _run(
            ["apt-cache", *self._options, "show", "--no-all-versions", package],
            self._work,
            may_fail=True,
        )
        found = re.search(r"^Version: (?:\d+:)?([^-\s]+)", shown, re.MULTILINE)
        return None if found is None else found[1]

    def unpack(self, packages: list[str], into: Path) -> None:
        """Unpack the packages, and each library of theirs that the machine has not.

        Raises:
            PackagesError: They cannot be had or unpacked.
        """
        debs = self._work / "debs"
        waiting, seen = list(packages), set(packages)
        while waiting:
            package = waiting.pop()
            before = set(debs.iterdir())
            _run(["apt-get", *self._options, "-qq", "download", package], debs)
            for deb in set(debs.iterdir()) - before:
                _run(["dpkg-deb", "--extract", str(deb), str(into)], debs)
                for library in _libraries_of(deb) - seen:
                    seen.add(library)
                    if not _is_installed(library):
                        waiting.append(library)


def _source_of(suite: str) -> str:
    listed = _run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages"],
        Path.cwd(),
    )
    for line in listed.splitlines():
        site, _, release = line.partition(" ")
        if release and "-" not in release:  # neither -security nor -updates: the main archive
            signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
            return f"deb {signed}{site} {suite} main\n"
    raise PackagesError("apt-get is configured with no archive of packages")


def _libraries_of(deb: Path) -> set[str]:
    depends = _run(["dpkg-deb", "--field", str(deb), "Pre-Depends", "Depends"], deb.parent)
    names = re.findall(r"(?:^|[,:])\s*([a-z0-9][a-z0-9.+-]*)", depends, re.MULTILINE)
    return {name for name in names if name.startswith("lib")}


def _is_installed(package: str) -> bool:
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}\n", package]
    return "installed" in _run(query, Path.cwd(), may_fail=True).split()


def _run(command: list[str], where: Path, *, may_fail: bool = False) -> str:
    program = shutil.which(command[0])
    if program is None:
        raise PackagesError(f"this system has no {command[0]!r}")
    try:
        done = subprocess.run(  # noqa: S603  # commands of this file, with names of this file
            [program, *command[1:]],
            cwd=where,
            env=os.environ | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=APT_S_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PackagesError(f"{command[0]!r} took longer than {APT_S_MAX:g} s") from error
    if done.returncode and not may_fail:
        said = (done.stderr or done.stdout).strip()[-OUTPUT_SHOWN:]
        raise PackagesError(f"'{command[0]} ... {command[-1]}' failed: {said}")
    return done.stdout
