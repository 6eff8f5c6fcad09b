"""The durable name of a definition: only the top package and the function's name count."""

import importlib.machinery
import subprocess
import sys
import types

import pytest

from perdure._context import ActivityContext, OrchestrationContext
from perdure._definitions import activity, orchestration, version_key
from perdure._definitions.naming import default_name, package_of
from perdure.errors import RegistrationError

SCRIPT = """
from perdure._definitions import activity, orchestration
from perdure._context import OrchestrationContext
@activity
async def send_mail() -> None: ...
@orchestration
async def sign_up(ctx: OrchestrationContext) -> None: ...
print(send_mail.name, sign_up.name)
"""
NAMES = "shop::activity::send-mail shop::orchestration::sign-up"


def a_function(module, qualname):
    """A function as if defined there."""
    function = types.FunctionType((lambda: None).__code__, {})
    function.__module__, function.__qualname__, function.__name__ = module, qualname, qualname.rpartition(".")[2]
    return function


def python(*arguments, **given):
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, check=True, **given)
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("module", "qualname", "name"),
    [
        ("shop.orders.payments", "charge", "shop::activity::charge"),
        ("shop", "charge_the_card", "shop::activity::charge-the-card"),
        ("my_shop.orders", "charge", "my-shop::activity::charge"),
        ("shop", "Payments.charge_card", "shop::activity::Payments-charge-card"),
        ("shop", "test_it.<locals>.charge", "shop::activity::charge"),
        ("shop", "test_it.<locals>.Payments.charge", "shop::activity::Payments-charge"),
        (None, "charge", "main::activity::charge"),
    ],
)
def test_the_default_name_is_package_kind_and_function(module, qualname, name):
    assert default_name(a_function(module, qualname), "activity") == name


def test_a_given_name_is_taken_as_it_is():
    @activity(name="shop::activity::charge", aliases=("old::charge", "older::charge"))
    def charge_v2() -> None: ...

    assert charge_v2.name == "shop::activity::charge"
    assert charge_v2.aliases == ("old::charge", "older::charge")


def test_a_script_counts_as_the_module_it_would_be(tmp_path):
    (tmp_path / "shop.py").write_text(SCRIPT)
    assert python(tmp_path / "shop.py") == NAMES
    assert python("-m", "shop", cwd=tmp_path) == NAMES
    assert python("-c", "import shop", cwd=tmp_path) == NAMES


def test_a_package_that_is_run_counts_as_itself(tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__main__.py").write_text(SCRIPT)
    assert python("-m", "shop", cwd=tmp_path) == NAMES
    assert python("shop", cwd=tmp_path) == NAMES


def test_a_module_of_a_package_that_is_run_counts_as_the_package(tmp_path):
    (tmp_path / "shop" / "workers").mkdir(parents=True)
    (tmp_path / "shop" / "workers" / "main.py").write_text(SCRIPT)
    assert python("-m", "shop.workers.main", cwd=tmp_path) == NAMES


def test_what_was_typed_in_is_in_main():
    assert python("-c", SCRIPT) == NAMES.replace("shop", "main")
    assert python("-", input=SCRIPT) == NAMES.replace("shop", "main")


@pytest.mark.parametrize(
    ("file", "spec", "package"),
    [
        ("/srv/shop.py", None, "shop"),
        ("/srv/shop.py", "shop", "shop"),
        ("/srv/shop/workers/main.py", "shop.workers.main", "shop"),
        ("/srv/shop/__main__.py", "shop.__main__", "shop"),
        ("/srv/shop/__main__.py", "__main__", "shop"),
        ("/srv/shop.pyz/__main__.py", "__main__", "shop"),
        (None, None, "main"),
    ],
)
def test_the_main_module_of_a_spawned_process_counts_as_that_of_its_parent(monkeypatch, file, spec, package):
    main = types.ModuleType("__mp_main__")
    main.__file__ = file
    main.__spec__ = spec and importlib.machinery.ModuleSpec(spec, None)
    monkeypatch.setitem(sys.modules, "__mp_main__", main)
    assert package_of("__mp_main__") == package


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"name": ""}, "activity must not be empty"),
        ({"name": "a\nb"}, "has the character U\\+000A"),
        ({"name": "x" * 257}, "has 257 bytes"),
        ({"name": 5}, "activity must be a string, not 5"),
        ({"aliases": "old"}, "aliases is the string 'old': write a tuple"),
        ({"aliases": ("",)}, "alias must not be empty"),
        ({"tag": ""}, "tag must not be empty"),
    ],
)
def test_a_bad_name_is_refused_with_the_place_of_the_function(options, complaint):
    with pytest.raises(RegistrationError, match=rf"charge \(.*test_names, line \d+\).*{complaint}"):

        @activity(**options)
        def charge() -> None: ...


def test_a_lambda_needs_a_name():
    with pytest.raises(RegistrationError, match="no name of its own: pass name="):
        activity(lambda: None)
    assert activity(name="nothing")(lambda: None).name == "nothing"


@pytest.mark.parametrize("version", ["1.0.0", "0.0.0", "10.20.30", "1.0.0-rc.1", "1.0.0-alpha-x.7", "1.0.0+build.5"])
def test_a_semantic_version_is_taken(version):
    @orchestration(version=version)
    async def checkout(ctx: OrchestrationContext) -> None: ...

    assert checkout.version == version


@pytest.mark.parametrize(
    "version", ["1", "1.0", "v1.0.0", "1.0.0.0", "01.0.0", "1.0.0-", "1.0.0-01", "", "1.0.0 ", None, 1.0]
)
def test_anything_else_is_refused(version):
    with pytest.raises(RegistrationError, match="checkout .*version is .* it must be a semantic version"):

        @orchestration(version=version)
        async def checkout(ctx: OrchestrationContext) -> None: ...


def test_a_version_has_a_length_limit():
    with pytest.raises(RegistrationError, match="at most 128 characters"):
        version_key("1.0." + "9" * 125)


def test_versions_are_ordered_as_semver_says():
    in_order = [
        "0.9.9", "1.0.0-1", "1.0.0-2", "1.0.0-10", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta",
        "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.0+build", "1.0.1", "1.2.0", "1.10.0", "2.0.0",
    ]  # fmt: skip
    in_reverse = in_order[::-1]
    assert sorted(in_reverse, key=version_key) == in_order


def test_a_definition_shows_as_its_function_does():
    @activity
    async def charge(ctx: ActivityContext, order: str) -> str:
        """Charge it."""
        return order

    assert (charge.__name__, charge.__doc__, charge.__module__) == ("charge", "Charge it.", __name__)
    assert repr(charge) == f"<activity {charge.name}>"

    @orchestration
    async def checkout(ctx: OrchestrationContext) -> None: ...

    assert repr(checkout) == f"<orchestration {checkout.name} 1.0.0>"
