"""The tables that say whom to tell of what: endpoints, steps, images and system jobs; and the rules for their rows.

Columns and option values: Microsoft docs, "serviceendpoint", "sdkmessageprocessingstep" and "asyncoperation" table
references, "Register a WebHook" and "Asynchronous service".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from xml.etree import ElementTree as ET

from sandbox.dataverse import errors
from sandbox.dataverse.columns import choice, flag, guid, instant, integer, lookup, table, text
from sandbox.dataverse.schema import Reference, Schema, Value
from sandbox.dataverse.state import State
from sandbox.dataverse.tables import PEOPLE, SCHEDULING
from sandbox.directory import known_id

MESSAGES = ("Create", "Update", "Delete", "CreateMultiple", "UpdateMultiple", "SetState", "Assign")
FILTERED = ("Update", "UpdateMultiple")
IMAGE_PROPERTIES = {
    "Create": "Id",
    "Update": "Target",
    "Delete": "Target",
    "SetState": "EntityMoniker",
    "Assign": "Target",
}
"""The name of the parameter that an image is taken of, by message (Microsoft docs, "Register a plug-in")."""
WEBHOOK_CONTRACT = 8
WEBHOOK_KEY, HTTP_HEADER, HTTP_QUERY = 4, 5, 6
POST_OPERATION = 40
ASYNCHRONOUS = 1
PRE_IMAGE, POST_IMAGE, BOTH_IMAGES = 0, 1, 2

ENDPOINT = table(
    "serviceendpoint",
    "serviceendpoints",
    "ServiceEndpoint",
    [
        text("name", 160, required=True),
        text("description", 400),
        text("url", 2000),
        choice(
            "contract",
            {
                1: "OneWay",
                2: "Queue",
                3: "Rest",
                4: "TwoWay",
                5: "Topic",
                6: "Queue (Persistent)",
                7: "Event Hub",
                8: "Webhook",
                9: "Event Grid",
                10: "Managed Data Lake",
            },
            required=True,
        ),
        choice(
            "authtype",
            {
                1: "ACS",
                2: "SAS Key",
                3: "SAS Token",
                4: "Webhook Key",
                5: "Http Header",
                6: "Http Query String",
                7: "Connection String",
                8: "Access Key",
            },
            required=True,
        ),
        text("authvalue", 2048, write_only=True),
        flag("isauthvalueset"),
        choice("messageformat", {1: "Binary XML", 2: "Json", 3: "Text XML"}, default=1),
        choice("connectionmode", {1: "Normal", 2: "Federated"}, default=1),
        choice("userclaim", {1: "None", 2: "UserId", 3: "UserInfo"}, default=1),
    ],
)

STEP = table(
    "sdkmessageprocessingstep",
    "sdkmessageprocessingsteps",
    "SdkMessageProcessingStep",
    [
        text("name", 256),
        text("description", 256),
        lookup(
            "eventhandler",
            "serviceendpoint",
            "eventhandler_serviceendpoint",
            collection="serviceendpoint_sdkmessageprocessingstep",
            required=True,
            cascade=True,
        ),
        lookup("sdkmessageid", "sdkmessage", collection="sdkmessageid_sdkmessageprocessingstep", required=True),
        lookup("sdkmessagefilterid", "sdkmessagefilter", collection="sdkmessagefilterid_sdkmessageprocessingstep"),
        lookup("impersonatinguserid", "systemuser"),
        choice("stage", {10: "Pre-validation", 20: "Pre-operation", 40: "Post-operation"}, required=True),
        choice("mode", {0: "Synchronous", 1: "Asynchronous"}, default=0),
        choice("supporteddeployment", {0: "Server Only", 1: "Outlook Client Only", 2: "Both"}, default=0),
        choice("invocationsource", {0: "Parent", 1: "Child"}, default=0),
        integer("rank", minimum=0, default=1),
        flag("asyncautodelete"),
        text("filteringattributes", 100_000),
        text("configuration", 1_073_741_823),
    ],
    states={0: ("Enabled", {1: "Enabled"}), 1: ("Disabled", {2: "Disabled"})},
)

IMAGE = table(
    "sdkmessageprocessingstepimage",
    "sdkmessageprocessingstepimages",
    "SdkMessageProcessingStepImage",
    [
        text("name", 256),
        text("description", 256),
        text("entityalias", 256, required=True),
        choice("imagetype", {0: "PreImage", 1: "PostImage", 2: "Both"}, required=True),
        text("messagepropertyname", 256, required=True),
        text("attributes", 100_000),
        lookup(
            "sdkmessageprocessingstepid",
            "sdkmessageprocessingstep",
            collection="sdkmessageprocessingstepid_sdkmessageprocessingstepimage",
            required=True,
            cascade=True,
        ),
    ],
)

MESSAGE = table("sdkmessage", "sdkmessages", "SdkMessage", [text("name", 256)])

FILTER = table(
    "sdkmessagefilter",
    "sdkmessagefilters",
    "SdkMessageFilter",
    [
        text("name", 256),
        lookup("sdkmessageid", "sdkmessage", collection="sdkmessageid_sdkmessagefilter", required=True),
        text("primaryobjecttypecode"),
        text("secondaryobjecttypecode"),
        flag("iscustomprocessingstepallowed", default=True),
    ],
)

JOB = table(
    "asyncoperation",
    "asyncoperations",
    "AsyncOperation",
    [
        text("name", 256),
        choice("operationtype", {1: "System Event"}, default=1),
        text("messagename", 160),
        text("primaryentitytype", 128),
        lookup("owningextensionid", "sdkmessageprocessingstep", collection="sdkmessageprocessingstep_AsyncOperations"),
        guid("correlationid"),
        guid("requestid"),
        integer("depth"),
        integer("retrycount"),
        integer("errorcode"),
        text("friendlymessage", 2000),
        text("message", 1_073_741_823),
        instant("startedon"),
        instant("completedon"),
    ],
    owned=True,
    states={
        0: ("Ready", {0: "Waiting For Resources"}),
        1: ("Suspended", {10: "Waiting"}),
        2: ("Locked", {20: "In Progress", 21: "Pausing", 22: "Canceling"}),
        3: ("Completed", {30: "Succeeded", 31: "Failed", 32: "Canceled"}),
    },
)

REGISTRATION = (ENDPOINT, STEP, IMAGE, MESSAGE, FILTER, JOB)
SCHEMA = Schema((*SCHEDULING, *PEOPLE, *REGISTRATION))


def messages() -> list[tuple[str, str, dict[str, Value]]]:
    """The messages and their filters as (table, id, values): rows that every environment is born with."""
    rows: list[tuple[str, str, dict[str, Value]]] = []
    for message in MESSAGES:
        message_id = known_id("sdkmessage", message)
        rows.append((MESSAGE.name, message_id, {"name": message}))
        for about in (*SCHEDULING, *PEOPLE):
            if (message == "SetState" and not about.states) or (message == "Assign" and "ownerid" not in about.columns):
                continue
            values: dict[str, Value] = {
                "sdkmessageid": Reference(MESSAGE.name, message_id),
                "primaryobjecttypecode": about.name,
                "secondaryobjecttypecode": "none",
            }
            rows.append((FILTER.name, known_id("sdkmessagefilter", message, about.name), values))
    return rows


def auth_pairs(authvalue: str) -> list[tuple[str, str]]:
    """The names and values in the XML of a header or query string authentication. Raises `ValueError`."""
    try:
        root = ET.fromstring(authvalue)  # noqa: S314 - what the sandbox's own user registered
    except ET.ParseError as wrong:
        raise ValueError("authvalue is not the XML of a settings list") from wrong
    return [(setting.get("name", ""), setting.get("value", "")) for setting in root.iter("setting")]


def _check_endpoint(values: Mapping[str, Value], _state: State) -> dict[str, Value]:
    if values.get("contract") != WEBHOOK_CONTRACT:
        raise errors.not_modelled(f"service endpoints of contract {values.get('contract')}")
    if values.get("authtype") not in (WEBHOOK_KEY, HTTP_HEADER, HTTP_QUERY):
        raise errors.not_modelled(f"webhooks of authtype {values.get('authtype')}")
    if not str(values.get("url") or "").startswith(("http://", "https://")):
        raise errors.invalid_argument("The url of a webhook must be an absolute http or https address.")
    authvalue = str(values.get("authvalue") or "")
    if values["authtype"] != WEBHOOK_KEY and authvalue:
        try:
            auth_pairs(authvalue)
        except ValueError as wrong:
            raise errors.invalid_argument(str(wrong)) from wrong
    return {**values, "isauthvalueset": bool(authvalue)}


def _check_step(values: Mapping[str, Value], state: State) -> dict[str, Value]:
    if values.get("mode") != ASYNCHRONOUS:
        raise errors.not_modelled("synchronous steps (mode 0)")
    if values.get("stage") != POST_OPERATION:
        raise errors.invalid_argument("Asynchronous steps must be registered in stage 40 (post-operation).")
    if values.get("impersonatinguserid") is not None:
        raise errors.not_modelled("steps with an impersonatinguserid")
    if values.get("configuration"):
        raise errors.invalid_argument("A webhook step cannot have a configuration.")
    message = _message_of(values, state)
    about = values.get("sdkmessagefilterid")
    if not isinstance(about, Reference):
        raise errors.not_modelled("steps without an sdkmessagefilterid")
    if state.must_find(about).get("sdkmessageid") != values["sdkmessageid"]:
        raise errors.invalid_argument("The sdkmessagefilterid belongs to another message than the sdkmessageid.")
    if values.get("filteringattributes") and message not in FILTERED:
        raise errors.invalid_argument("Filtering attributes are for steps on Update and UpdateMultiple only.")
    return dict(values)


def _check_image(values: Mapping[str, Value], state: State) -> dict[str, Value]:
    step = values.get("sdkmessageprocessingstepid")
    if isinstance(step, Reference):
        message = _message_of(state.must_find(step).values, state)
        wanted = IMAGE_PROPERTIES.get(message)
        if wanted is None:
            raise errors.not_modelled(f"images of steps on {message}")
        if values.get("messagepropertyname") != wanted:
            raise errors.invalid_argument(f"The message property name of an image on {message} is '{wanted}'.")
        impossible = {"Create": (PRE_IMAGE, BOTH_IMAGES), "Delete": (POST_IMAGE, BOTH_IMAGES)}.get(message, ())
        if values.get("imagetype") in impossible:
            raise errors.invalid_argument(f"An image of type {values['imagetype']} does not exist on {message}.")
    return dict(values)


def _message_of(values: Mapping[str, Value], state: State) -> str:
    message = values["sdkmessageid"]
    return str(state.must_find(message).get("name")) if isinstance(message, Reference) else ""


type Rule = Callable[[Mapping[str, Value], State], dict[str, Value]]

RULES: Mapping[str, Rule] = {ENDPOINT.name: _check_endpoint, STEP.name: _check_step, IMAGE.name: _check_image}
"""What a row of these tables must fulfil after a create or update; the wording of the refusals is unverified."""
