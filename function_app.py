"""Every trigger of the app. Each one parses, makes one call, and answers; what happens is in `shared`."""

from __future__ import annotations

import dataclasses
import json
import logging
import typing

import azure.functions as func

from shared.app import once
from shared.errors import InvalidPostError
from shared.sync.model import Shard

LONGEST_TOKEN = 1024
STORAGE = "AzureWebJobsStorage"
WAKE = "%SYNC_WAKE_QUEUE%"

log = logging.getLogger(__name__)

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
running = once()


@app.function_name("dataverse_changes")
@app.route("dataverse/changes", methods=["POST"])
@app.queue_output("wake", queue_name=WAKE, connection=STORAGE)
async def dataverse_changes(req: func.HttpRequest, wake: func.Out[typing.List[str]]) -> func.HttpResponse:  # noqa: UP006
    """A Dataverse webhook posts changed bookings: stored, then 202. See `shared.intake`."""
    try:
        inbox = (await running()).inbox
        wake.set(list(await inbox.accept_post(req.get_body(), req.headers.get("content-type", ""))))
    except InvalidPostError as error:
        return problem(error.status, str(error))
    except Exception:
        # Dataverse repeats 502, 503 and 504 only, and once: anything else would lose the change.
        log.exception("a post could not be stored")
        return problem(503, "The change could not be stored. Post it again.")
    return func.HttpResponse(status_code=202)


