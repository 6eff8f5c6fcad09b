"""The HTTP API and the page: what they answer, whom they refuse, and that nothing put into them becomes HTML."""

from html.parser import HTMLParser

import pytest

from examples.toygres.__main__ import main
from examples.toygres.activity_types import ImageRecord, RecordState, ServerRecord
from examples.toygres.control_plane import ServerView
from examples.toygres.web.guard import BODY_BYTES_MAX
from examples.toygres.web.page import render
from tests.toygres.planes import Plane


@pytest.fixture(scope="module")
def shared(shared_site):
    """One control plane for all of these: they change nothing."""
    plane = Plane(shared_site)
    plane.start()
    yield plane
    plane.kill()


async def test_the_page_shows_servers_their_health_and_what_is_behind_them(plane):
    plane.start()
    server = await plane.finish("POST", "/api/servers", {"name": "orders"})
    async with plane.client() as client:
        actor = client.get_handle(server["actor_id"])
        async for status in actor.watch():
            if status.custom_status is not None:
                break

    status, page = plane.ask("GET", "/")

    assert status == 200
    for each in ("orders", "healthy", str(plane.record("orders").endpoint.port), server["server_id"]):
        assert each in page
    for instance in (f"create-{server['server_id']}", server["actor_id"], "create-semaphore", "system-pruner"):
        assert f'href="/api/orchestrations/{instance}/history"' in page
    events = plane.ask("GET", f"/api/orchestrations/create-{server['server_id']}/history")[1]
    assert events[0]["kind"] == "Started"
    assert events[-1]["kind"] == "Completed"
    assert plane.ask("POST", "/api/servers/orders/check")[1] == {"instance_id": server["actor_id"]}


async def test_a_password_is_in_no_history_no_log_and_no_answer(plane):
    plane.start()
    server = await plane.finish("POST", "/api/servers", {"name": "orders"})
    secret = plane.site.folder / "cluster" / "servers" / server["server_id"] / "pgpass"
    password = secret.read_text().strip().rpartition(":")[2]
    answers = [plane.ask("GET", path)[1] for path in ("/", "/api/servers", "/api/orchestrations")]
    plane.stop()

    stored = b"".join(each.read_bytes() for each in plane.site.folder.iterdir() if each.is_file())

    assert len(password) > 20
    assert secret.stat().st_mode & 0o077 == 0
    assert server["server_id"].encode() in stored
    assert password.encode() not in stored
    assert password not in str(answers)


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        (("POST", "/api/servers", {"name": "<b>"}), 400, "can't be a name"),
        (("POST", "/api/servers", {"name": "x" * 41}), 400, "40 at most"),
        (("POST", "/api/servers", {"name": "a", "size": 1}), 400, "unknown field `size`"),
        (("POST", "/api/servers", {"name": "a", "settings": {"search_path": "\0"}}), 400, "NUL"),
        (("POST", "/api/servers", []), 400, "Expected `object`"),
        (("POST", "/api/servers", {"name": "a", "image": "none"}), 404, "no image named 'none'"),
        (("POST", "/api/batches", {"prefix": "a", "count": 101}), 400, "1 to 100 servers"),
        (("POST", "/api/images", {"name": "a", "server": "none"}), 404, "no server named 'none'"),
        (("POST", "/api/servers/none/check", {}), 404, "no server named 'none'"),
        (("DELETE", "/api/servers/none", None), 404, "no server named 'none'"),
        (("DELETE", "/api/images/none", None), 404, "no image named 'none'"),
        (("GET", "/api/orchestrations/none/history", None), 404, "no instance 'none'"),
    ],
)
def test_what_can_not_be_is_refused_in_words(shared, request_, status, words):
    answered, answer = shared.ask(*request_)

    assert (answered, words in answer["error"]) == (status, True), answer


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1", "127.0.0.1:1", "localhost.evil.test", "[::1]"])
@pytest.mark.parametrize("path", ["/", "/api/servers", "/static/page.js"])
def test_a_foreign_name_for_this_machine_gets_no_answer(shared, host, path):
    assert shared.ask("GET", path, headers={"Host": host})[0] == 421


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.test"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://127.0.0.1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Length": str(BODY_BYTES_MAX + 1)}, 413),
    ],
)
def test_another_page_can_change_nothing(shared, headers, status):
    assert shared.ask("POST", "/api/servers", {"name": "orders"}, headers=headers)[0] == status
    if status == 403:
        assert shared.ask("DELETE", "/api/servers/orders", headers=headers)[0] == status


def test_the_own_page_may_ask(shared):
    own = {"Origin": f"http://127.0.0.1:{shared.port}", "Sec-Fetch-Site": "same-origin"}

    assert shared.ask("DELETE", "/api/servers/none", headers=own)[0] == 404


def test_a_port_that_is_taken_is_an_error_in_words(shared, site, capsys):
    code = main(["--folder", str(site.folder), "--port", str(shared.port)])

    assert code == 1
    assert "examples.toygres: " in capsys.readouterr().err


def test_nothing_is_taken_for_html():
    nasty = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>"
    record = ServerRecord(nasty, nasty, RecordState.FAILED, nasty, actor_id=nasty, error=nasty)
    image = ImageRecord(nasty, nasty, nasty, RecordState.READY)

    page = render([ServerView(record, None, None, None)], [image], [])

    tags = _Tags()
    tags.feed(page)
    assert "img" not in tags.seen
    assert tags.seen.count("script") == 1
    assert not any(name.startswith("on") for name in tags.attributes)
    assert page.count("alert(1)") > 5


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen = []
        self.attributes = []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += [name for name, _ in attrs]
