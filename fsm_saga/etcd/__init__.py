"""A thin client of etcd v3 on ``grpc.aio``, of use without the rest of fsm_saga.

Here belongs what talks to etcd and what every user of etcd needs: failover, watches that resume,
leases with a local end, an election with a fencing number, group commit. What is stored, and
under which keys, is the store's business. It needs the extra ``etcd``.

Read ``data.py`` (what is asked and answered) and ``transport.py`` (the ``EtcdTransport`` protocol)
first; neither imports gRPC or protobuf. ``client.py`` is the transport of this package;
``etcd3_transport.py`` is the same over the ``etcd3`` package. ``watch.py``, ``session.py``,
``election.py`` and ``batch.py`` run on any transport.
"""

from __future__ import annotations

import os

# gRPC writes about connections that fail to stderr by itself; what it has to say is in our errors.
# It looks at this when it is first imported, and whoever has set it is obeyed.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
