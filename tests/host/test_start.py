"""What the host refuses at the start, in words that name the cause."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import ClientSession

from sandbox.process import ChildError

ROUTE = """
@app.route("{route}")
async def {name}(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse()
"""
TIMER = """
@app.timer_trigger("timer", schedule="{schedule}")
async def tick(timer: func.TimerRequest) -> None: ...
"""
QUEUE = """
@app.queue_trigger("msg", queue_name="{name}", connection="{connection}")
async def on_message(msg: func.QueueMessage) -> None: ...
"""
STORAGE = "AzureWebJobsStorage"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        pytest.param(
            ROUTE.format(route="a/{x}", name="one") + ROUTE.format(route="A/{y}", name="two"),
            "'one' and 'two' share the route",
            id="two functions on one route",
        ),
        pytest.param(TIMER.format(schedule="*/5 * * * *"), "six fields", id="a schedule of five fields"),
        pytest.param(TIMER.format(schedule="%NEVER_SET%"), "NEVER_SET", id="an unresolved schedule"),
        pytest.param(QUEUE.format(name="%NEVER_SET%", connection=STORAGE), "NEVER_SET", id="an unresolved queue name"),
        pytest.param(QUEUE.format(name="Under_score", connection=STORAGE), "no queue name", id="a wrong queue name"),
        pytest.param(QUEUE.format(name="wake", connection="NoStorage"), "NoStorage", id="a missing connection"),
        pytest.param("import not_a_module", "not_a_module", id="an import error"),
        pytest.param(
            '@app.route("x")\n@app.queue_output("out", queue_name="wake", connection="AzureWebJobsStorage")\n'
            "def x(req: func.HttpRequest, out: func.Out[list[str]]) -> func.HttpResponse: ...",
            "FunctionLoadError",
            id="an annotation that the worker refuses",
        ),
        pytest.param(
            '@app.blob_trigger("blob", path="a/b", connection="AzureWebJobsStorage")\n'
            "def x(blob: func.InputStream) -> None: ...",
            "does not know the binding blobTrigger",
            id="a binding that is not simulated",
        ),
        pytest.param(
            '@app.table_input("rows", connection="AzureWebJobsStorage", table_name="t")\n'
            '@app.route("x")\ndef x(req: func.HttpRequest, rows: str) -> func.HttpResponse: ...',
            "does not know the binding table",
            id="an input binding",
        ),
        pytest.param(
            '@app.retry(strategy="fixed_delay", max_retry_count="3", delay_interval="00:00:01")\n'
            + TIMER.format(schedule="0 0 0 * * *").strip(),
            "retry policies",
            id="a retry policy",
        ),
    ],
)
async def test_a_wrong_app_does_not_start(serve: Any, source: str, said: str) -> None:
    with pytest.raises(ChildError, match="did not start") as refused:
        await serve(source)
    assert said in str(refused.value)


async def test_unknown_keys_of_host_json_are_refused(serve: Any) -> None:
    with pytest.raises(ChildError, match=r"extensions\.queues\.bachSize"):
        await serve("", host_json={"extensions": {"queues": {"bachSize": 1}}})


async def test_a_storage_that_does_not_answer_is_named(serve: Any) -> None:
    nowhere = (
        "DefaultEndpointsProtocol=http;AccountName=x;AccountKey=eA==;QueueEndpoint=http://127.0.0.1:9/x;"
        "BlobEndpoint=http://127.0.0.1:9/x;TableEndpoint=http://127.0.0.1:9/x"
    )
    with pytest.raises(ChildError, match="storage does not answer"):
        await serve(QUEUE.format(name="wake", connection="Nowhere"), settings={"Nowhere": nowhere})


async def test_what_functions_log_and_print_is_in_the_log_by_level(serve: Any, http: ClientSession) -> None:
    host = await serve(
        """
import logging

@app.route("log")
def log(req: func.HttpRequest) -> func.HttpResponse:
    logging.getLogger("own").info("quiet")
    logging.getLogger("own").warning("loud %s", 1, extra={"custom_dimensions": {"key": "value"}})
    print("printed")
    return func.HttpResponse()
""",
        host_json={"logging": {"logLevel": {"default": "Information", "Function.log": "Warning"}}},
    )
    async with http.get(f"{host.url}/api/log") as answer:
        assert answer.status == 200
    assert await host.stop() == 0
    said = host.log.read_text()
    assert '"loud 1"' in said
    assert '"category": "Function.log.User"' in said
    assert '"custom_dimensions": {"key": "value"}' in said
    assert "printed" in said
    assert '"quiet"' not in said
    assert "Executed 'Functions.log' (Succeeded)" in said
