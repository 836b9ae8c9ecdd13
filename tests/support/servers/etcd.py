"""An etcd server, and a cluster of them."""

from __future__ import annotations

import base64
import json
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from examples.cluster.binaries import etcd_binary
from tests.support.servers.certificates import Certificates
from tests.support.servers.process import (
    STOP_S_MAX,
    ServerProcess,
    free_port,
    wait_until,
)

ASK_S_MAX = 5.0
ROOT_PASSWORD = "root-password"


class EtcdServer(ServerProcess):
    """One etcd, alone or a member of a cluster.

    Args:
        directory: Where it keeps its data.
        name: Its name in the cluster.
        quota_bytes: Where it runs out of space; etcd's own default is 2 GiB.
        compaction: The retention of its automatic compaction, for example ``1h`` (periodic) or
            ``1000`` (revisions); None: the history is kept.
        tls: Its certificates; with them it speaks TLS and asks each client for one.
        password: Of the user ``root``. With one, access is only for who has it.
        token_ttl_s: How long a token of a user lasts.
        options: More of them, as on its command line.
    """

    def __init__(
        self,
        directory: Path,
        *,
        name: str = "etcd",
        quota_bytes: int | None = None,
        compaction: str | None = None,
        tls: Certificates | None = None,
        password: str | None = None,
        token_ttl_s: int | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.name = name
        super().__init__(directory)
        self.peer_port = free_port()
        self.tls = tls
        self.password = password
        self.peers: Mapping[str, int] = {name: self.peer_port}
        self.is_new_cluster = True
        self._options = list(options)
        self._has_auth = False
        if quota_bytes is not None:
            self._options += ["--quota-backend-bytes", str(quota_bytes)]
        if compaction is not None:
            mode = "revision" if compaction.isdigit() else "periodic"
            self._options += ["--auto-compaction-mode", mode]
            self._options += ["--auto-compaction-retention", compaction]
        if token_ttl_s is not None:
            self._options += ["--auth-token-ttl", str(token_ttl_s)]

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"{'http' if self.tls is None else 'https'}://{self.address}"

    @property
    def data(self) -> Path:
        """Where its data lie."""
        return self.directory / "data"

    @property
    def command(self) -> Sequence[str]:
        """What starts it."""
        peer = f"http://127.0.0.1:{self.peer_port}"
        cluster = ",".join(f"{name}=http://127.0.0.1:{port}" for name, port in self.peers.items())
        tls = []
        if self.tls is not None:
            tls = [
                *("--cert-file", str(self.tls.server_cert)),
                *("--key-file", str(self.tls.server_key)),
                *("--trusted-ca-file", str(self.tls.ca), "--client-cert-auth"),
            ]
        return [
            *(str(etcd_binary().path), "--name", self.name, "--data-dir", str(self.data)),
            *("--listen-client-urls", self.url, "--advertise-client-urls", self.url),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", cluster, "--logger", "zap", "--log-level", "warn"),
            *("--initial-cluster-state", "new" if self.is_new_cluster else "existing"),
            *(*tls, *self._options),
        ]

    def start(self, *, wait: bool = True) -> None:
        """Start it on the data that it has, and return when it has a leader and answers."""
        super().start(wait=wait)
        if wait and self.password is not None and not self._has_auth and len(self.peers) == 1:
            self.enable_auth()

    def is_ready(self) -> bool:
        """Return True once it knows a leader."""
        try:
            return bool(json.loads(self._get("/health"))["health"] == "true")
        except (OSError, ValueError, KeyError):
            return False

    def enable_auth(self) -> None:
        """Let only ``root`` in, by ``password``."""
        self.call("auth/user/add", {"name": "root", "password": self.password or ROOT_PASSWORD})
        self.call("auth/role/add", {"name": "root"})
        self.call("auth/user/grant", {"user": "root", "role": "root"})
        self.call("auth/enable", {})
        self.share_auth()

    def share_auth(self) -> None:
        """Note that the cluster of this member lets only ``root`` in."""
        self._has_auth = True

    def wipe(self) -> None:
        """Delete its data; it must not run."""
        assert not self.is_running, f"{self.name} runs: its data cannot be deleted"
        shutil.rmtree(self.data, ignore_errors=True)
        self._has_auth = False

    def save_data(self, to: Path) -> None:
        """Copy its data; it must not run."""
        assert not self.is_running, f"{self.name} runs: its data cannot be copied"
        shutil.copytree(self.data, to)

    def restore_data(self, saved: Path) -> None:
        """Put back what ``save_data`` copied: its revision goes back."""
        self.wipe()
        shutil.copytree(saved, self.data)

    # --- the HTTP door of etcd, so that a test needs no client ------------------------------------

    def call(self, method: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to a call, for example ``call("maintenance/status", {})``.

        Keys and values go and come in base 64; numbers come as text.
        """
        answer = json.loads(self._post(method, body, self._token()))
        assert isinstance(answer, dict)
        return answer

    def put(self, key: str, value: str) -> None:
        """Write a key."""
        self.call("kv/put", {"key": _b64(key), "value": _b64(value)})

    def get(self, key: str) -> str | None:
        """Return a key's value, or None."""
        found = self.call("kv/range", {"key": _b64(key)}).get("kvs", [])
        return base64.b64decode(found[0].get("value", "")).decode() if found else None

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that begin so; ``prefix`` is ASCII and not empty."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        asked = {"key": _b64(prefix), "range_end": _b64(end), "keys_only": True}
        found = self.call("kv/range", asked).get("kvs", [])
        return [base64.b64decode(row["key"]).decode() for row in found]

    def revision(self) -> int:
        """Return the present revision."""
        return int(self.call("maintenance/status", {})["header"]["revision"])

    def compact(self) -> None:
        """Forget the history up to the present revision."""
        self.call("kv/compaction", {"revision": str(self.revision()), "physical": True})

    def defragment(self) -> None:
        """Give back the space that compaction has freed."""
        self.call("maintenance/defragment", {})

    def disarm(self) -> None:
        """Take back all alarms (after "no space")."""
        for alarm in self.call("maintenance/alarm", {"action": "GET"}).get("alarms", []):
            self.call("maintenance/alarm", {"action": "DEACTIVATE", **alarm})

    def _token(self) -> str | None:
        if not self._has_auth:
            return None
        asked = {"name": "root", "password": self.password or ROOT_PASSWORD}
        token = json.loads(self._post("auth/authenticate", asked, None))["token"]
        assert isinstance(token, str)
        return token

    def _post(self, method: str, body: Mapping[str, Any], token: str | None) -> bytes:
        headers = {} if token is None else {"Authorization": token}
        request = urllib.request.Request(  # noqa: S310  # our own server
            f"{self.url}/v3/{method}", json.dumps(body).encode(), headers
        )
        return self._open(request)

    def _get(self, path: str) -> bytes:
        return self._open(urllib.request.Request(self.url + path))  # noqa: S310  # the same

    def _open(self, request: urllib.request.Request) -> bytes:
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if self.tls is not None:
            context = ssl.create_default_context(cafile=str(self.tls.ca))
            context.load_cert_chain(self.tls.client_cert, self.tls.client_key)
            handlers.append(urllib.request.HTTPSHandler(context=context))
        opener = urllib.request.build_opener(*handlers)
        try:
            with opener.open(request, timeout=ASK_S_MAX) as answer:
                said = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise OSError(f"{request.full_url}: {error.code} {error.read()!r}") from None
        assert isinstance(said, bytes)
        return said


class EtcdCluster:
    """Members of one etcd cluster; as a context manager it is started and at the end stopped."""

    def __init__(
        self,
        directory: Path,
        size: int = 3,
        *,
        quota_bytes: int | None = None,
        compaction: str | None = None,
        tls: Certificates | None = None,
        password: str | None = None,
        token_ttl_s: int | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.password = password
        self.members = [
            EtcdServer(
                directory / f"etcd-{number}",
                name=f"etcd-{number}",
                quota_bytes=quota_bytes,
                compaction=compaction,
                tls=tls,
                password=password,
                token_ttl_s=token_ttl_s,
                options=options,
            )
            for number in range(1, size + 1)
        ]
        peers = {member.name: member.peer_port for member in self.members}
        for member in self.members:
            member.peers = peers

    @property
    def endpoints(self) -> list[str]:
        """The address of each member."""
        return [member.address for member in self.members]

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start those that do not run, and return when each answers."""
        is_first = not any(member.data.exists() for member in self.members)
        for member in self.members:
            if not member.is_running:
                member.start(wait=False)
        for member in self.members:
            member.wait_ready()
        if is_first and self.password is not None:
            self.members[0].enable_auth()
            for member in self.members:
                member.share_auth()

    def kill(self) -> None:
        """Kill all members together."""
        for member in self.members:
            member.kill()

    def stop(self) -> None:
        """Stop all members."""
        for member in self.members:
            # Two that are gone leave the third no quorum, and it would wait for one in vain.
            member.kill()
            member.stop()

    def leader(self) -> EtcdServer:
        """Return the member that leads; wait for an election if there is none."""
        found: list[EtcdServer] = []

        def is_found() -> bool:
            found[:] = [member for member in self._answering() if _leads(member)]
            return bool(found)

        wait_until(is_found, what="a member of the etcd cluster leads")
        return found[0]

    def followers(self) -> list[EtcdServer]:
        """Return all the other members."""
        leader = self.leader()
        return [member for member in self.members if member is not leader]

    def replace(self, member: EtcdServer) -> None:
        """Kill a member, delete its data and let it join again as a new one."""
        member.kill()
        others = [other for other in self.members if other is not member and other.is_running]
        listed = others[0].call("cluster/member/list", {})["members"]
        (number,) = [each["ID"] for each in listed if each.get("name") == member.name]
        others[0].call("cluster/member/remove", {"ID": number})
        peer = f"http://127.0.0.1:{member.peer_port}"
        wait_until(
            lambda: _is_added(others[0], peer),
            what=f"the cluster takes {member.name} in again",
            timeout_s=STOP_S_MAX,
        )
        had_auth = member.password is not None
        member.wipe()
        member.is_new_cluster = False
        member.start()
        if had_auth:
            member.share_auth()

    def log_tail(self) -> str:
        """Return the last lines of each member's log."""
        return "\n".join(member.log_tail() for member in self.members)

    def _answering(self) -> list[EtcdServer]:
        return [member for member in self.members if member.is_running and not member.is_paused]


def _leads(member: EtcdServer) -> bool:
    try:
        status = member.call("maintenance/status", {})
    except OSError:
        return False
    return bool(status.get("leader") == status["header"]["member_id"])


def _is_added(member: EtcdServer, peer: str) -> bool:
    # Right after a removal the cluster may refuse, until it has seen all its members for a while.
    try:
        member.call("cluster/member/add", {"peerURLs": [peer]})
    except OSError:
        return False
    return True


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
