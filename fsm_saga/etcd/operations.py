"""The operations of etcd as calls of gRPC, for every transport alike.

What differs between transports is how a message travels: ``_read`` and ``_write``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from fsm_saga.etcd import encode
from fsm_saga.etcd import messages as pb
from fsm_saga.etcd.data import (
    Alarm,
    Delete,
    DeleteResult,
    EndpointStatus,
    LeaseGrant,
    LeaseTime,
    Member,
    Put,
    PutResult,
    Range,
    RangeResult,
    Txn,
    TxnResult,
)
from fsm_saga.etcd.errors import LeaseNotFoundError

_ALARM_KINDS = {1: "NOSPACE", 2: "CORRUPT"}


class Operations(ABC):
    """Everything of ``EtcdTransport`` that is one question and one answer."""

    @abstractmethod
    async def _read(self, name: str, message: Any, what: object, timeout_s: float | None) -> Any:
        """Return the answer to a call that may be repeated; ``what`` names it in messages."""

    @abstractmethod
    async def _write(self, name: str, message: Any, what: object, timeout_s: float | None) -> Any:
        """Return the answer to a call that is sent once."""

    # --- keys ---------------------------------------------------------------------------------

    async def range(self, request: Range, *, timeout_s: float | None = None) -> RangeResult:
        """Read keys; see ``EtcdTransport`` for this and what follows."""
        answer = await self._read("KV.Range", encode.range_request(request), request, timeout_s)
        return encode.range_result(answer, answer.header.revision)

    async def put(self, request: Put, *, timeout_s: float | None = None) -> PutResult:
        """Write a key, whatever is there."""
        answer = await self._write("KV.Put", encode.put_request(request), request, timeout_s)
        return encode.put_result(answer, answer.header.revision)

    async def delete(self, request: Delete, *, timeout_s: float | None = None) -> DeleteResult:
        """Delete keys."""
        message = encode.delete_request(request)
        answer = await self._write("KV.DeleteRange", message, request, timeout_s)
        return encode.delete_result(answer, answer.header.revision)

    async def txn(self, request: Txn, *, timeout_s: float | None = None) -> TxnResult:
        """Compare and write."""
        answer = await self._write("KV.Txn", encode.txn_request(request), request, timeout_s)
        return encode.txn_result(answer, answer.header.revision)

    async def compact(self, revision: int, *, timeout_s: float | None = None) -> None:
        """Forget every state before ``revision``."""
        message = pb.CompactionRequest(revision=revision)
        await self._write("KV.Compact", message, f"a compaction at {revision}", timeout_s)

    # --- leases -------------------------------------------------------------------------------

    async def grant_lease(
        self, ttl_s: int, *, lease_id: int = 0, timeout_s: float | None = None
    ) -> LeaseGrant:
        """Make a lease."""
        message = pb.LeaseGrantRequest(TTL=ttl_s, ID=lease_id)
        answer = await self._write("Lease.LeaseGrant", message, f"a lease of {ttl_s} s", timeout_s)
        return LeaseGrant(lease_id=answer.ID, ttl_s=answer.TTL)

    async def keep_lease_alive(self, lease_id: int, *, timeout_s: float | None = None) -> int:
        """Renew a lease and return its full time in seconds."""
        message = pb.LeaseKeepAliveRequest(ID=lease_id)
        answer = await self._read(
            "Lease.LeaseKeepAlive", message, f"the renewal of lease {lease_id:x}", timeout_s
        )
        if answer.TTL <= 0:
            raise LeaseNotFoundError(
                f"etcd refused the renewal of lease {lease_id:x}: there is no such lease. Its "
                "keys are gone; get a new lease.",
                lease_id=lease_id,
            )
        return int(answer.TTL)

    async def revoke_lease(self, lease_id: int, *, timeout_s: float | None = None) -> None:
        """End a lease and delete its keys."""
        message = pb.LeaseRevokeRequest(ID=lease_id)
        await self._write("Lease.LeaseRevoke", message, f"the end of lease {lease_id:x}", timeout_s)

    async def lease_time(
        self, lease_id: int, *, wants_keys: bool = False, timeout_s: float | None = None
    ) -> LeaseTime:
        """Return how long the lease has left."""
        message = pb.LeaseTimeToLiveRequest(ID=lease_id, keys=wants_keys)
        answer = await self._read(
            "Lease.LeaseTimeToLive", message, f"the time of lease {lease_id:x}", timeout_s
        )
        return LeaseTime(
            lease_id=lease_id,
            left_s=answer.TTL,
            granted_s=answer.grantedTTL,
            keys=tuple(answer.keys),
        )

    # --- the cluster --------------------------------------------------------------------------

    async def members(self, *, timeout_s: float | None = None) -> tuple[Member, ...]:
        """Return the members of the cluster."""
        message = pb.MemberListRequest(linearizable=True)
        answer = await self._read("Cluster.MemberList", message, "the list of members", timeout_s)
        return tuple(
            Member(
                member_id=member.ID,
                name=member.name,
                peer_urls=tuple(member.peerURLs),
                client_urls=tuple(member.clientURLs),
                is_learner=member.isLearner,
            )
            for member in answer.members
        )

    async def alarms(self, *, timeout_s: float | None = None) -> tuple[Alarm, ...]:
        """Return the alarms that are on."""
        message = pb.AlarmRequest(action=pb.AlarmRequest.GET)
        answer = await self._read("Maintenance.Alarm", message, "the list of alarms", timeout_s)
        return tuple(
            Alarm(member_id=alarm.memberID, kind=_ALARM_KINDS.get(alarm.alarm, str(alarm.alarm)))
            for alarm in answer.alarms
        )

    async def disarm(self, alarm: Alarm, *, timeout_s: float | None = None) -> None:
        """Switch off one member's alarm."""
        kinds = {kind: number for number, kind in _ALARM_KINDS.items()}
        message = pb.AlarmRequest(
            action=pb.AlarmRequest.DEACTIVATE, memberID=alarm.member_id, alarm=kinds[alarm.kind]
        )
        what = f"the end of alarm {alarm.kind} of member {alarm.member_id:x}"
        await self._write("Maintenance.Alarm", message, what, timeout_s)


def endpoint_status(endpoint: str, answer: pb.StatusResponse) -> EndpointStatus:
    """Return what the endpoint said of itself."""
    return EndpointStatus(
        endpoint=endpoint,
        cluster_id=answer.header.cluster_id,
        member_id=answer.header.member_id,
        leader_id=answer.leader,
        version=answer.version,
        revision=answer.header.revision,
        raft_term=answer.header.raft_term,
        db_size=answer.dbSize,
        db_size_in_use=answer.dbSizeInUse,
        db_quota=answer.dbSizeQuota,
        is_learner=answer.isLearner,
        errors=tuple(answer.errors),
    )
