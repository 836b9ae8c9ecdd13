"""The space quota of etcd's members, and whether a store can live with it.

Members tell it in their status from 3.6 on, and all of them among the figures at ``/metrics``.
"""

from __future__ import annotations

import asyncio
import http.client
import logging
import re
import ssl
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from fsm_saga.errors import StoreError
from fsm_saga.etcd.data import EndpointStatus
from fsm_saga.stores.etcd_url import EtcdUrl

logger = logging.getLogger("fsm_saga.stores")

QUOTA_BYTES_MIN: Final = 2 * 1024**2
"""One request of the largest size that etcd takes, 1.5 MiB, and room for etcd's own pages."""
ASK_S_MAX: Final = 1.0
FIGURES_BYTES_MAX: Final = 4 * 1024**2
_QUOTA = re.compile(rb"^etcd_server_quota_backend_bytes ([0-9.e+-]+)$", re.MULTILINE)


async def check_quotas(url: EtcdUrl, statuses: Sequence[EndpointStatus]) -> None:
    """Return if no member is known to have less space than one request may need.

    Raises:
        StoreError: One has.
    """
    for endpoint, quota in (await quotas_of(url, statuses)).items():
        if quota is not None and 0 < quota < QUOTA_BYTES_MIN:
            raise StoreError(
                f"Store {url.shown!r} was not opened: {endpoint} has a space quota of {quota:,} "
                f"bytes, and one request may need {QUOTA_BYTES_MIN:,}. Nothing was changed; raise "
                "--quota-backend-bytes (etcd takes 2 GiB by default)."
            )


async def quotas_of(url: EtcdUrl, statuses: Sequence[EndpointStatus]) -> Mapping[str, int | None]:
    """Return the quota of each member by its address: below 0 without one, None if not told."""
    found = await asyncio.gather(*(_quota_of(url, status) for status in statuses))
    return {status.endpoint: quota for status, quota in zip(statuses, found, strict=True)}


async def _quota_of(url: EtcdUrl, status: EndpointStatus) -> int | None:
    if status.db_quota:
        return status.db_quota
    try:
        figures = await asyncio.to_thread(partial(_figures, url, status.endpoint))
    except (OSError, http.client.HTTPException) as error:
        logger.debug("%s does not tell its quota: %s", status.endpoint, error)
        return None
    told = _QUOTA.search(figures)
    return None if told is None else int(float(told[1]))


def _figures(url: EtcdUrl, endpoint: str) -> bytes:
    """Return what a member tells at ``/metrics``."""
    host, _, port = endpoint.rpartition(":")
    host = host.strip("[]")
    if url.is_tls:
        context = ssl.create_default_context(cafile=url.ca)
        if url.cert is not None:
            context.load_cert_chain(url.cert, url.key)
        asked: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, int(port), timeout=ASK_S_MAX, context=context
        )
    else:
        asked = http.client.HTTPConnection(host, int(port), timeout=ASK_S_MAX)
    try:
        asked.request("GET", "/metrics")
        answer = asked.getresponse()
        return answer.read(FIGURES_BYTES_MAX) if answer.status == http.HTTPStatus.OK else b""
    finally:
        asked.close()
