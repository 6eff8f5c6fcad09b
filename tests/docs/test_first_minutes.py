"""The README's first five minutes, as they are written, with the worker ended in between."""

import json
import re
import shlex
import signal
import subprocess

import pytest

from tests.cli.processes import Worker, perdure, worker
from tests.docs.pages import ROOT, Page

SECTION = re.compile(r"^## The first five minutes\n(?P<text>.*?)^## ", re.MULTILINE | re.DOTALL)
PAUSE_S = 3


def _commands() -> list[str]:
    found = SECTION.search(Page(ROOT / "README.md").text)
    assert found is not None
    return [line for block in re.findall(r"```sh\n(.*?)```", found["text"], re.DOTALL) for line in block.splitlines()]


def _packed(process: Worker) -> list[str]:
    return re.findall(r"packing order=order-1 item=(\w+)", "\n".join(process.log))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_order_goes_on_after_its_worker_was_ended(tmp_path, how):
    install, new, work, start, show = _commands()
    assert install == "pip install 'perdure[cli]'"
    make, enter = new.split(" && ")
    assert perdure(*shlex.split(make)[1:], folder=tmp_path).returncode == 0
    folder = tmp_path / shlex.split(enter)[1]
    module = folder / "shop" / "orchestrations" / "ship_order.py"
    text = module.read_text(encoding="utf-8")
    assert "PAUSE_S = 10\n" in text
    module.write_text(text.replace("PAUSE_S = 10\n", f"PAUSE_S = {PAUSE_S}\n"), encoding="utf-8")

    def run(command: str) -> subprocess.CompletedProcess[str]:
        return perdure(*shlex.split(command)[1:], folder=folder)

    arguments = shlex.split(work)[2:]
    with worker(*arguments, folder=folder) as first:
        first.hear("working on")
        assert run(start).stdout == "order-1\n"
        # When the second item is asked for, the first one is done for good.
        first.hear("packing order=order-1 item=lamp")
        first.send(how)
        first.end()
    stopped = run(show).stdout
    with worker(*arguments, folder=folder) as second:
        second.hear("working on")
        ended = run("perdure wait order-1")
        second.send(signal.SIGINT)
        assert second.end() == 0

    assert "What to do  No worker is running" in stopped or how is signal.SIGKILL
    assert json.loads(ended.stdout)["parcels"] == 3
    assert _packed(first) == ["book", "lamp"]
    assert _packed(second) in (["cup"], ["lamp", "cup"])
    assert "order-1 is completed" in run(show).stdout
