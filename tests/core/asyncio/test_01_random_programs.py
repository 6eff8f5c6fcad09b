"""Random asyncio programs ask for the same, turn by turn, in processes with other addresses and another hash seed."""

import subprocess
import sys

from tests.core.asyncio.programs import report

PROGRAMS = 60
SCRIPT = "from tests.core.asyncio.programs import main; main()"


def test_random_programs_do_the_same_in_a_process_with_other_addresses_and_hashes() -> None:
    command = [sys.executable, "-c", SCRIPT, "0", str(PROGRAMS), "3000"]
    env = {"PYTHONHASHSEED": "7", "PYTHONPATH": "src:."}
    pipe = subprocess.PIPE

    with subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True) as elsewhere:
        here = [report(seed) for seed in range(PROGRAMS)]
        printed, complaints = elsewhere.communicate()

    assert (elsewhere.returncode, complaints) == (0, "")
    assert printed.splitlines() == here
