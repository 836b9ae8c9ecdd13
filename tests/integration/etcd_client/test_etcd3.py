"""The etcd3 package, unmodified, with the protobuf of today; and our layers over it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable

import pytest

from fsm_saga.etcd.batch import open_batcher
from fsm_saga.etcd.channel import EtcdOptions, Tls
from fsm_saga.etcd.data import Put, Range, Txn, WatchRequest, is_absent, prefix_end
from fsm_saga.etcd.election import Election
from fsm_saga.etcd.errors import EtcdUnavailableError, UnauthenticatedError, UnknownOutcomeError
from fsm_saga.etcd.etcd3_transport import Etcd3Transport, open_etcd3
from fsm_saga.etcd.session import open_session
from fsm_saga.etcd.watch import Watch
from tests.integration.etcd_client.like_etcd3 import LikeEtcd3, need_etcd3
from tests.support.servers.certificates import Certificates
from tests.support.servers.etcd import EtcdServer
from tests.support.servers.proxy import FaultProxy

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def threaded(
    etcd: EtcdServer, new_proxy: Callable[[int], FaultProxy]
) -> AsyncIterator[tuple[Etcd3Transport, FaultProxy]]:
    proxy = new_proxy(etcd.port)
    transport = Etcd3Transport(LikeEtcd3(proxy.address), endpoint=proxy.address, try_timeout_s=0.5)
    async with transport:
        yield transport, proxy


async def test_watch_session_election_and_group_commit_run_over_threads(
    threaded: tuple[Etcd3Transport, FaultProxy], prefix: bytes
) -> None:
    transport, proxy = threaded
    request = WatchRequest(key=prefix + b"k", range_end=prefix_end(prefix + b"k"))
    async with (
        open_session(transport, ttl_s=5) as session,
        Watch(transport, request, silence_s=0.3, sign_of_life_s=0.3) as watch,
    ):
        await watch.start()
        leader = await Election(transport, session, key=prefix + b"leader").campaign()
        keys = [prefix + b"k%02d" % each for each in range(40)]
        async with open_batcher(transport, fence=(leader.guard(),), timeout_s=5) as batcher:
            results = await asyncio.gather(
                *(
                    batcher.submit(Txn(compares=(is_absent(k),), success=(Put(key=k, value=b""),)))
                    for k in keys[:20]
                )
            )
            assert all(result.succeeded for result in results)
            proxy.reset()
            await transport.range(Range(key=prefix))  # a read finds the way back
            for key in keys[20:]:
                assert (await batcher.submit(Txn(success=(Put(key=key, value=b""),)))).succeeded
        seen: list[bytes] = []
        async with asyncio.timeout(10):
            while len(seen) < 40:
                seen += [event.kv.key for event in (await anext(watch)).events]
        assert seen == keys
        assert session.is_alive


async def test_an_endpoint_that_is_silent_is_told_of_as_by_the_other_transport(
    threaded: tuple[Etcd3Transport, FaultProxy], prefix: bytes
) -> None:
    transport, proxy = threaded
    await transport.range(Range(key=prefix))
    proxy.blackhole()
    with pytest.raises(UnknownOutcomeError):
        await transport.put(Put(key=prefix, value=b""))
    with pytest.raises(EtcdUnavailableError):
        await transport.range(Range(key=prefix), timeout_s=0.6)
    with pytest.raises(EtcdUnavailableError):
        async with transport.open_watch(WatchRequest(key=prefix)):
            pytest.fail("nobody answered")
    (status,) = await transport.statuses()
    assert status.problem is not None


async def test_etcd3_knows_one_endpoint_and_says_so() -> None:
    with pytest.raises(ValueError, match="etcd3 knows one endpoint, and these are given: a:1, b:1"):
        await open_etcd3(EtcdOptions(endpoints=("a:1", "b:1")))


async def test_password_and_certificates_go_through_etcd3(
    new_etcd: Callable[..., EtcdServer], certificates: Certificates
) -> None:
    need_etcd3()
    server = new_etcd(password="secret word")
    options = EtcdOptions(
        endpoints=(server.address,), user="root", password="secret word", try_timeout_s=5
    )
    async with await open_etcd3(options) as transport:
        await transport.put(Put(key=b"/a", value=b""))
    wrong = EtcdOptions(endpoints=(server.address,), user="root", password="wrong")
    with pytest.raises(UnauthenticatedError):
        await open_etcd3(wrong)
    encrypted = new_etcd(tls=certificates)
    tls = Tls(
        ca=certificates.ca,
        cert=certificates.client_cert,
        key=certificates.client_key,
        server_name="localhost",
    )
    options = EtcdOptions(endpoints=(encrypted.address,), tls=tls, try_timeout_s=5)
    async with await open_etcd3(options) as transport:
        await transport.put(Put(key=b"/a", value=b""))


SCRIPT = """
import sys
try:
    import etcd3
except TypeError:
    pass  # protobuf 4 or newer: what we are here for
from fsm_saga.etcd.etcd3_shim import import_etcd3
etcd3 = import_etcd3()
assert import_etcd3() is etcd3
host, port = sys.argv[1].split(":")
client = etcd3.client(host=host, port=int(port), timeout=5)
client.put("/shim/a", "1")
assert client.get("/shim/a")[0] == b"1"
lease = client.lease(30)
assert lease.refresh()[0].TTL == 30
done, _ = client.transaction(
    compare=[client.transactions.version("/shim/b") == 0],
    success=[client.transactions.put("/shim/b", "2", lease)],
    failure=[],
)
assert done
events, cancel = client.watch_prefix("/shim/")
client.delete("/shim/b")
assert type(next(events)).__name__ == "DeleteEvent"
cancel()
assert [m.name for m in client.members]
assert client.status().version
assert list(client.list_alarms()) == []
lease.revoke()
with client.lock("shim", ttl=5):
    pass
client.close()
print("fine")
"""


def test_etcd3_itself_works_unmodified_with_the_protobuf_that_is_here(etcd: EtcdServer) -> None:
    need_etcd3()
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, etcd.address],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert run.stdout == "fine\n", run.stderr
