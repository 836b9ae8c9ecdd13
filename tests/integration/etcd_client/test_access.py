"""Passwords, tokens that expire, rights, and encrypted connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from fsm_saga.etcd.channel import EtcdOptions, Tls
from fsm_saga.etcd.client import EtcdClient
from fsm_saga.etcd.data import Put, Range, WatchRequest, prefix_end
from fsm_saga.etcd.errors import (
    EtcdUnavailableError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from fsm_saga.etcd.session import open_session
from fsm_saga.etcd.watch import Watch
from tests.support.servers.certificates import Certificates
from tests.support.servers.etcd import EtcdServer

pytestmark = pytest.mark.timeout(60)

PASSWORD = "correct horse"


def client_of(server: EtcdServer, user: str | None, password: str | None = PASSWORD) -> EtcdClient:
    options = EtcdOptions(
        endpoints=(server.address,), user=user, password=password, try_timeout_s=5
    )
    return EtcdClient(options)


async def test_passwords_and_tokens(new_etcd: Callable[..., EtcdServer]) -> None:
    """One server for all of it: to start one and to check a password takes time."""
    server = new_etcd(password=PASSWORD, token_ttl_s=1)
    async with client_of(server, "root") as root:
        await root.put(Put(key=b"/a", value=b"1"))
        await a_token_that_expired_is_renewed_once_for_all(root)
    await without_the_right_password_nothing_is_done(server)
    await rights_are_those_of_the_user(server)


async def a_token_that_expired_is_renewed_once_for_all(root: EtcdClient) -> None:
    renewals = 0
    authenticate = root._tokens._authenticate
    assert authenticate is not None

    async def counted() -> str:
        nonlocal renewals
        renewals += 1
        return await authenticate()

    root._tokens._authenticate = counted
    async with open_session(root, ttl_s=30) as session:
        request = WatchRequest(key=b"/w", range_end=prefix_end(b"/w"))
        async with Watch(root, request) as watch:
            await watch.start()
            await asyncio.sleep(3.2)  # etcd looks once a second for tokens that were not used
            puts = [root.put(Put(key=b"/w%d" % each, value=b"")) for each in range(20)]
            await asyncio.gather(*puts)
            seen = 0
            async with asyncio.timeout(5):
                while seen < 20:
                    seen += len((await anext(watch)).events)
        assert session.is_alive
    assert renewals == 1


async def without_the_right_password_nothing_is_done(server: EtcdServer) -> None:
    for user, password in (("root", "wrong"), ("nobody", PASSWORD), (None, None)):
        async with client_of(server, user, password) as refused:
            with pytest.raises(UnauthenticatedError) as caught:
                await refused.put(Put(key=b"/b", value=b""))
            assert password is None or password not in str(caught.value)
            with pytest.raises(UnauthenticatedError):
                await refused.range(Range(key=b"/b"))
            with pytest.raises(UnauthenticatedError):
                await anext(Watch(refused, WatchRequest(key=b"/b")))
    assert server.get("/b") is None
    assert PASSWORD not in repr(EtcdOptions(endpoints=("a:1",), user="root", password=PASSWORD))


async def rights_are_those_of_the_user(server: EtcdServer) -> None:
    server.call("auth/user/add", {"name": "reader", "password": PASSWORD})
    server.call("auth/role/add", {"name": "reads"})
    server.call("auth/role/grant", {"name": "reads", "perm": {"permType": "READ", "key": "L2E="}})
    server.call("auth/user/grant", {"user": "reader", "role": "reads"})
    async with client_of(server, "reader") as reader:
        assert (await reader.range(Range(key=b"/a"))).first is not None
        with pytest.raises(PermissionDeniedError):
            await reader.put(Put(key=b"/a", value=b"2"))
        with pytest.raises(PermissionDeniedError):
            await reader.range(Range(key=b"/b"))
        async with asyncio.timeout(5):
            with pytest.raises(PermissionDeniedError):
                await anext(Watch(reader, WatchRequest(key=b"/b")))


async def test_a_user_is_no_hindrance_where_etcd_asks_for_none(etcd: EtcdServer) -> None:
    async with client_of(etcd, "root") as client:
        await client.range(Range(key=b"/a"))


async def test_an_encrypted_connection_needs_the_authority_and_our_own_certificate(
    new_etcd: Callable[..., EtcdServer], certificates: Certificates
) -> None:
    server = new_etcd(tls=certificates)
    ours = Tls(ca=certificates.ca, cert=certificates.client_cert, key=certificates.client_key)
    options = EtcdOptions(endpoints=(server.address,), tls=ours, try_timeout_s=5)
    async with EtcdClient(options) as client:
        written = await client.put(Put(key=b"/a", value=b"1"))
        async with Watch(client, WatchRequest(key=b"/a", revision=written.revision)) as watch:
            assert len((await anext(watch)).events) == 1
    by_name = Tls(
        ca=certificates.ca,
        cert=certificates.client_cert,
        key=certificates.client_key,
        server_name="localhost",
    )
    async with EtcdClient(EtcdOptions(endpoints=(server.address,), tls=by_name)) as client:
        await client.range(Range(key=b"/a"))
    strange = Tls(
        ca=certificates.ca,
        cert=certificates.client_cert,
        key=certificates.client_key,
        server_name="etcd.example.org",
    )
    for wrong in (None, Tls(ca=certificates.ca), strange):
        async with EtcdClient(EtcdOptions(endpoints=(server.address,), tls=wrong)) as client:
            with pytest.raises(EtcdUnavailableError):
                await client.range(Range(key=b"/a"), timeout_s=0.5)
