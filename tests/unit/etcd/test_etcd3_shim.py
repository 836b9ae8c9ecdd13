"""The module that takes the place of etcd3's generated code."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from fsm_saga.etcd import messages as pb
from fsm_saga.etcd.channel import EtcdOptions, Tls
from fsm_saga.etcd.etcd3_shim import import_etcd3
from fsm_saga.etcd.etcd3_transport import open_etcd3


@pytest.fixture(autouse=True)
def no_etcd3(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin as a process that never imported it, and end as it was."""
    kept = {name: module for name, module in sys.modules.items() if is_etcd3(name)}
    for name in kept:
        del sys.modules[name]
    yield
    for name in [name for name in sys.modules if is_etcd3(name)]:
        del sys.modules[name]
    sys.modules.update(kept)


def is_etcd3(name: str) -> bool:
    return name == "etcd3" or name.startswith("etcd3.")


class Channel:
    """Makes callables that tell what they are."""

    def __getattr__(self, shape: str) -> Any:
        def make(path: str, *, request_serializer: Any, response_deserializer: Any) -> Any:
            return shape, path, request_serializer, response_deserializer

        return make


def imported(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import an etcd3 that is nothing but what it uses; return its ``etcdrpc``."""

    def load(name: str) -> ModuleType:
        assert name == "etcd3"
        module = ModuleType("etcd3")
        module.etcdrpc = sys.modules["etcd3.etcdrpc"]  # type: ignore[attr-defined]  # as its own
        module.Etcd3Client = object  # type: ignore[attr-defined]  # what a whole import leaves
        sys.modules["etcd3"] = module
        return module

    monkeypatch.setattr(importlib, "import_module", load)
    etcdrpc = import_etcd3().etcdrpc
    assert isinstance(etcdrpc, ModuleType)
    return etcdrpc


def test_messages_enumerations_and_stubs_are_where_etcd3_looks_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    etcdrpc: Any = imported(monkeypatch)
    assert etcdrpc.RangeRequest is pb.RangeRequest
    assert etcdrpc.RangeRequest.DESCEND == 2
    assert etcdrpc.Compare.MOD == 2
    assert (etcdrpc.NONE, etcdrpc.NOSPACE) == (0, 1)
    stub = etcdrpc.KVStub(Channel())
    shape, path, serialize, parse = stub.Txn
    assert (shape, path) == ("unary_unary", "/etcdserverpb.KV/Txn")
    assert serialize(pb.TxnRequest()) == b""
    assert isinstance(parse(b""), pb.TxnResponse)
    assert etcdrpc.WatchStub(Channel()).Watch[0] == "stream_stream"
    assert etcdrpc.MaintenanceStub(Channel()).Snapshot[0] == "unary_stream"
    for name in ("Lease", "Cluster", "Auth"):
        assert hasattr(etcdrpc, f"{name}Stub")


def test_what_a_failed_import_left_behind_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    sys.modules["etcd3"] = ModuleType("etcd3")
    sys.modules["etcd3.etcdrpc"] = ModuleType("etcd3.etcdrpc")
    sys.modules["etcd3.exceptions"] = ModuleType("etcd3.exceptions")
    assert hasattr(imported(monkeypatch), "KVStub")
    assert "etcd3.exceptions" not in sys.modules


def test_an_etcd3_that_is_there_is_left_as_it_is() -> None:
    whole: Any = ModuleType("etcd3")
    whole.Etcd3Client = object
    sys.modules["etcd3"] = whole
    assert import_etcd3() is whole
    assert "etcd3.etcdrpc" not in sys.modules


def test_without_the_package_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> ModuleType:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ModuleNotFoundError):
        import_etcd3()
    assert "etcd3.etcdrpc" not in sys.modules


async def test_an_encrypted_connection_by_etcd3_needs_the_authority() -> None:
    options = EtcdOptions(endpoints=("a:1",), tls=Tls())
    with pytest.raises(ValueError, match="etcd3 needs the file of the authority"):
        await open_etcd3(options)
