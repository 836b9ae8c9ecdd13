"""``fsm-saga serve``: a coordinator that stays, alone or as a member of a cluster."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fsm_saga.cli.ages import FORM, age_s
from fsm_saga.cli.commands import command
from fsm_saga.cli.options import (
    STORE,
    Allowed,
    CertificateFolder,
    StoreUrl,
    ToolSpecs,
    load_all,
    read_certificates,
    tool_specs,
)
from fsm_saga.cli.running import InterruptedBySignal, leave_at_once, run_async
from fsm_saga.cli.serve_log import log_to_stderr
from fsm_saga.cluster.hosting import Host, Instrument, fingerprint
from fsm_saga.cluster.node import Node
from fsm_saga.errors import CommandError
from fsm_saga.ports import ClusterStore, Member
from fsm_saga.service.archive import Archive
from fsm_saga.service.archiving import Archivist
from fsm_saga.stores.opening import LEASE_TTL_S, open_cluster, this_member
from fsm_saga.stores.sharding import SHARDS_MAX
from fsm_saga.tools.registry import Registry
from fsm_saga.tools.runner import PythonRunner

if TYPE_CHECKING:
    from fsm_saga.cluster.metrics import Metrics

STOP_S = 10.0
"""How long handing over may take; what is left then ends with the lease."""

logger = logging.getLogger("fsm_saga.cluster")

Shards = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=SHARDS_MAX,
        help="Make a new store on a server with so many shards; it keeps that number.",
    ),
]
Name = Annotated[str, typer.Option(metavar="NAME", help="What others see; else host:process.")]
LeaseTtl = Annotated[
    float,
    typer.Option(
        "--lease-ttl",
        metavar="S",
        min=1.0,
        max=300.0,
        help="Seconds without a sign of life after which the others take over.",
    ),
]
Listen = Annotated[
    str | None,
    typer.Option(
        metavar="[HOST:]PORT",
        help="Answer /healthz, /readyz and /metrics there; a port alone is of this machine.",
    ),
]
ArchiveFolder = Annotated[
    Path | None,
    typer.Option(
        "--archive",
        metavar="DIR",
        help="Move sagas that ended long ago from the store to files there; see `gc`.",
    ),
]
ArchiveAfter = Annotated[
    str,
    typer.Option("--archive-after", metavar="AGE", help=f"How long after its end: {FORM}."),
]


@command(
    "serve",
    examples="""
        fsm-saga serve --tools examples/approval/tools.py
        fsm-saga serve --store sqlite:///trips.db --tools examples/travel/tools.py --listen 9090
        fsm-saga serve --store etcd://10.0.0.1,10.0.0.2,10.0.0.3/trips --tools trips/tools.py
    """,
)
def serve(
    tools: ToolSpecs = None,
    allow: Allowed = None,
    store: StoreUrl = STORE,
    certificates: CertificateFolder = None,
    shards: Shards = None,
    name: Name = "",
    lease_ttl_s: LeaseTtl = LEASE_TTL_S,
    listen: Listen = None,
    archive: ArchiveFolder = None,
    archive_after: ArchiveAfter = "30d",
    is_json_log: Annotated[
        bool, typer.Option("--log-json", help="Log one JSON object in each line.")
    ] = False,
    is_verbose: Annotated[
        bool, typer.Option("--verbose", help="Log every change of a saga too.")
    ] = False,
) -> int:
    """Run sagas until told to stop: those in the store, and those that others submit.

    Several processes may serve one store. Of a file, one is at work and the others stand by; a
    store on a server is shared out among them. SIGTERM or Ctrl-C hands over and ends; a second one
    ends at once, and so may anything else: nothing acknowledged is lost.

    Exit codes: 0 it was told to stop and has handed over, 2 refused (nothing was started).
    """
    if store.startswith("memory:"):
        raise CommandError(
            "Nothing was started: what is in memory is seen by its own process only, so nobody "
            "could submit anything. Name a file or a server, for example sqlite:///sagas.db."
        )
    loaded = load_all(tool_specs(tools))
    if not loaded:
        raise CommandError(
            "Nothing was started: no tools were given, so no saga could be run. Add --tools "
            "MODULE_OR_FILE."
        )
    registry = Registry(loaded, allow=allow or None, certificates=read_certificates(certificates))
    order = _Order(
        store=store,
        shards=shards,
        name=name,
        ttl_s=lease_ttl_s,
        listen=listen,
        allow=allow or None,
        runner=PythonRunner(registry),
        archive=archive,
        archive_after_s=age_s(archive_after, option="--archive-after"),
    )
    with log_to_stderr(as_json=is_json_log, is_verbose=is_verbose):
        try:
            run_async(_serve(order))
        except InterruptedBySignal:
            logger.info("stopped, as told", extra={"event": "stopped"})
    leave_at_once(0)
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    store: str
    shards: int | None
    name: str
    ttl_s: float
    listen: str | None
    allow: Collection[str] | None
    runner: PythonRunner
    archive: Path | None
    archive_after_s: float


async def _serve(order: _Order) -> None:
    """Serve until cancelled; by then everything is handed over."""
    archive = None if order.archive is None else Archive(order.archive)
    if archive is not None:
        archive.prepare()
    version: str = import_module("fsm_saga").__version__
    tools = fingerprint(order.runner.catalogue)
    web = None if order.listen is None else _Web.open(order.listen, version=version, tools=tools)
    member = this_member(
        is_ready=True,
        name=order.name,
        version=version,
        tools=tools,
        address="" if web is None else web.url,
    )
    async with AsyncExitStack() as stack:
        if web is not None:
            stack.callback(web.listener.close)
        cluster = await stack.enter_async_context(open_cluster(order.store, shards=order.shards))
        host = Host(
            cluster,
            order.runner,
            member,
            allow=order.allow,
            ttl_s=order.ttl_s,
            instruments=_instruments(web),
        )
        if archive is not None:
            host.node.attach = Archivist(
                archive, older_than_s=order.archive_after_s, shards=cluster.shards
            ).attach
        if web is not None:
            await stack.enter_async_context(web.answering(host.node, cluster))
        _tell_start(order, member, cluster)
        await _run(host.node)


def _tell_start(order: _Order, member: Member, cluster: ClusterStore) -> None:
    count = len(order.runner.catalogue)
    where = f", figures on {member.address}/metrics" if member.address else ""
    logger.info(
        "%s serves %s with %d tools%s",
        member.name,
        cluster.url,
        count,
        where,
        extra={"event": "started", "member": member.name},
    )


async def _run(node: Node) -> None:
    """Run the node; when cancelled, let it hand over first."""
    running = asyncio.create_task(node.run(), name="node")
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        node.stop()
        await asyncio.wait((running,), timeout=STOP_S)
        if not running.done():
            logger.warning("handing over takes too long: what is left ends with the lease")
            running.cancel()
            await asyncio.wait((running,), timeout=1.0)
        raise


def _instruments(web: _Web | None) -> list[Instrument]:
    found: list[Instrument] = [] if web is None else [web.metrics]
    try:
        tracing = import_module("fsm_saga.cluster.tracing")
    except ModuleNotFoundError:  # without its extra nothing is traced
        return found
    return [*found, tracing.Tracing()]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Web:
    """What answers over HTTP; its packages are an extra, so they are imported here."""

    listener: socket.socket
    metrics: Metrics
    url: str

    @classmethod
    def open(cls, address: str, *, version: str, tools: str) -> _Web:
        """Return it listening, and answering nothing yet.

        Raises:
            CommandError: The extra is not installed, or nothing can listen there.
        """
        try:
            endpoints = import_module("fsm_saga.cluster.endpoints")
            metrics = import_module("fsm_saga.cluster.metrics")
        except ModuleNotFoundError as error:
            raise CommandError(
                f"Nothing was started: --listen needs the package {error.name!r}, which is not "
                "installed. Install fsm-saga[serve], or leave --listen out."
            ) from error
        listener = endpoints.bind(*endpoints.parse_address(address))
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        return cls(
            listener=listener,
            metrics=metrics.Metrics(version=version, tools=tools),
            url=f"http://{shown}:{port}",
        )

    @asynccontextmanager
    async def answering(self, node: Node, cluster: ClusterStore) -> AsyncIterator[None]:
        """Answer until the end of the block."""
        endpoints = import_module("fsm_saga.cluster.endpoints")
        self.metrics.watch(node, shards=cluster.shards)
        app = endpoints.endpoints(lambda: node.obstacles, self.metrics)
        lag = asyncio.create_task(endpoints.watch_loop(self.metrics), name="loop lag")
        try:
            async with endpoints.answering(app, self.listener):
                yield
        finally:
            lag.cancel()
