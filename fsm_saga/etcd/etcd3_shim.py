"""Makes the ``etcd3`` package import with a current protobuf.

``etcd3`` 0.12.0, the last release, brings generated code that protobuf 4 and newer refuse. Nothing
else in it is at fault: all its own code uses ``etcd3.etcdrpc`` and nothing below. So that one
module is put in place beforehand, with the same messages and stubs out of our own table.
"""

from __future__ import annotations

import importlib
import sys
from collections import defaultdict
from types import ModuleType
from typing import Any

from fsm_saga.etcd import messages as pb
from fsm_saga.etcd.callables import open_callable
from fsm_saga.etcd.schema import Method, enums, messages, methods


def import_etcd3() -> Any:
    """Return the ``etcd3`` package, whatever version of protobuf there is.

    What was imported before stays as it is. When a first import without this has failed, what it
    left behind is removed.

    Raises:
        ModuleNotFoundError: The package is not installed; the extra ``etcd3`` has it.
    """
    present = sys.modules.get("etcd3")
    if present is not None and hasattr(present, "Etcd3Client"):
        return present
    for name in [name for name in sys.modules if name == "etcd3" or name.startswith("etcd3.")]:
        del sys.modules[name]
    sys.modules["etcd3.etcdrpc"] = _etcdrpc()
    try:
        return importlib.import_module("etcd3")
    except ModuleNotFoundError:
        del sys.modules["etcd3.etcdrpc"]
        raise


def _etcdrpc() -> ModuleType:
    module = ModuleType("etcd3.etcdrpc", "etcd's messages and stubs, as etcd3 expects them.")
    contents = vars(module)
    contents.update({name: getattr(pb, name) for name in messages()})
    for enum in enums():
        if "." not in enum.name:
            contents.update(enum.values)
    services: defaultdict[str, list[Method]] = defaultdict(list)
    for method in methods():
        services[method.service].append(method)
    contents.update({f"{name}Stub": _stub(name, calls) for name, calls in services.items()})
    return module


def _stub(service: str, calls: list[Method]) -> type:
    def __init__(self: Any, channel: Any) -> None:  # noqa: N807  # it becomes the class's own
        for call in calls:
            setattr(self, call.name, open_callable(channel, call))

    return type(f"{service}Stub", (), {"__init__": __init__})
