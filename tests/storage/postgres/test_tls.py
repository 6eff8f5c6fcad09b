"""Connections over TLS: used when they are asked for, and refused when the server can't prove who it is."""

import pytest

from perdure._work import APPLIED
from perdure.errors import StorageError
from perdure.storage.postgres import PostgresStorage
from tests.storage.postgres.tls import Certificate, TlsProxy
from tests.storage.postgres.work import batch, register, start


@pytest.fixture
def certificate(tmp_path):
    return Certificate(tmp_path / "tls")


@pytest.fixture
def proxy(server, certificate):
    proxy = TlsProxy(server.port, certificate)
    yield proxy
    proxy.close()


@pytest.fixture
def encrypted(proxy, server):
    """The URL of a store behind the proxy."""
    schema = server.take_schema()

    def url(**options):
        at_proxy = server.url(port=proxy.port, schema=schema, **options)
        return at_proxy.replace("127.0.0.1", "localhost")

    yield url
    server.give_schema_back(schema)


def test_all_that_a_store_does_goes_over_it(encrypted, proxy, certificate):
    storage = PostgresStorage(encrypted(sslmode="verify-full", sslrootcert=str(certificate.path)))
    worker = register(storage)
    assert storage.commit(batch(start("order"), worker=worker, claim=True)).outcomes == (APPLIED,)
    assert storage.get("order").id == "order"
    assert storage.heartbeat(worker)
    storage.close()
    # One writes, one reads, one beats, and one listens.
    assert proxy.connections >= 3


def test_a_server_that_can_not_prove_who_it_is_gets_no_password(encrypted, tmp_path):
    other = Certificate(tmp_path / "other")
    with pytest.raises(StorageError, match="prove who it is"):
        PostgresStorage(encrypted(sslmode="verify-full", sslrootcert=str(other.path)))


def test_a_name_that_is_not_in_the_certificate_is_refused(encrypted, certificate):
    url = encrypted(sslmode="verify-full", sslrootcert=str(certificate.path)).replace("localhost", "127.0.0.1")
    with pytest.raises(StorageError, match="prove who it is"):
        PostgresStorage(url)


def test_a_server_without_tls_is_told(server):
    with pytest.raises(StorageError, match="does not speak TLS"):
        PostgresStorage(server.url(sslmode="require"))