@app.function_name("graph_notifications")
@app.route("graph/notifications", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@app.queue_output("wake", queue_name=WAKE, connection=STORAGE)
async def graph_notifications(req: func.HttpRequest, wake: func.Out[typing.List[str]]) -> func.HttpResponse:  # noqa: UP006
    """Graph tells of changed events. What it says counts by the secret of its subscription. See `shared.intake`."""
    return await told_by_graph(req, wake)


@app.function_name("graph_lifecycle")
@app.route("graph/lifecycle", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@app.queue_output("wake", queue_name=WAKE, connection=STORAGE)
async def graph_lifecycle(req: func.HttpRequest, wake: func.Out[typing.List[str]]) -> func.HttpResponse:  # noqa: UP006
    """Graph tells what becomes of subscriptions; `keep_subscriptions` does something about it."""
    return await told_by_graph(req, wake)


@app.function_name("drain")
@app.queue_trigger("shard", queue_name=WAKE, connection=STORAGE)
@app.queue_output("wake", queue_name=WAKE, connection=STORAGE)
async def drain(shard: func.QueueMessage, wake: func.Out[typing.List[str]]) -> None:  # noqa: UP006 - the worker knows no list[str]
    """A shard was woken: work off its marks. See `shared.sync.engine`."""
    wake.set(sorted(await (await running()).engine.drain(Shard(shard.get_body().decode()))))


@app.function_name("wake_idle")
@app.timer_trigger("timer", schedule="%SYNC_WAKE_SCHEDULE%")
@app.queue_output("wake", queue_name=WAKE, connection=STORAGE)
async def wake_idle(timer: func.TimerRequest, wake: func.Out[typing.List[str]]) -> None:  # noqa: ARG001, UP006
    """Wake shards with due marks that nobody woke: put off, or their wake-up was lost."""
    wake.set(list(await (await running()).inbox.idle_shards_with_work()))


@app.function_name("pull_dataverse")
@app.timer_trigger("timer", schedule="%SYNC_PULL_SCHEDULE%")
@app.queue_output("wake", queue_name=WAKE, connection=STORAGE)
async def pull_dataverse(timer: func.TimerRequest, wake: func.Out[typing.List[str]]) -> None:  # noqa: ARG001, UP006
    """Ask Dataverse what has changed: whatever no post has brought is marked. See `shared.sync.pull`."""
    wake.set(sorted(await (await running()).pull.round()))


@app.function_name("keep_subscriptions")
@app.timer_trigger("timer", schedule="%SYNC_SUBSCRIPTION_SCHEDULE%")
async def keep_subscriptions(timer: func.TimerRequest) -> None:  # noqa: ARG001
    """See to it that Graph tells of changes in every synced mailbox. See `shared.sync.subscribe`."""
    await (await running()).subscribing.round()


@app.function_name("renew_subscriptions")
@app.route("subscriptions/renew", methods=["POST"])
async def renew_subscriptions(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001
    """Renew every subscription now, and ask again where that failed lately. Answers who refuses, and why."""
    report = await (await running()).subscribing.round(anew=True)
    return func.HttpResponse(json.dumps(dataclasses.asdict(report)), mimetype="application/json")


@app.function_name("recover_calendars")
@app.timer_trigger("timer", schedule="%SYNC_RECOVERY_SCHEDULE%")
@app.queue_output("wake", queue_name=WAKE, connection=STORAGE)
async def recover_calendars(timer: func.TimerRequest, wake: func.Out[typing.List[str]]) -> None:  # noqa: ARG001, UP006
    """Ask the calendars what has changed: whatever no notification has brought is marked. See `shared.sync.recover`."""
    wake.set(sorted(await (await running()).recovery.round()))


@app.function_name("go_on_sweeping")
@app.timer_trigger("timer", schedule="%SYNC_SWEEP_SCHEDULE%")
@app.queue_output("wake", queue_name=WAKE, connection=STORAGE)
async def go_on_sweeping(timer: func.TimerRequest, wake: func.Out[typing.List[str]]) -> None:  # noqa: ARG001, UP006
    """Go on with the sweep that was begun; begin one every week, which only reports. See `shared.sync.sweep`."""
    wake.set(sorted(await (await running()).sweep.go_on()))


@app.function_name("sweep")
@app.route("sweep", methods=["POST"])
@app.queue_output("wake", queue_name=WAKE, connection=STORAGE)
async def sweep(req: func.HttpRequest, wake: func.Out[typing.List[str]]) -> func.HttpResponse:  # noqa: UP006
    """Compare everything now; `?repair=true` has it repaired, `&deleted=true` vouches for rows that are gone."""
    wants = {name: req.params.get(name, "").lower() == "true" for name in ("repair", "deleted")}
    wake.set(sorted(await (await running()).sweep.begin(**wants)))
    return await swept()


@app.function_name("sweep_report")
@app.route("sweep", methods=["GET"])
async def sweep_report(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001
    """What the last sweep has found, by ids and names of fields."""
    return await swept()


@app.function_name("conflicts")
@app.route("conflicts", methods=["GET"])
async def conflicts(req: func.HttpRequest) -> func.HttpResponse:
    """What of `?booking=` has lost a conflict: times with their values, other fields by their names."""
    try:
        found = await (await running()).restoring.conflicts(req.params.get("booking", ""))
    except InvalidPostError as error:
        return problem(error.status, str(error))
    return func.HttpResponse(json.dumps({"conflicts": found}), mimetype="application/json")


@app.function_name("restore_conflict")
@app.route("conflicts/restore", methods=["POST"])
@app.queue_output("wake", queue_name=WAKE, connection=STORAGE)
async def restore_conflict(req: func.HttpRequest, wake: func.Out[typing.List[str]]) -> func.HttpResponse:  # noqa: UP006
    """Put in force what of `?booking=` lost last, or `&at=` that time. See `shared.sync.restore`."""
    try:
        asked, shards = await (await running()).restoring.restore(req.params.get("booking", ""), req.params.get("at"))
    except InvalidPostError as error:
        return problem(error.status, str(error))
    wake.set(list(shards))
    return func.HttpResponse(json.dumps(asked), status_code=202, mimetype="application/json")


@app.function_name("keep_house")
@app.timer_trigger("timer", schedule="%SYNC_HOUSEKEEPING_SCHEDULE%")
async def keep_house(timer: func.TimerRequest) -> None:  # noqa: ARG001
    """Remove what nobody will ask for again. See `shared.sync.housekeeping`."""
    await (await running()).housekeeping.go_on()


@app.function_name("report_poison")
@app.queue_trigger("shard", queue_name=f"{WAKE}-poison", connection=STORAGE)
async def report_poison(shard: func.QueueMessage) -> None:
    """A wake-up failed again and again, and the platform gave it up. Only the wake-up: all marks are stored."""
    log.error(
        "shard %r could not be drained, time and again. Its work is stored and the timer wakes it, so nothing is lost; "
        "but nothing is done either until the cause is removed. The failed runs of the function 'drain' name it.",
        shard.get_body()[:20],
    )


@app.function_name("replay_dead_letters")
@app.route("dead-letters/replay", methods=["POST"])
@app.queue_output("wake", queue_name=WAKE, connection=STORAGE)
async def replay_dead_letters(req: func.HttpRequest, wake: func.Out[typing.List[str]]) -> func.HttpResponse:  # noqa: ARG001, UP006
    """An administrator has removed a cause: whatever was given up is tried again. Answers how much that is."""
    replayed, shards = await (await running()).inbox.replay_dead_letters()
    wake.set(list(shards))
    return func.HttpResponse(json.dumps({"replayed": replayed}), mimetype="application/json")


@app.function_name("approve_quarantine")
@app.route("quarantine/approve", methods=["POST"])
@app.queue_output("wake", queue_name=WAKE, connection=STORAGE)
async def approve_quarantine(req: func.HttpRequest, wake: func.Out[typing.List[str]]) -> func.HttpResponse:  # noqa: ARG001, UP006
    """An administrator approves the deletions that the deletion budget held back (R4). Answers how many they are."""
    approved, shards = await (await running()).inbox.approve_quarantine()
    wake.set(list(shards))
    return func.HttpResponse(json.dumps({"approved": approved}), mimetype="application/json")


@app.function_name("health")
@app.route("health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def health(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001
    """Whether the process answers; touches nothing."""
    return func.HttpResponse('{"status":"ok"}', mimetype="application/json")


async def told_by_graph(req: func.HttpRequest, wake: func.Out[typing.List[str]]) -> func.HttpResponse:  # noqa: UP006
    """A post of Graph: it tries the address, or it tells something, which is stored, then 202."""
    token = req.params.get("validationToken")
    if token is not None:
        if not 0 < len(token) <= LONGEST_TOKEN or not token.isprintable():
            return problem(400, "The validation token is not one of Graph.")
        return func.HttpResponse(token, mimetype="text/plain", headers={"X-Content-Type-Options": "nosniff"})
    try:
        wake.set(list(await (await running()).notices.accept_post(req.get_body())))
    except InvalidPostError as error:
        return problem(error.status, str(error))
    except Exception:
        log.exception("a post of Graph could not be stored")
        return problem(503, "It could not be stored. Post it again.")
    return func.HttpResponse(status_code=202)


async def swept() -> func.HttpResponse:
    """The report of the last sweep; while that goes on, it says so and where to ask again."""
    report = await (await running()).sweep.report()
    if report is None:
        return problem(404, "There was no sweep yet: POST to this address.")
    status, headers = (200, {}) if report["ended"] else (202, {"Location": "/api/sweep"})
    return func.HttpResponse(json.dumps(report), status_code=status, headers=headers, mimetype="application/json")


def problem(status: int, detail: str) -> func.HttpResponse:
    """An error answer (RFC 9457)."""
    body = json.dumps({"type": "about:blank", "status": status, "detail": detail})
    return func.HttpResponse(body, status_code=status, mimetype="application/problem+json")
