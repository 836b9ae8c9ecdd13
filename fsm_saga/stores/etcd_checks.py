"""What has to be so before a store in etcd is used: every refusal here comes before any write."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid

from msgspec import Struct

from fsm_saga.errors import StoreError, StoreVersionError
from fsm_saga.etcd.data import EndpointStatus, Put, Range, Txn, is_absent
from fsm_saga.etcd.errors import (
    EtcdError,
    EtcdUnavailableError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnknownOutcomeError,
)
from fsm_saga.etcd.transport import EtcdTransport
from fsm_saga.stores.etcd_layout import Layout, interval
from fsm_saga.stores.etcd_refusals import cannot_open, hint_for
from fsm_saga.stores.etcd_values import object_in, object_value
from fsm_saga.stores.sharding import SHARDS_DEFAULT, SHARDS_MAX

logger = logging.getLogger("fsm_saga.stores")

FORMAT = "fsm-saga"
SCHEMA = 1
OLDEST = (3, 4, 0)
LOSES_WRITES = ((3, 5, 0), (3, 5, 2))
"""From and to the versions of which members lose acknowledged writes when killed under load."""
READS_STALE_BEFORE = {(3, 4): 42, (3, 5): 28, (3, 6): 9}
"""The first patch of each line in which a paused member no longer answers with old data."""
MAKE_TRIES = 5
MAKE_AGAIN_S = 0.2
BEHIND_S_MAX = 2.0
"""How long a member may take to learn that the store was made."""
_SEALED = re.compile(rb"[0-9a-f]{8} \{")
"""How our values begin: one that neither does nor names us was never ours."""


class Meta(Struct, frozen=True, kw_only=True):
    """What the store was made with."""

    store_id: str
    shards: int
    value: bytes


async def check_servers(
    transport: EtcdTransport, shown: str, *, needs_space: bool = True
) -> tuple[EndpointStatus, ...]:
    """Return what answers, if it is one etcd that keeps what it acknowledges and has space.

    A reader needs no space.

    Raises:
        StoreError: It is not so.
    """
    statuses = await transport.statuses()
    answered = [status for status in statuses if status.problem is None]
    if not answered:
        try:
            await transport.range(Range(key=b"meta"), timeout_s=1.0)
        except (UnauthenticatedError, PermissionDeniedError) as error:
            raise cannot_open(shown, error) from error
        except EtcdError:
            pass
        raise StoreError(_nobody(shown, statuses))
    _check_one_cluster(answered, shown)
    for status in answered:
        _check_version(status, shown)
    try:
        alarms = await transport.alarms()
    except PermissionDeniedError:
        return tuple(answered)  # a user for one prefix may not ask; a write will tell
    except EtcdUnavailableError as error:
        raise _no_majority(shown, answered, error) from error
    except EtcdError as error:
        raise cannot_open(shown, error) from error
    kinds = {alarm.kind for alarm in alarms}
    if "CORRUPT" in kinds:
        raise StoreError(
            f"Store {shown!r} was not opened: etcd found that its members hold different data. "
            "Nothing was changed; a person has to replace the damaged member first."
        )
    if "NOSPACE" in kinds and needs_space:
        raise StoreError(
            f"Store {shown!r} was not opened: etcd's space quota is reached, so it takes no "
            "writes. Nothing was changed. Compact and defragment each member, raise "
            "--quota-backend-bytes if need be, then disarm the alarm (`etcdctl alarm disarm`)."
        )
    return tuple(answered)


async def check_one_store(transport: EtcdTransport, layout: Layout, shown: str, meta: Meta) -> None:
    """Return if every address that answers leads to the store that was opened.

    The ids of clusters do not tell all: two that were made with the same settings have the same.

    Raises:
        StoreError: An address leads to another store, or to none.
    """
    ends_at = time.monotonic() + BEHIND_S_MAX
    while True:
        found = await transport.range_each(Range(key=layout.meta))
        others = [
            address
            for address, answer in found
            if answer is not None and (answer.first is None or answer.first.value != meta.value)
        ]
        if not others:
            return
        if time.monotonic() >= ends_at:  # one that was slower than the others has caught up
            raise StoreError(
                f"Store {shown!r} was not opened: {', '.join(others)} does not hold this store, "
                "which the other addresses do. They belong to different clusters of etcd, or that "
                "member is far behind. Name members of one cluster only."
            )
        await asyncio.sleep(MAKE_AGAIN_S)


def warnings_about(version: str) -> list[str]:
    """Return what is to be said of an etcd version that may be used, if anything.

    Example:
        >>> warnings_about("3.5.30")
        []
        >>> len(warnings_about("3.5.16"))
        1
    """
    found = _numbers(version)
    fixed = READS_STALE_BEFORE.get(found[:2])
    if fixed is None or found[2] >= fixed:
        return []
    line = ".".join(map(str, found[:2]))
    return [
        f"etcd {version} may answer with old data after a member was paused; {line}.{fixed} does "
        "not. What is decided here is compared inside transactions all the same."
    ]


async def read_meta(
    transport: EtcdTransport,
    layout: Layout,
    shown: str,
    *,
    shards: int | None,
    may_create: bool,
) -> Meta:
    """Return what the store was made with; it is made if it is not there.

    Raises:
        StoreError: Something else is under the prefix, or the store is not what was asked for.
        StoreVersionError: A newer version made it.
    """
    if shards is not None and not 1 <= shards <= SHARDS_MAX:
        raise StoreError(
            f"Store {shown!r} was not opened: it cannot have {shards} shards, only 1 to "
            f"{SHARDS_MAX}. Nothing was changed."
        )
    for _ in range(MAKE_TRIES):
        try:
            meta = await _found_meta(transport, layout, shown)
            if meta is not None:
                return _fitting(meta, shards, shown)
            if not may_create:
                raise StoreError(
                    f"Store {shown!r} was not opened: there is none under the prefix "
                    f"{layout.root.decode()!r}. `fsm-saga serve` or `run` makes it.",
                    is_missing=True,
                )
            await _make(transport, layout, shards or SHARDS_DEFAULT)
        except UnknownOutcomeError:
            await asyncio.sleep(MAKE_AGAIN_S)
        except EtcdError as error:
            raise cannot_open(shown, error) from error
    raise StoreError(
        f"Store {shown!r} was not opened: etcd gives no clear answer whether it was made. Opening "
        "it again does no harm."
    )


async def _found_meta(transport: EtcdTransport, layout: Layout, shown: str) -> Meta | None:
    found = (await transport.range(Range(key=layout.meta))).first
    if found is None:
        key, end = interval(layout.root)
        other = (
            await transport.range(Range(key=key, range_end=end, limit=1, keys_only=True))
        ).first
        if other is None:
            return None
        if other.key == layout.meta:  # made a moment ago
            return await _found_meta(transport, layout, shown)
        raise StoreError(
            f"Store {shown!r} was not opened: other data is below its prefix, for example the key "
            f"{other.key.decode(errors='replace')!r}. Nothing was changed; choose another prefix."
        )
    if FORMAT.encode() not in found.value and not _SEALED.match(found.value):
        raise StoreError(
            f"Store {shown!r} was not opened: the key {found.key.decode()!r} holds something of "
            "somebody else's. Nothing was changed; choose another prefix."
        )
    said = object_in(found, what=f"What store {shown!r} was made with")
    schema, shards = said.get("schema"), said.get("shards")
    if said.get("format") != FORMAT or type(schema) is not int or type(shards) is not int:
        raise StoreError(
            f"Store {shown!r} was not opened: the key {found.key.decode()!r} is not of fsm_saga. "
            "Nothing was changed; choose another prefix."
        )
    if schema > SCHEMA:
        raise StoreVersionError(
            f"Store {shown!r} was not opened: its schema is version {schema} and this program "
            f"knows up to {SCHEMA}. Nothing was changed; use the version that made it, or a newer "
            "one.",
            found=schema,
            known=SCHEMA,
        )
    return Meta(
        store_id=str(said.get("id", "")),
        shards=shards,
        value=found.value,
    )


async def _make(transport: EtcdTransport, layout: Layout, shards: int) -> None:
    said = {
        "format": FORMAT,
        "schema": SCHEMA,
        "shards": shards,
        "id": str(uuid.uuid4()),
        "made_at": time.time(),
    }
    put = Put(key=layout.meta, value=object_value(layout.meta, said))
    await transport.txn(Txn(compares=(is_absent(layout.meta),), success=(put,)))


def _fitting(meta: Meta, shards: int | None, shown: str) -> Meta:
    if shards is not None and shards != meta.shards:
        raise StoreError(
            f"Store {shown!r} was not opened with {shards} shards: it was made with {meta.shards}, "
            f"which never changes. Nothing was changed; leave --shards away, or give {meta.shards}."
        )
    return meta


def _check_one_cluster(answered: list[EndpointStatus], shown: str) -> None:
    if len({status.cluster_id for status in answered}) > 1:
        which = ", ".join(f"{each.endpoint} to {each.cluster_id:x}" for each in answered)
        raise StoreError(
            f"Store {shown!r} was not opened: its addresses belong to different clusters of etcd "
            f"({which}). Nothing was changed; name members of one cluster."
        )


def _no_majority(
    shown: str, answered: list[EndpointStatus], error: EtcdUnavailableError
) -> StoreError:
    which = ", ".join(status.endpoint for status in answered)
    return StoreError(
        f"Store {shown!r} was not opened: {which} answers, but no majority of etcd's members does, "
        "and without one nothing is read or written. Nothing was changed; start the other members, "
        f"or mend the network between them. ({error.message})"
    )


def _check_version(status: EndpointStatus, shown: str) -> None:
    found = _numbers(status.version)
    if found < OLDEST:
        raise StoreError(
            f"Store {shown!r} was not opened: {status.endpoint} runs etcd {status.version}, and "
            f"{'.'.join(map(str, OLDEST))} is the oldest that can be used. Nothing was changed."
        )
    if LOSES_WRITES[0] <= found <= LOSES_WRITES[1]:
        raise StoreError(
            f"Store {shown!r} was not opened: {status.endpoint} runs etcd {status.version}, whose "
            "members can lose acknowledged writes when they are killed. Nothing was changed; "
            "use 3.5.3 or newer."
        )
    for warning in warnings_about(status.version):
        logger.warning("%s: %s", status.endpoint, warning)


def _numbers(version: str) -> tuple[int, int, int]:
    """Return the three numbers of a version; what is missing is 0."""
    major, minor, patch, *_ = *map(int, re.findall(r"\d+", version)), 0, 0, 0
    return major, minor, patch


def _nobody(shown: str, statuses: tuple[EndpointStatus, ...]) -> str:
    reasons = "; ".join(f"{status.endpoint}: {status.problem}" for status in statuses)
    hints = dict.fromkeys(hint for each in statuses if (hint := hint_for(each.problem or "")))
    advice = " ".join(hints) or (
        "Is etcd running there, and are the addresses, user and certificates right?"
    )
    return (
        f"Store {shown!r} was not opened: no member of etcd answers ({reasons}). Nothing was "
        f"changed. {advice}"
    )
