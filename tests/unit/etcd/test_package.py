"""What the package imports, and from where it can be used."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[3] / "fsm_saga" / "etcd"

# What runs on any transport: a store imports these without gRPC or protobuf.
FREE_OF_GRPC = [
    "batch",
    "clock",
    "data",
    "election",
    "errors",
    "footprint",
    "paging",
    "session",
    "transport",
    "watch",
]


def imports_of(module: str) -> set[str]:
    """Return what a module of the package imports, and what those import in their turn."""
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
            if node.module == "fsm_saga.etcd":
                found |= {f"fsm_saga.etcd.{alias.name}" for alias in node.names}
    return found


def test_nothing_of_fsm_saga_is_imported_but_its_errors() -> None:
    for path in PACKAGE.glob("*.py"):
        ours = {name for name in imports_of(path.stem) if name.startswith("fsm_saga")}
        strangers = {name for name in ours if not name.startswith("fsm_saga.etcd")}
        assert strangers <= {"fsm_saga.errors"}, path.name


def test_the_upper_layers_need_neither_grpc_nor_protobuf() -> None:
    for module in FREE_OF_GRPC:
        for name in imports_of(module):
            assert not name.startswith(("grpc", "google")), f"{module} imports {name}"
            if name.startswith("fsm_saga.etcd."):
                assert name.removeprefix("fsm_saga.etcd.") in FREE_OF_GRPC, f"{module}: {name}"
