"""Nothing in the checkout tells where it was made, and nothing in the package is unfinished.

The forbidden strings are put together from pieces, so that this file does not hold them itself.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

REGISTRY_HOSTS = (
    "pypi" + ".org",
    "pypi" + ".python.org",
    "pythonhosted" + ".org",
    "registry.npmjs" + ".org",
    "deb.debian" + ".org",
    "proxy.golang" + ".org",
)
# A path counts where it begins: "https://host/work/x" is an address, not a path.
MACHINE_PATH = re.compile(
    r"(?<![\w.:/-])(?:"
    r"/(?:work|root|farm)/[\w.]"
    r"|/(?:home|Users)/\w+/[\w.]"
    r"|/tmp/\w{3,}/"
    r"|[A-Za-z]:\\+Users\\+\w"
    r")"
)
UNFINISHED = re.compile(r"\b(?:NotImplementedError|" + "TO" + "DO|FIX" + "ME|X" + r"XX)\b")


def files_of_the_checkout() -> list[Path]:
    """Return what git tracks or would add; without git, as in an unpacked sdist, every file."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        hidden = {path for path in ROOT.iterdir() if path.name.startswith(".")}
        paths = [path for path in ROOT.rglob("*") if not hidden.intersection(path.parents)]
    else:
        paths = [ROOT / name for name in listed.split("\0") if name]
    files = [path for path in paths if path.is_file() and "__pycache__" not in path.parts]
    assert len(files) > 10, f"only {len(files)} files below {ROOT}: this test looks at nothing"
    return files


def leaks(text: str) -> Iterator[str]:
    """Yield each forbidden thing in the text, with its line number."""
    for number, line in enumerate(text.splitlines(), start=1):
        for host in REGISTRY_HOSTS:
            if host in line:
                yield f"line {number}: registry host {host}"
        path = MACHINE_PATH.search(line)
        if path:
            yield f"line {number}: machine path {line[path.start() : path.start() + 40]!r}"


def test_no_file_holds_a_path_of_a_machine_or_the_host_of_a_registry() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {leak}"
        for path in files_of_the_checkout()
        for leak in leaks(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert not found, "\n".join(found)


def test_nothing_in_the_package_is_left_unfinished() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sorted((ROOT / "fsm_saga").rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if UNFINISHED.search(line)
    ]
    assert not found, "finish these, or write an issue instead:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://" + REGISTRY_HOSTS[0] + "/simple",
        'STORE = "/' + 'root/trips.db"',
        "see /" + "home/someone/notes",
        "C:" + r"\Users\someone",
    ],
)
def test_a_planted_leak_is_found(line: str) -> None:
    assert list(leaks(line))


@pytest.mark.parametrize(
    "line", ["https://example.com/work/x", "/roots/1", "a/home/b/c", "see /tmp/x"]
)
def test_a_harmless_line_is_not_taken_for_a_leak(line: str) -> None:
    assert not list(leaks(line))
