"""Which client talks to etcd."""

from __future__ import annotations

from fsm_saga.etcd.channel import EtcdOptions, Tls
from fsm_saga.etcd.client import EtcdClient
from fsm_saga.etcd.transport import EtcdTransport
from fsm_saga.stores.etcd_url import EtcdUrl

TRY_TIMEOUT_S = 1.0
BUDGET_S = 5.0


def open_transport(url: EtcdUrl) -> EtcdTransport:
    """Return the client that the URL asks for; it connects when it is first used."""
    tls = Tls(ca=url.ca, cert=url.cert, key=url.key) if url.is_tls else None
    options = EtcdOptions(
        endpoints=url.endpoints,
        tls=tls,
        user=url.user,
        password=url.password,
        try_timeout_s=TRY_TIMEOUT_S,
        budget_s=BUDGET_S,
    )
    return EtcdClient(options)
