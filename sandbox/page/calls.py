"""The request log as people read it: who called whom, for what, and what came of it."""

from __future__ import annotations

import re
from collections.abc import Mapping

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


def in_words(call: Call, directory: Directory) -> Json:
    """One entry of the log. Ids of accounts become names, other ids are cut."""
    sender = SENDERS.get(call.service)
    names = {account.id: account.name for account in directory.accounts.values()}
    return {
        "number": call.number,
        "at": call.at.isoformat(),
        "who": sender or _caller(call.app, directory),
        "whom": APP if sender else SERVICES.get(call.service, call.service),
        "method": call.method,
        "path": shortened(call.path, names),
        "batch": call.batch,
        "envelope": call.envelope,
        "answered": call.answered,
        "status": call.status,
        "note": call.limit or call.fault.replace("_", " "),
    }


def _caller(client_id: str, directory: Directory) -> str:
    application = directory.applications.get(client_id)
    return application.name if application is not None else ""


def shortened(path: str, names: Mapping[str, str]) -> str:
    """A path without its root, with names and without the length of ids."""

    def cut(found: re.Match[str]) -> str:
        return names.get(found[0].lower(), f"{found[1]}…")

    return _ITEM.sub(r"…\1", _GUID.sub(cut, _ROOTS.sub("", path)))
