"""The hash of what a function does: it tells whether a frozen version was edited."""

import ast
import importlib.util
import sys
import textwrap

import pytest

from perdure._context import ActivityContext, OrchestrationContext
from perdure._definitions import activity, orchestration
from perdure._definitions.fingerprint import _joined

HEAD = """\
from perdure._definitions import orchestration
from perdure._context import OrchestrationContext


"""
PLAIN = """
@orchestration
async def checkout(ctx: OrchestrationContext, order: str) -> str:
    receipt = await ctx.schedule_activity("charge", order, returns=str)
    return f"{receipt!r}: {order:>10}"
"""


@pytest.fixture
def fingerprint(tmp_path):
    """The fingerprint of `checkout` in a module of this text."""
    made = iter(range(1000))

    def of(text):
        name = f"module_{next(made)}_for_fingerprints"
        path = tmp_path / f"{name}.py"
        path.write_text(HEAD + textwrap.dedent(text))
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.checkout.fingerprint

    return of


def test_it_is_a_short_hash(fingerprint):
    assert len(fingerprint(PLAIN)) == 32


def test_it_is_the_same_on_every_python(fingerprint):
    assert fingerprint(PLAIN) == "93d9398c117a455e588bd3cc6abd25a4", sys.version


def test_comments_docstrings_layout_and_options_do_not_count(fingerprint):
    assert fingerprint(PLAIN) == fingerprint(
        '''
        @orchestration(version="1.0.0", aliases=("buy",))
        async def checkout(
            ctx: OrchestrationContext,
            order: str,
        ) -> str:
            """Sell something."""
            # First the money.
            receipt = (await ctx.schedule_activity("charge", order, returns=str))

            return f"{receipt!r}: {order:>10}"
        '''
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"charge"', '"refund"'),
        ("order: str", "order: int"),
        ("order: str", "order: str = ''"),
        ("return f", "yield_ = f"),
        ("{receipt!r}", "{receipt!s}"),
        (">10", ">11"),
        ("returns=str", "returns=bytes"),
    ],
)
def test_every_change_of_code_counts(fingerprint, old, new):
    assert fingerprint(PLAIN.replace(old, new)) != fingerprint(PLAIN)


def test_a_nested_function_and_its_docstring(fingerprint):
    nested = PLAIN.replace(
        "    receipt", '    def price():\n        """What it costs."""\n        return 5\n\n    receipt'
    )
    without = nested.replace('        """What it costs."""\n', "")
    assert fingerprint(nested) == fingerprint(without) != fingerprint(PLAIN)


def test_methods_and_local_functions_have_one_too():
    class Payments:
        @activity
        async def charge(self, ctx: ActivityContext) -> str:  # noqa: ARG002 - what makes it a method activity
            return """text
at the left margin"""

    @activity
    async def charge(ctx: ActivityContext) -> str:
        return "text"

    assert Payments.charge.fingerprint
    assert charge.fingerprint
    assert Payments.charge.fingerprint != charge.fingerprint
    assert Payments().charge.fingerprint == Payments.charge.fingerprint


def test_without_source_there_is_none():
    module = {"OrchestrationContext": OrchestrationContext, "orchestration": orchestration, "__name__": "typed_in"}
    code = compile(textwrap.dedent(PLAIN), "<typed in>", "exec")
    exec(code, module)  # noqa: S102 - what a REPL does
    assert module["checkout"].fingerprint is None


def test_a_lambda_has_none():
    assert activity(name="one")(lambda: 1).fingerprint is None


def test_texts_in_an_f_string_count_as_one_however_a_release_of_python_cuts_them():
    cut = [ast.Constant("a"), ast.Constant(""), ast.Constant("b"), ast.Name("x"), ast.Constant("c")]
    assert [each if isinstance(each, str) else each.id for each in _joined(cut)] == ["ab", "x", "c"]
