"""What there is to say of the members of etcd before a store in it is used, without opening one."""

from __future__ import annotations

from msgspec import Struct

from fsm_saga.errors import StoreError
from fsm_saga.etcd.data import EndpointStatus
from fsm_saga.etcd.errors import EtcdError
from fsm_saga.etcd.transport import EtcdTransport
from fsm_saga.stores.etcd_checks import check_servers, warnings_about
from fsm_saga.stores.etcd_quota import check_quotas, quotas_of
from fsm_saga.stores.etcd_transports import open_transport
from fsm_saga.stores.etcd_url import parse_etcd_url

DEFAULT_QUOTA_BYTES = 2 * 1024**3
"""What etcd takes without ``--quota-backend-bytes``, where a member does not tell its quota."""
FULL_SHARE = 0.75
MIB = 1024**2
_MAKE_ROOM = "Archive finished sagas, then compact and defragment each member."


class EtcdLook(Struct, frozen=True, kw_only=True):
    """What was found.

    Attributes:
        shown: The URL without a password.
        members: What is well, a line for each member.
        warnings: What is worth a look, each with what to do.
        refusals: Why the store cannot be used, each with what to do.
    """

    shown: str
    members: tuple[str, ...]
    warnings: tuple[tuple[str, str], ...]
    refusals: tuple[tuple[str, str], ...]


async def look_at_etcd(url: str) -> EtcdLook:
    """Return what is to be said of the members that a URL names.

    Raises:
        StoreError: The URL means nothing, or no member answers.
    """
    asked = parse_etcd_url(url)
    transport = await open_transport(asked)
    try:
        refusals = await _refusals(transport, asked.shown)
        statuses = await transport.statuses()
        answered = [status for status in statuses if status.problem is None]
        quotas = await quotas_of(asked, answered)
        try:
            await check_quotas(asked, answered)
        except StoreError as error:
            refusals.append((error.message, "Nothing can be served until that is so no more."))
    except EtcdError as error:
        raise StoreError(f"Store {asked.shown!r} was not looked at: {error.message}") from error
    finally:
        await transport.close()
    warnings = [
        warning for status in statuses for warning in _warnings(status, quotas.get(status.endpoint))
    ]
    return EtcdLook(
        shown=asked.shown,
        members=tuple(_member(status, quotas.get(status.endpoint)) for status in answered),
        warnings=tuple(warnings),
        refusals=tuple(refusals),
    )


async def _refusals(transport: EtcdTransport, shown: str) -> list[tuple[str, str]]:
    try:
        await check_servers(transport, shown)
    except StoreError as error:
        return [(error.message, "Nothing can be served until that is so no more.")]
    return []


def _member(status: EndpointStatus, quota: int | None) -> str:
    leads = ", leads" if status.leader_id == status.member_id else ""
    size = f"{status.db_size_in_use / MIB:.0f} of {status.db_size / MIB:.0f} MiB in use"
    told = "no quota" if quota is not None and quota < 0 else f"quota {(quota or 0) / MIB:,.1f} MiB"
    space = "quota not told" if quota is None else told
    return f"{status.endpoint} runs etcd {status.version}{leads}, {size}, {space}"


def _warnings(status: EndpointStatus, quota: int | None) -> list[tuple[str, str]]:
    if status.problem is not None:
        said = f"{status.endpoint} does not answer: {status.problem}"
        return [(said, "Start that member, or leave its address out.")]
    found = [
        (f"{status.endpoint}: {said}", "Use a newer etcd.")
        for said in warnings_about(status.version)
    ]
    if quota is None and status.db_size > FULL_SHARE * DEFAULT_QUOTA_BYTES:
        found.append(
            (
                f"{status.endpoint} holds {status.db_size / MIB:,.0f} MiB, and 2,048 is what etcd "
                "takes unless it was given another quota, which it does not tell.",
                _MAKE_ROOM,
            )
        )
    elif quota is not None and 0 < FULL_SHARE * quota < status.db_size:
        found.append(
            (
                f"{status.endpoint} holds {status.db_size / MIB:,.1f} MiB of the "
                f"{quota / MIB:,.1f} MiB that its quota allows.",
                _MAKE_ROOM,
            )
        )
    if not status.leader_id:
        found.append((f"{status.endpoint} knows no leader.", "Most members have to be up."))
    return found
