"""The classes of etcd's messages; ``messages.pyi`` has their types.

The types are written by ``python -m fsm_saga.etcd.stubs``, a test compares.
"""

from __future__ import annotations

from google.protobuf import descriptor_pool, message_factory

from fsm_saga.etcd.schema import PACKAGE, file_descriptor, messages

# A pool of our own: in the default one, two packages that bring etcd's `rpc.proto` collide.
_pool = descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(file_descriptor().SerializeToString())

for _name in messages():
    globals()[_name] = message_factory.GetMessageClass(
        _pool.FindMessageTypeByName(f"{PACKAGE}.{_name}")
    )
