"""Certificates for servers on 127.0.0.1, from an authority that exists for one test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """Files in PEM.

    Attributes:
        ca: The authority that signed the others.
        server_cert: For 127.0.0.1 and localhost.
        client_cert: For a client, named ``fsm-saga``.
    """

    ca: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path


def make_certificates(directory: Path) -> Certificates:
    """Write an authority, a server's and a client's certificate into the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1", "localhost")
    client = authority.issue_cert("fsm-saga@example.org", common_name="fsm-saga")
    made = Certificates(
        ca=directory / "ca.pem",
        server_cert=directory / "server.pem",
        server_key=directory / "server.key",
        client_cert=directory / "client.pem",
        client_key=directory / "client.key",
    )
    authority.cert_pem.write_to_path(made.ca)
    for issued, cert, key in (
        (server, made.server_cert, made.server_key),
        (client, made.client_cert, made.client_key),
    ):
        issued.private_key_pem.write_to_path(key)
        for blob in issued.cert_chain_pems:
            blob.write_to_path(cert, append=True)
    return made
