"""Each execution has context variables of its own: what the outside world has set is not seen inside."""

from contextvars import ContextVar
from decimal import Decimal, localcontext

from perdure import OrchestrationContext, orchestration
from tests.core.harness import Conversation, kinds

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


def test_a_precision_set_outside_is_not_seen() -> None:
    @orchestration
    async def dividing(ctx: OrchestrationContext) -> str:
        return str(Decimal(1) / 3)

    with localcontext(prec=5):
        (end,) = Conversation(dividing).start()

    assert kinds([end]) == ['done "0.' + "3" * 28 + '"']


def test_what_one_execution_sets_another_does_not_see() -> None:
    @orchestration
    async def setting(ctx: OrchestrationContext) -> str:
        before = tenant.get()
        tenant.set(ctx.instance_id)
        await ctx.schedule_activity("a")
        return f"{before}, {tenant.get()}"

    tenant.set("outside")
    one, other = Conversation(setting), Conversation(setting)
    one.start()
    other.start()

    assert kinds(one.complete(2)) == ['done "nobody, order-7"']
    assert kinds(other.complete(2)) == ['done "nobody, order-7"']
    assert tenant.get() == "outside"
