"""Which client talks to etcd."""

from __future__ import annotations

from importlib import import_module

from fsm_saga.errors import StoreError
from fsm_saga.etcd.channel import EtcdOptions, Tls
from fsm_saga.etcd.client import EtcdClient
from fsm_saga.etcd.errors import EtcdError
from fsm_saga.etcd.transport import EtcdTransport
from fsm_saga.stores.etcd_refusals import cannot_open
from fsm_saga.stores.etcd_url import EtcdUrl

TRY_TIMEOUT_S = 1.0
BUDGET_S = 5.0


async def open_transport(url: EtcdUrl) -> EtcdTransport:
    """Return the client that the URL asks for.

    Raises:
        StoreError: It is not installed, or cannot do what the URL asks for.
    """
    options = EtcdOptions(
        endpoints=url.endpoints,
        tls=Tls(ca=url.ca, cert=url.cert, key=url.key) if url.is_tls else None,
        user=url.user,
        password=url.password,
        try_timeout_s=TRY_TIMEOUT_S,
        budget_s=BUDGET_S,
    )
    if url.transport == "grpc":
        return EtcdClient(options)
    try:
        module = import_module("fsm_saga.etcd.etcd3_transport")
        transport: EtcdTransport = await module.open_etcd3(options)
    except ModuleNotFoundError as error:
        raise StoreError(
            f"Store {url.shown!r} was not opened: the package {error.name!r} is not installed. "
            "Install fsm-saga[etcd3], or leave transport=etcd3 away."
        ) from error
    except ValueError as error:
        raise StoreError(f"Store {url.shown!r} was not opened: {error}") from error
    except EtcdError as error:
        raise cannot_open(url.shown, error) from error
    return transport
