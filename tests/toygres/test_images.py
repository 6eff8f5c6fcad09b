"""An image of a running server, and a server of an image."""

import pytest

from examples.toygres.types import Step
from perdure import OrchestrationError
from tests.toygres.planes import RESULT_S, reached


async def test_an_image_is_made_under_a_kill_and_restored_when_its_server_is_gone(plane):
    plane.start()
    await plane.finish("POST", "/api/servers", {"name": "orders"})
    with plane.connect("orders") as connection:
        connection.execute("CREATE TABLE orders AS SELECT id, id * 100 AS cents FROM generate_series(1, 1000) AS id")
    async with plane.client() as client:
        making = client.get_handle(plane.begin("POST", "/api/images", {"name": "nightly", "server": "orders"}))
        await reached(making, lambda status: status.custom_status in {Step.BACKING_UP, Step.IMAGE_READY})
        plane.kill()
        plane.start()
        image = await making.result(timeout=RESULT_S)
    assert image["size_bytes"] > 1_000_000
    (shown,) = plane.ask("GET", "/api/images")[1]
    assert (shown["name"], shown["server_name"], shown["state"]) == ("nightly", "orders", "ready")
    await plane.finish("DELETE", "/api/servers/orders")

    await plane.finish("POST", "/api/servers", {"name": "copy", "image": "nightly"})

    with plane.connect("copy") as connection:
        assert connection.execute("SELECT count(*), sum(cents) FROM orders").fetchone() == (1000, 50_050_000)
    await plane.finish("DELETE", "/api/images/nightly")
    with plane.connect("copy") as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (1000,)
    await plane.finish("DELETE", "/api/servers/copy")
    assert plane.leftovers() == []


async def test_an_image_that_can_not_be_made_leaves_nothing(plane):
    plane.start()
    await plane.finish("POST", "/api/servers", {"name": "orders"})
    before = plane.holdings()
    with plane.connect("orders") as connection:
        # pg_basebackup is let in no more.
        connection.execute("ALTER USER postgres NOREPLICATION NOLOGIN")
    async with plane.client() as client:
        making = client.get_handle(plane.begin("POST", "/api/images", {"name": "nightly", "server": "orders"}))

        with pytest.raises(OrchestrationError, match="image 'nightly' could not be made(.|\n)*not permitted to log in"):
            await making.result(timeout=RESULT_S)

    assert plane.holdings() == before
    assert plane.ask("POST", "/api/servers", {"name": "copy", "image": "nightly"})[0] == 404
