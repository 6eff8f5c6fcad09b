"""A worker that was buried without knowing, and whose commit landed for its clients while the answer was lost."""

from perdure import ExternalEvent, OrchestrationContext, OutcomeUnknownError, Registry, orchestration
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from tests.runtime.engines import ClientOf, make_engine, run, start

GO = ExternalEvent[str]("go")


@orchestration(name="order")
async def order(ctx: OrchestrationContext) -> list[str]:
    return [await ctx.schedule_wait(GO), await ctx.schedule_wait(GO)]


class LosesAnAnswer(MemoryStorage):
    """Applies a commit and says that it does not know, once it is told to."""

    loses = False

    def commit(self, batch, /):
        committed = super().commit(batch)
        if self.loses:
            self.loses = False
            raise OutcomeUnknownError("the connection broke behind the commit")
        return committed


def test_what_a_client_sent_lands_once_and_the_client_hears_that_nobody_knows():
    clock = ManualClock()
    storage = LosesAnAnswer(clock)
    client = ClientOf()
    start(storage, "order", "order", start_at=clock.now_us() + 60_000_000)
    engine = make_engine(Registry(order), storage, clock, inbox=client.inbox)
    before = engine.worker

    storage.unregister(engine.worker)
    answers = client.raise_event("order", "go", "now")
    storage.loses = True
    run(engine)

    [answer] = answers
    assert isinstance(answer, OutcomeUnknownError)
    assert engine.worker != before
    sent = [message for message in storage.rows.by_id["order"].messages.values() if b"now" in message.body]
    assert len(sent) == 1
