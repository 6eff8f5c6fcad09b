"""Resets and forks on PostgreSQL: what the client's tests say of the other stores is so here, too."""

import pytest

from tests.client import test_fork as forks
from tests.client import test_reset as resets

pytestmark = pytest.mark.usefixtures("_clean")


@pytest.fixture
def _clean():
    for module in (forks, resets):
        module.ran.clear()
        module.gates.clear()
    resets.plan.update(second="tea", child="first", fails=False)


@pytest.mark.parametrize(
    "behaviour",
    [
        resets.test_what_came_later_is_dropped_and_said_and_asked_for_again_by_the_new_code,
        resets.test_one_that_has_completed_goes_on_and_reads_its_events_again,
        resets.test_an_activity_from_before_goes_on_or_runs_again_with_the_same_key,
        resets.test_children_that_were_asked_for_later_are_removed_and_earlier_ones_are_told_of,
        resets.test_timers_and_places_that_were_open_are_there_again,
        resets.test_one_that_was_suspended_stays_so,
        forks.test_it_has_the_others_past_and_a_future_of_its_own,
        forks.test_it_waits_until_it_is_resumed_and_runs_what_was_open_with_keys_of_its_own,
        forks.test_a_worker_that_comes_later_replays_it,
        forks.test_where_a_child_is_open_it_can_not_begin_and_of_one_that_has_ended_it_is_told,
    ],
    ids=lambda behaviour: behaviour.__name__.removeprefix("test_"),
)
async def test_it_is_so_on_postgres(behaviour, url):
    await behaviour(url)
