"""The collectors, read as a scrape reads them."""

import asyncio
import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from perdure import (
    ExternalEvent,
    NonRetryableError,
    OrchestrationContext,
    Registry,
    Runtime,
    SyncClient,
    activity,
    orchestration,
)
from perdure.observability.prometheus import StoreCollector, WorkerCollector

GO = ExternalEvent[str]("go")


@activity(name="pay")
async def pay(cents: int) -> int:
    if cents < 0:
        raise NonRetryableError("no such amount")
    return cents


@orchestration(name="order", version="1.0.0")
async def order(ctx: OrchestrationContext, cents: int) -> int:
    if not cents:
        await ctx.schedule_wait(GO)
    return await ctx.schedule_activity(pay, cents)


REGISTRY = Registry(order, pay)


async def test_a_worker_is_told_in_full(database):
    registry = CollectorRegistry()
    runtime = Runtime(database, REGISTRY)
    registry.register(WorkerCollector(runtime))
    assert generate_latest(registry) == b""

    async with runtime:
        await (await runtime.client.start_orchestration(order, 1)).result()
        with pytest.raises(Exception, match="no such amount"):
            await (await runtime.client.start_orchestration(order, -1)).result()
        await runtime.client.start_orchestration(order, 0, instance_id="waiting")

        def value(name, **labels):
            return registry.get_sample_value(name, labels)

        version = {"orchestration": "order", "version": "1.0.0"}
        assert value("perdure_orchestration_starts_total", **version) == 3
        assert value("perdure_orchestration_ends_total", **version, status="completed") == 1
        assert value("perdure_orchestration_ends_total", **version, status="failed") == 1
        assert value("perdure_orchestration_duration_seconds_count", **version) == 2
        assert value("perdure_activity_attempts_total", activity="pay", outcome="completed") == 1
        assert value("perdure_activity_attempts_total", activity="pay", outcome="failed") == 1
        error = "perdure.errors.NonRetryableError"
        assert value("perdure_activity_errors_total", activity="pay", error=error) == 1
        assert value("perdure_activity_duration_seconds_bucket", activity="pay", le="+Inf") == 2
        assert value("perdure_storage_call_duration_seconds_count", call="commit") > 0
        assert value("perdure_commit_items_count") > 0
        assert value("perdure_cached_instances") == 1
        assert value("perdure_turns_total") >= 5
        assert b"# TYPE perdure_orchestration_starts_total counter" in generate_latest(registry)


async def test_a_store_is_told_by_what_is_there_and_what_waits(database):
    async with Runtime(database, Registry(order)) as runtime:
        await runtime.client.start_orchestration(order, 0, instance_id="waiting")
        await (await runtime.client.start_orchestration(order, 5)).raise_event(GO, "go")
        while not (await runtime.client.get_queues()).activities:
            await asyncio.sleep(0)

        def scrape():
            registry = CollectorRegistry()
            with SyncClient(database) as client:
                registry.register(StoreCollector(client))
                return {
                    (sample.name, *sample.labels.values()): sample.value
                    for family in registry.collect()
                    for sample in family.samples
                }

        told = await asyncio.to_thread(scrape)

    assert told["perdure_instances", "order", "running"] == 2
    assert told["perdure_store_activities", "pay", "", "waiting"] == 1
    assert told["perdure_store_activity_age_seconds", "pay", ""] >= 0
    assert told["perdure_store_held_instances",] == 0
    assert told["perdure_store_ready_age_seconds",] == 0


def test_without_the_client_one_sentence_says_what_to_install():
    program = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "try:\n    import perdure.observability.prometheus\n"
        "except Exception as error:\n    print(type(error).__name__, error)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert told.startswith("UsageError the export to Prometheus needs prometheus_client")
    assert "pip install 'perdure[prometheus]'" in told


def test_nobody_pays_for_the_export_who_does_not_use_it():
    program = (
        "import sys, perdure; from perdure import Runtime\n"
        "print([name for name in sys.modules if 'prometheus' in name or name.endswith('observability.metrics')])"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert told.strip() == "[]"
