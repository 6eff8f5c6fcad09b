"""batch-create: several servers at once, and how far they are."""

import asyncio
from dataclasses import replace

from examples.toygres import names
from examples.toygres.orchestrations.create_instance import create_instance
from examples.toygres.types import BatchCreateInput, BatchProgress, CreateInstanceInput
from perdure import OrchestrationContext, OrchestrationError, orchestration

BATCH_MAX = 100
"""Servers of one batch."""


@orchestration(name=names.BATCH_CREATE, version="1.0.0")
async def batch_create(ctx: OrchestrationContext, request: BatchCreateInput) -> BatchProgress:
    """Start a create-instance for each, and publish each that ends. They go on if this one is cancelled."""

    async def create(name: str) -> tuple[str, str | None]:
        server_id = f"{name}-{ctx.new_guid().hex[:6]}"
        creation = ctx.schedule_sub_orchestration(
            create_instance,
            CreateInstanceInput(server_id, name, settings=request.settings, pace=request.pace),
            instance_id=names.creation_id(server_id),
            on_close="abandon",
        )
        try:
            await creation
        except OrchestrationError as error:
            return name, str(error)
        return name, None

    wanted = [f"{request.prefix}-{number}" for number in range(1, request.count + 1)]
    progress = BatchProgress(request.count)
    ctx.set_custom_status(progress)
    for creation in asyncio.as_completed([asyncio.create_task(create(name)) for name in wanted]):
        match await creation:
            case name, None:
                progress = replace(progress, created=[*progress.created, name])
            case name, error:
                progress = replace(progress, failed={**progress.failed, name: str(error)})
        ctx.set_custom_status(progress)
    return progress
