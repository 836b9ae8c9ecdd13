"""The messages of etcd's API, as a table, and the classes that protobuf makes of it.

etcd's wire format is frozen: names and numbers of fields never change, fields are only added. So
the part that is used here stands below in a short form, and is handed to protobuf when this module
is first imported. Generated code would tie us to one major version of protobuf each; the classes
made here work with all from 4.25 on. They live in a pool of their own, where they cannot collide
with those of another etcd client in the same process.

One line per message: its name, then each field as ``name:type=number``. A ``*`` after the type is
a repeated field; fields in brackets are a oneof of the name before the bracket. A name with a dot
belongs to the message before the dot.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from google.protobuf import descriptor_pb2

PACKAGE = "etcdserverpb"

ENUMS = """
Event.EventType PUT=0 DELETE=1
RangeRequest.SortOrder NONE=0 ASCEND=1 DESCEND=2
RangeRequest.SortTarget KEY=0 VERSION=1 CREATE=2 MOD=3 VALUE=4
Compare.CompareResult EQUAL=0 GREATER=1 LESS=2 NOT_EQUAL=3
Compare.CompareTarget VERSION=0 CREATE=1 MOD=2 VALUE=3 LEASE=4
WatchCreateRequest.FilterType NOPUT=0 NODELETE=1
AlarmRequest.AlarmAction GET=0 ACTIVATE=1 DEACTIVATE=2
AlarmType NONE=0 NOSPACE=1 CORRUPT=2
Permission.Type READ=0 WRITE=1 READWRITE=2
"""

MESSAGES = """
ResponseHeader cluster_id:uint64=1 member_id:uint64=2 revision:int64=3 raft_term:uint64=4
KeyValue key:bytes=1 create_revision:int64=2 mod_revision:int64=3 version:int64=4 value:bytes=5 \
lease:int64=6
Event type:Event.EventType=1 kv:KeyValue=2 prev_kv:KeyValue=3

RangeRequest key:bytes=1 range_end:bytes=2 limit:int64=3 revision:int64=4 \
sort_order:RangeRequest.SortOrder=5 sort_target:RangeRequest.SortTarget=6 serializable:bool=7 \
keys_only:bool=8 count_only:bool=9 min_mod_revision:int64=10 max_mod_revision:int64=11 \
min_create_revision:int64=12 max_create_revision:int64=13
RangeResponse header:ResponseHeader=1 kvs:KeyValue*=2 more:bool=3 count:int64=4
PutRequest key:bytes=1 value:bytes=2 lease:int64=3 prev_kv:bool=4 ignore_value:bool=5 \
ignore_lease:bool=6
PutResponse header:ResponseHeader=1 prev_kv:KeyValue=2
DeleteRangeRequest key:bytes=1 range_end:bytes=2 prev_kv:bool=3
DeleteRangeResponse header:ResponseHeader=1 deleted:int64=2 prev_kvs:KeyValue*=3
RequestOp request[request_range:RangeRequest=1 request_put:PutRequest=2 \
request_delete_range:DeleteRangeRequest=3 request_txn:TxnRequest=4]
ResponseOp response[response_range:RangeResponse=1 response_put:PutResponse=2 \
response_delete_range:DeleteRangeResponse=3 response_txn:TxnResponse=4]
Compare result:Compare.CompareResult=1 target:Compare.CompareTarget=2 key:bytes=3 \
target_union[version:int64=4 create_revision:int64=5 mod_revision:int64=6 value:bytes=7 \
lease:int64=8] range_end:bytes=64
TxnRequest compare:Compare*=1 success:RequestOp*=2 failure:RequestOp*=3
TxnResponse header:ResponseHeader=1 succeeded:bool=2 responses:ResponseOp*=3
CompactionRequest revision:int64=1 physical:bool=2
CompactionResponse header:ResponseHeader=1

WatchRequest request_union[create_request:WatchCreateRequest=1 cancel_request:WatchCancelRequest=2 \
progress_request:WatchProgressRequest=3]
WatchCreateRequest key:bytes=1 range_end:bytes=2 start_revision:int64=3 progress_notify:bool=4 \
filters:WatchCreateRequest.FilterType*=5 prev_kv:bool=6 watch_id:int64=7 fragment:bool=8
WatchCancelRequest watch_id:int64=1
WatchProgressRequest
WatchResponse header:ResponseHeader=1 watch_id:int64=2 created:bool=3 canceled:bool=4 \
compact_revision:int64=5 cancel_reason:string=6 fragment:bool=7 events:Event*=11

