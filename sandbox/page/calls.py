"""The request log as people read it: who called whom, for what, and what came of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from sandbox.directory import Directory
from sandbox.http import Json
from sandbox.recorder import Call

SERVICES = {
    "dataverse": "Dataverse",
    "graph": "Graph",
    "identity": "Managed identity",
    "keyvault": "Key Vault",
    "login": "Entra ID",
}
SENDERS = {"webhook": "Dynamics", "notification": "Outlook"}
"""Services that call by themselves: their calls go to the app."""
APP, PEOPLE = "Booking Sync", "Planner"
_ROOTS = re.compile(r"^/(v1\.0|api/data/v\d\.\d)(?=/)")
_GUID = re.compile(r"([0-9a-f]{8})(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ITEM = re.compile(r"AA(?:kAL|MkA)[\w=-]{30,}([\w-]{4})=*")


def in_words(calls: Iterable[Call], directory: Directory) -> list[Json]:
    """Entries of the log. Ids and addresses of accounts become names, other ids are cut."""
    accounts = directory.accounts.values()
    names = {key: account.name for account in accounts for key in (account.id, account.address)}
    names |= {application.client_id: application.name for application in directory.applications.values()}
    return [_in_words(call, names) for call in calls]


def _in_words(call: Call, names: Mapping[str, str]) -> Json:
    sender = SENDERS.get(call.service)
    return {
        "number": call.number,
        "at": call.at.isoformat(),
        "who": sender or names.get(call.app, ""),
        "whom": APP if sender else SERVICES.get(call.service, call.service),
        "method": call.method,
        "path": shortened(call.path, names),
        "batch": call.batch,
        "envelope": call.envelope,
        "answered": call.answered,
        "status": call.status,
        "note": call.limit or (call.fault and f"fault: {call.fault.replace('_', ' ')}"),
    }


def shortened(path: str, names: Mapping[str, str]) -> str:
    """A path without its root, with names and without the length of ids."""
    parts = (names.get(part.lower(), part) for part in unquote(_ROOTS.sub("", path)).split("/"))
    return _ITEM.sub(r"…\1", _GUID.sub(r"\1…", "/".join(parts)))
