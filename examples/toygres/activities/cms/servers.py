"""Servers in the CMS."""

from examples.toygres import names
from examples.toygres.activities import QUICKLY
from examples.toygres.activity_types import (
    HealthReport,
    ServerFailed,
    ServerRecord,
    ServerReservation,
    ServerStarted,
)
from examples.toygres.resources import Resources
from perdure import ActivityContext, activity


@activity(name=names.RESERVE_SERVER, retry=QUICKLY)
def reserve_server(ctx: ActivityContext, reservation: ServerReservation) -> None:
    """Take the name; raises `NameTakenError`."""
    ctx.state(Resources).cms.reserve_server(reservation, ctx.instance_id)


@activity(name=names.GET_SERVER, retry=QUICKLY)
def get_server(ctx: ActivityContext, server_id: str) -> ServerRecord | None:
    return ctx.state(Resources).cms.get_server(server_id)


@activity(name=names.MARK_RUNNING, retry=QUICKLY)
def mark_running(ctx: ActivityContext, server: ServerStarted) -> None:
    ctx.state(Resources).cms.mark_running(server)


@activity(name=names.MARK_FAILED, retry=QUICKLY)
def mark_failed(ctx: ActivityContext, failure: ServerFailed) -> None:
    ctx.state(Resources).cms.mark_failed(failure.server_id, failure.error)


@activity(name=names.MARK_DELETING, retry=QUICKLY)
def mark_deleting(ctx: ActivityContext, server_id: str) -> ServerRecord | None:
    return ctx.state(Resources).cms.mark_deleting(server_id)


@activity(name=names.FORGET_SERVER, retry=QUICKLY)
def forget_server(ctx: ActivityContext, server_id: str) -> None:
    """Free the name."""
    ctx.state(Resources).cms.forget_server(server_id)


@activity(name=names.RECORD_HEALTH, retry=QUICKLY)
def record_health(ctx: ActivityContext, report: HealthReport) -> None:
    """Keep what an actor saw; the key makes it one row, however often this runs."""
    ctx.state(Resources).cms.record_health(report.server_id, ctx.idempotency_key, report.check)
