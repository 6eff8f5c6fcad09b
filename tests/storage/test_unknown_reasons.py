"""Why an instance is held whose code nobody has: what is missing, what is registered near it, what to do."""

from perdure.storage.base import unknown_activity_reason, unknown_reason

CURE = ": start one whose registry has it, under that name or as an alias, or terminate the instance"


def test_it_names_the_activity_and_says_what_to_do():
    assert unknown_activity_reason("shop::charge", []) == f"no live worker has activity 'shop::charge'{CURE}"


def test_it_names_the_version_unless_that_is_open():
    assert unknown_reason("order", "2.0.0", []) == f"no live worker has orchestration 'order' version 2.0.0{CURE}"
    assert unknown_reason("order", None, []) == f"no live worker has orchestration 'order'{CURE}"


def test_it_names_what_is_near_and_nothing_else():
    known = ["shop::charge", "shop::refund", "elsewhere::settle_invoices", "shop::charges"]
    near = " (registered near it: 'shop::charge', 'shop::charges', 'shop::refund')"
    assert unknown_activity_reason("shop::chrage", known) == f"no live worker has activity 'shop::chrage'{near}{CURE}"


def test_what_every_worker_brings_along_is_not_near():
    known = ["perdure::activity::charge", "perdure::orchestration::order@1.0.0"]
    assert unknown_activity_reason("shop::activity::charge", known).endswith(f"'shop::activity::charge'{CURE}")
    assert "near" not in unknown_reason("shop::orchestration::order", None, known)


def test_it_names_three_at_most_whatever_their_order():
    known = [f"charge-{number}" for number in range(9)]
    reason = unknown_activity_reason("charge", known)
    assert reason.count("charge-") == 3
    assert unknown_activity_reason("charge", reversed([*known, *known])) == reason


def test_other_versions_are_near():
    reason = unknown_reason("order", "2.0.0", ["order@1.0.0", "invoice@2.0.0"])
    assert "(registered near it: 'order@1.0.0')" in reason


def test_while_the_version_is_open_names_are_compared():
    reason = unknown_reason("ordre", None, ["order@1.0.0", "order@2.0.0"])
    assert "(registered near it: 'order')" in reason