LeaseGrantRequest TTL:int64=1 ID:int64=2
LeaseGrantResponse header:ResponseHeader=1 ID:int64=2 TTL:int64=3 error:string=4
LeaseRevokeRequest ID:int64=1
LeaseRevokeResponse header:ResponseHeader=1
LeaseKeepAliveRequest ID:int64=1
LeaseKeepAliveResponse header:ResponseHeader=1 ID:int64=2 TTL:int64=3
LeaseTimeToLiveRequest ID:int64=1 keys:bool=2
LeaseTimeToLiveResponse header:ResponseHeader=1 ID:int64=2 TTL:int64=3 grantedTTL:int64=4 \
keys:bytes*=5

Member ID:uint64=1 name:string=2 peerURLs:string*=3 clientURLs:string*=4 isLearner:bool=5
MemberAddRequest peerURLs:string*=1 isLearner:bool=2
MemberAddResponse header:ResponseHeader=1 member:Member=2 members:Member*=3
MemberRemoveRequest ID:uint64=1
MemberRemoveResponse header:ResponseHeader=1 members:Member*=2
MemberUpdateRequest ID:uint64=1 peerURLs:string*=2
MemberUpdateResponse header:ResponseHeader=1 members:Member*=2
MemberListRequest linearizable:bool=1
MemberListResponse header:ResponseHeader=1 members:Member*=2

AlarmRequest action:AlarmRequest.AlarmAction=1 memberID:uint64=2 alarm:AlarmType=3
AlarmMember memberID:uint64=1 alarm:AlarmType=2
AlarmResponse header:ResponseHeader=1 alarms:AlarmMember*=2
StatusRequest
StatusResponse header:ResponseHeader=1 version:string=2 dbSize:int64=3 leader:uint64=4 \
raftIndex:uint64=5 raftTerm:uint64=6 raftAppliedIndex:uint64=7 errors:string*=8 \
dbSizeInUse:int64=9 isLearner:bool=10 dbSizeQuota:int64=12
DefragmentRequest
DefragmentResponse header:ResponseHeader=1
HashRequest
HashResponse header:ResponseHeader=1 hash:uint32=2
SnapshotRequest
SnapshotResponse header:ResponseHeader=1 remaining_bytes:uint64=2 blob:bytes=3

