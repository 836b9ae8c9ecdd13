"""A Redis server."""

from __future__ import annotations

import shutil
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

from examples.cluster.binaries import redis_binary
from tests.support.servers.certificates import Certificates
from tests.support.servers.process import ServerProcess, free_port

PING_S_MAX = 1.0
PORT_MAX = 55_535
"""Redis in cluster mode takes no port above it."""


class RedisServer(ServerProcess):
    """Redis with a journal of its own (AOF), synced at each write.

    Args:
        directory: Where it keeps its data.
        password: Of its default user; None: nobody is asked.
        appendonly: Whether it has a journal at all.
        appendfsync: ``always``, ``everysec`` or ``no``.
        tls: Its certificates; with them it speaks TLS and asks each client for one.
        options: More of them, as on its command line: ``("--maxmemory", "2mb")``.
    """

    name = "redis"

    def __init__(
        self,
        directory: Path,
        *,
        password: str | None = None,
        appendonly: bool = True,
        appendfsync: str = "always",
        tls: Certificates | None = None,
        options: Sequence[str] = (),
    ) -> None:
        super().__init__(directory)
        while self.port > PORT_MAX:
            self.port = free_port()
        self.password = password
        self.tls = tls
        self._options = [
            *("--appendonly", "yes" if appendonly else "no"),
            *("--appendfsync", appendfsync),
            *options,
        ]

    @property
    def url(self) -> str:
        """The URL of its database 0."""
        user = "" if self.password is None else f":{self.password}@"
        return f"{'redis' if self.tls is None else 'rediss'}://{user}{self.address}/0"

    @property
    def command(self) -> Sequence[str]:
        """What starts it: nothing is read from a file."""
        port = ["--port", str(self.port)]
        if self.tls is not None:
            port = [
                *("--port", "0", "--tls-port", str(self.port)),
                *("--tls-cert-file", str(self.tls.server_cert)),
                *("--tls-key-file", str(self.tls.server_key)),
                *("--tls-ca-cert-file", str(self.tls.ca)),
            ]
        password = [] if self.password is None else ["--requirepass", self.password]
        return [
            *(str(redis_binary().path), "--bind", "127.0.0.1", *port),
            *("--dir", str(self.directory), "--save", "", "--daemonize", "no"),
            *(*password, *self._options),
        ]

    def is_ready(self) -> bool:
        """Return True once it answers a ping, or asks who we are."""
        try:
            with self._connected() as sock:
                sock.sendall(b"PING\r\n")
                answer = sock.recv(64)
        except OSError:
            return False
        return answer.startswith((b"+PONG", b"-NOAUTH"))

    def wipe(self) -> None:
        """Delete its data; it must not run."""
        assert not self.is_running, "redis runs: its data cannot be deleted"
        shutil.rmtree(self.directory / "appendonlydir", ignore_errors=True)
        (self.directory / "dump.rdb").unlink(missing_ok=True)

    def _connected(self) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self.port), PING_S_MAX)
        if self.tls is None:
            return plain
        context = ssl.create_default_context(cafile=str(self.tls.ca))
        context.load_cert_chain(self.tls.client_cert, self.tls.client_key)
        try:
            return context.wrap_socket(plain, server_hostname="127.0.0.1")
        except OSError:
            plain.close()
            raise
