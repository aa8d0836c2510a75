"""HolmesGPT itself, once for all tests, and the backends behind the tools."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from consumer.answers import Server
from consumer.holmes import Holmes, interpreter
from support.lacking import lack
from support.tls import server_tls


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's certificate for every Service, and the file with who signed it."""
    authority = trustme.CA()
    context = server_tls(authority, host="*.monitoring.svc.cluster.local")
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return context, path


@pytest.fixture(scope="session")
def holmes(tmp_path_factory: pytest.TempPathFactory, certificates: tuple[ssl.SSLContext, Path]) -> Iterator[Holmes]:
    if not interpreter().exists():
        lack("HolmesGPT is not installed here; `hack/consumer` installs it into the cache")
    with Holmes(tmp_path_factory.mktemp("holmes"), {"REQUESTS_CA_BUNDLE": str(certificates[1])}) as process:
        yield process


@pytest.fixture(scope="session")
def plain() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(scope="session")
def secure(certificates: tuple[ssl.SSLContext, Path]) -> Iterator[Server]:
    with Server(certificates[0]) as server:
        yield server