AuthenticateRequest name:string=1 password:string=2
AuthenticateResponse header:ResponseHeader=1 token:string=2
AuthEnableRequest
AuthEnableResponse header:ResponseHeader=1
AuthDisableRequest
AuthDisableResponse header:ResponseHeader=1
AuthUserAddRequest name:string=1 password:string=2
AuthUserAddResponse header:ResponseHeader=1
AuthUserGrantRoleRequest user:string=1 role:string=2
AuthUserGrantRoleResponse header:ResponseHeader=1
AuthRoleAddRequest name:string=1
AuthRoleAddResponse header:ResponseHeader=1
Permission permType:Permission.Type=1 key:bytes=2 range_end:bytes=3
AuthRoleGrantPermissionRequest name:string=1 perm:Permission=2
AuthRoleGrantPermissionResponse header:ResponseHeader=1
"""

METHODS = """
KV.Range RangeRequest RangeResponse
KV.Put PutRequest PutResponse
KV.DeleteRange DeleteRangeRequest DeleteRangeResponse
KV.Txn TxnRequest TxnResponse
KV.Compact CompactionRequest CompactionResponse
Watch.Watch stream:WatchRequest stream:WatchResponse
Lease.LeaseGrant LeaseGrantRequest LeaseGrantResponse
Lease.LeaseRevoke LeaseRevokeRequest LeaseRevokeResponse
Lease.LeaseKeepAlive stream:LeaseKeepAliveRequest stream:LeaseKeepAliveResponse
Lease.LeaseTimeToLive LeaseTimeToLiveRequest LeaseTimeToLiveResponse
Cluster.MemberAdd MemberAddRequest MemberAddResponse
Cluster.MemberRemove MemberRemoveRequest MemberRemoveResponse
Cluster.MemberUpdate MemberUpdateRequest MemberUpdateResponse
Cluster.MemberList MemberListRequest MemberListResponse
Maintenance.Alarm AlarmRequest AlarmResponse
Maintenance.Status StatusRequest StatusResponse
Maintenance.Defragment DefragmentRequest DefragmentResponse
Maintenance.Hash HashRequest HashResponse
Maintenance.Snapshot SnapshotRequest stream:SnapshotResponse
Auth.AuthEnable AuthEnableRequest AuthEnableResponse
Auth.AuthDisable AuthDisableRequest AuthDisableResponse
Auth.Authenticate AuthenticateRequest AuthenticateResponse
Auth.UserAdd AuthUserAddRequest AuthUserAddResponse
Auth.UserGrantRole AuthUserGrantRoleRequest AuthUserGrantRoleResponse
Auth.RoleAdd AuthRoleAddRequest AuthRoleAddResponse
Auth.RoleGrantPermission AuthRoleGrantPermissionRequest AuthRoleGrantPermissionResponse
"""

_Proto = descriptor_pb2.FieldDescriptorProto

_SCALARS = {
    "bool": _Proto.TYPE_BOOL,
    "bytes": _Proto.TYPE_BYTES,
    "int64": _Proto.TYPE_INT64,
    "string": _Proto.TYPE_STRING,
    "uint32": _Proto.TYPE_UINT32,
    "uint64": _Proto.TYPE_UINT64,
}

_FIELD = re.compile(
    r"(?:(?P<oneof>\w+)\[)?(?P<name>\w+):(?P<type>[\w.]+)(?P<many>\*?)=(?P<number>\d+)(?P<end>\]?)"
)


class Field(NamedTuple):
    """One field of a message; ``oneof`` is the name of the oneof that it belongs to."""

    name: str
    type: str
    number: int
    is_repeated: bool
    oneof: str | None


class Enum(NamedTuple):
    """An enumeration; its name has a dot when it belongs to a message."""

    name: str
    values: dict[str, int]


class Method(NamedTuple):
    """One call of a service, with the names of what goes in and comes out."""

    service: str
    name: str
    request: str
    answer: str
    is_request_stream: bool
    is_answer_stream: bool

    @property
    def path(self) -> str:
        """The path under which gRPC knows it."""
        return f"/{PACKAGE}.{self.service}/{self.name}"


def messages() -> dict[str, tuple[Field, ...]]:
    """Return the fields of each message, by its name."""
    found: dict[str, tuple[Field, ...]] = {}
    for line in MESSAGES.strip().splitlines():
        if not line:
            continue
        name, *texts = line.split()
        oneof: str | None = None
        fields = []
        for text in texts:
            match = _FIELD.fullmatch(text)
            if match is None:
                raise ValueError(f"{name}: {text!r} is not a field")
            oneof = match["oneof"] or oneof
            fields.append(
                Field(
                    match["name"], match["type"], int(match["number"]), bool(match["many"]), oneof
                )
            )
            if match["end"]:
                oneof = None
        found[name] = tuple(fields)
    return found


def enums() -> tuple[Enum, ...]:
    """Return the enumerations."""
    found = []
    for line in ENUMS.strip().splitlines():
        name, *texts = line.split()
        pairs = (text.split("=") for text in texts)
        found.append(Enum(name, {value: int(number) for value, number in pairs}))
    return tuple(found)


def methods() -> tuple[Method, ...]:
    """Return the calls of all services."""
    found = []
    for line in METHODS.strip().splitlines():
        path, request, answer = line.split()
        service, name = path.split(".")
        found.append(
            Method(
                service,
                name,
                request.removeprefix("stream:"),
                answer.removeprefix("stream:"),
                request.startswith("stream:"),
                answer.startswith("stream:"),
            )
        )
    return tuple(found)


def file_descriptor() -> descriptor_pb2.FileDescriptorProto:
    """Return the table as protobuf describes a file."""
    file = descriptor_pb2.FileDescriptorProto(
        name="fsm_saga/etcd.proto", package=PACKAGE, syntax="proto3"
    )
    made = {}
    for name, fields in messages().items():
        made[name] = file.message_type.add(name=name)
        _add_fields(made[name], fields)
    for enum in enums():
        owner, _, name = enum.name.rpartition(".")
        added = (made[owner].enum_type if owner else file.enum_type).add(name=name)
        for value, number in enum.values.items():
            # Names of values share the scope around the enumeration, in Python as in C++.
            added.value.add(name=value, number=number)
    return file


def _add_fields(message: descriptor_pb2.DescriptorProto, fields: tuple[Field, ...]) -> None:
    enum_names = {enum.name for enum in enums()}
    oneofs: dict[str, int] = {}
    for field in fields:
        added = message.field.add(name=field.name, number=field.number)
        added.label = _Proto.LABEL_REPEATED if field.is_repeated else _Proto.LABEL_OPTIONAL
        if field.type in _SCALARS:
            added.type = _SCALARS[field.type]
        else:
            is_enum = field.type in enum_names
            added.type = _Proto.TYPE_ENUM if is_enum else _Proto.TYPE_MESSAGE
            added.type_name = f".{PACKAGE}.{field.type}"
        if field.oneof is not None:
            if field.oneof not in oneofs:
                oneofs[field.oneof] = len(oneofs)
                message.oneof_decl.add(name=field.oneof)
            added.oneof_index = oneofs[field.oneof]
