"""The skill has the sections of the document that it ports, in their order, and its own tests pass."""

import importlib

from tests.docs.pages import ROOT, Page

SKILL = Page(ROOT / "skills" / "perdure-orchestrations" / "SKILL.md")
SECTIONS = """\
Perdure Durable Workflow Development
Overview
Core Concepts
Directory Structure
Naming Convention
Creating Activities
Activity Registration
Creating Orchestrations
Orchestration Registration
Scheduling Patterns
Basic Activity Scheduling
Activity with Retry and Backoff
Sub-Orchestration (Reusable Workflow)
Detached Orchestration (Background/Fire-and-Forget)
Deterministic Timing
Signal Handling with select2
Continue-as-New Pattern
Error Handling Patterns
Propagate Critical Errors
Best-Effort Operations (Log and Continue)
Versioning Strategy
Logging
Best Practices Summary
""".splitlines()


def test_sections_are_in_their_order():
    assert SKILL.headings == SECTIONS


def test_front_matter_names_the_skill():
    lines = SKILL.text.splitlines()

    assert lines[0] == lines[3] == "---"
    assert lines[1] == f"name: {SKILL.path.parent.name}"
    assert lines[2].startswith("description: ")


def test_its_tests_pass(make_runner, capsys):
    runner = make_runner(SKILL)

    runner.run()
    tests = {name: each for name, each in runner.names.items() if name.startswith("test_")}

    assert len(tests) == 3
    for test in tests.values():
        runner.call(test)


def test_old_and_new_version_stand_side_by_side(make_runner, capsys):
    runner = make_runner(SKILL)
    runner.run()
    from perdure import Registry  # noqa: PLC0415 - beside what uses it

    old = importlib.import_module("toygres_orchestrations.registry").registry
    new = importlib.import_module("toygres_orchestrations.orchestrations.create_instance_1_1_0")

    both = Registry(old, new)

    name = runner.names["CREATE_INSTANCE"]
    assert list(both.orchestrations[name]) == ["1.0.0", "1.1.0"]
