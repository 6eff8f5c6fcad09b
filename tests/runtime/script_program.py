"""A script for tests that interrupt one: `python script_program.py URL`."""

import sys

from worker_program import hanging, registry

from perdure import run

if __name__ == "__main__":
    run(hanging, url=sys.argv[1], registry=registry, instance_id="script")
