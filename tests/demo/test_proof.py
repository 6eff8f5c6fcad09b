"""The proof finds what is wrong: books that are in order pass, and every planted violation is named."""

import sqlite3
from contextlib import closing

import pytest

from examples.demo.ledger import Effect, Kind, Ledger, NotInStockError
from examples.demo.orders import Order, Outcome
from examples.demo.proof import compare, find_violations, read_books

STOCK = {"Ceramic mug": 10, "Office chair": 5, "Brass telescope": 0}

SHIPPED = Order("A1", "Mei Chen", "Ceramic mug", 2, 2_900, "4242", "Ada Obi")
REFUSED = Order("A2", "Sven Berg", "Office chair", 1, 54_900, "4242", "Kofi Mensah")
SOLD_OUT = Order("A3", "Rosa Morales", "Brass telescope", 1, 41_900, "4242", "Ada Obi")
ORDERS = [SHIPPED, REFUSED, SOLD_OUT]


def _effect(order, kind, *, key="", units=0, cents=0, note=""):
    key = key or f"{order.id}-{kind}"
    return Effect(key=key, order_id=order.id, kind=kind, item=order.item, units=units, cents=cents, note=note)


def _make(ledger, effect):
    return ledger.apply(effect, ledger.note_attempt(effect, 1))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path):
    """The books of a day on which all went well."""
    ledger = Ledger.create(path, STOCK)
    for effect in (
        _effect(SHIPPED, Kind.RESERVE, units=-2),
        _effect(SHIPPED, Kind.CHARGE, cents=2_900),
        _effect(SHIPPED, Kind.SHIP),
        _effect(SHIPPED, Kind.MAIL, note=Outcome.SHIPPED),
        _effect(REFUSED, Kind.RESERVE, units=-1),
        _effect(REFUSED, Kind.CHARGE, cents=54_900),
        _effect(REFUSED, Kind.REFUND, cents=-54_900),
        _effect(REFUSED, Kind.RELEASE, units=1),
        _effect(REFUSED, Kind.MAIL, note=Outcome.REFUSED),
        _effect(SOLD_OUT, Kind.MAIL, note=Outcome.OUT_OF_STOCK),
    ):
        assert _make(ledger, effect)
    yield ledger
    ledger.close()


def _found(path):
    return find_violations(read_books(path), ORDERS, STOCK)


def test_books_in_order_have_no_violations(ledger, path):
    assert _found(path) == []


def test_the_same_key_again_changes_nothing_but_the_list_of_attempts(ledger, path):
    again = _effect(SHIPPED, Kind.CHARGE, cents=2_900)

    was_new = _make(ledger, again)

    books = read_books(path)
    assert not was_new
    assert _found(path) == []
    assert (books.attempts, books.repeated, books.already_done) == (11, 1, 1)


def test_a_charge_under_another_key_is_found_as_a_double_effect(ledger, path):
    _make(ledger, _effect(SHIPPED, Kind.CHARGE, key="another", cents=2_900))

    found = _found(path)

    assert "A1: charge happened 2 times" in found
    assert "5800 cents are in the till, and 2900 cents' worth was shipped" in found
    assert read_books(path).happened_once == 9


def test_a_second_parcel_is_found(ledger, path):
    _make(ledger, _effect(SHIPPED, Kind.SHIP, key="another"))

    assert _found(path) == ["A1: ship happened 2 times"]


def test_a_lost_order_is_found(ledger, path):
    lost = Order("A4", "Yusuf Demir", "Ceramic mug", 1, 1_450, "4242", "Ada Obi")

    found = find_violations(read_books(path), [*ORDERS, lost], STOCK)

    assert found[0] == "A4: lost, its customer never heard how it ended"
    assert "A4: ship never happened" in found


def test_an_order_that_nobody_placed_is_found(ledger, path):
    found = find_violations(read_books(path), ORDERS[:2], STOCK)

    assert found == ["A3: effects of an order that nobody placed"]


def test_an_end_that_the_world_does_not_explain_is_found(ledger, path):
    impatient = Order("A4", "Yusuf Demir", "Office chair", 1, 54_900, "4242", "Ada Obi")
    for effect in (
        _effect(impatient, Kind.RESERVE, units=-1),
        _effect(impatient, Kind.CHARGE, cents=54_900),
        _effect(impatient, Kind.REFUND, cents=-54_900),
        _effect(impatient, Kind.RELEASE, units=1),
        _effect(impatient, Kind.MAIL, note=Outcome.TIMED_OUT),
    ):
        _make(ledger, effect)

    found = find_violations(read_books(path), [*ORDERS, impatient], STOCK)

    assert found == ["A4: ended as 'not approved in time', and should have as 'shipped'"]


def test_a_wrong_amount_is_found(ledger, path):
    _make(ledger, _effect(REFUSED, Kind.SHIP, units=-1))

    found = _found(path)

    assert "A2: ship should not have happened" in found
    assert "A2: ship changed -1 units and 0 cents" in found


@pytest.mark.parametrize(
    ("tampering", "words"),
    [
        ("UPDATE stock SET units = units - 1 WHERE item = 'Ceramic mug'", "Ceramic mug: 10 in the morning, 7 left"),
        ("UPDATE till SET cents = cents + 1", "2901 cents are in the till"),
    ],
)
def test_a_balance_that_does_not_follow_from_the_effects_is_found(ledger, path, tampering, words):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(tampering)

    assert any(words in violation for violation in _found(path))


@pytest.mark.parametrize("table", ["attempts", "effects"])
def test_what_was_written_down_can_neither_change_nor_go(ledger, path, table):
    statements = {
        "attempts": ("UPDATE attempts SET attempt = 2", "DELETE FROM attempts"),
        "effects": ("UPDATE effects SET cents = 0", "DELETE FROM effects"),
    }
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements[table]:
            with pytest.raises(sqlite3.IntegrityError, match=f"{table} (never change|are kept)"):
                connection.execute(statement)


def test_the_shelf_gives_no_more_than_it_has(ledger, path):
    with pytest.raises(NotInStockError, match="fewer than 11 of 'Ceramic mug' are left"):
        _make(ledger, _effect(SHIPPED, Kind.RESERVE, key="another", units=-11))

    assert _found(path) == []


def test_perdure_saying_something_else_is_found(ledger, path):
    results = {"A1": Outcome.SHIPPED, "A2": Outcome.SHIPPED}

    found = compare(read_books(path), ORDERS, results)

    assert found == [
        "A2: the books say 'refused by a manager', Perdure says 'shipped'",
        "A3: the books say 'out of stock', Perdure says nothing",
    ]
