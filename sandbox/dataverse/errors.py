"""Refusals in Dataverse's shape: `{"error": {"code": "0x...", "message": "..."}}`.

Codes and wording: Microsoft docs, "Compose HTTP requests and handle errors", "Perform conditional operations", "Execute
batch operations", and answers quoted in public issues. Where the public sources name no code, the docstring says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sandbox.directory import known_id
from sandbox.http import HttpError, Response

JSON_TYPE = "application/json; odata.metadata=minimal"
HEADERS = {"Content-Type": JSON_TYPE, "OData-Version": "4.0"}

INVALID_ARGUMENT = "0x80040203"
NO_SUCH_KEY = "0x80060891"
KEY_VIOLATED = "0x80060892"
NOT_FOUND = "0x80040217"
DUPLICATE = "0x80040237"
VERSION_MISMATCH = "0x80060882"
PAYLOAD = "0x80048d19"
QUERY = "0x80060888"
TOO_LONG = "0x80044331"
OUT_OF_RANGE = "0x8004431a"
ASSOCIATED = "0x80040227"
PLUGIN_ABORTED = "0x80040265"
INFINITE_LOOP = "0x80044182"
NOT_A_MEMBER = "0x80072560"
DISABLED_USER = "0x80040225"
PRIVILEGE_DENIED = "0x80040220"
EXPIRED_VERSION_STAMP = "0x80044352"
TOO_MANY_REQUESTS = "0x80072322"
TOO_MUCH_TIME = "0x80072321"
TOO_MANY_AT_ONCE = "0x80072326"


def answer(status: int, code: str, message: str) -> Response:
    """The body of every refusal."""
    return Response.of_json(status, {"error": {"code": code, "message": message}}, HEADERS)


def refuse(status: int, code: str, message: str) -> HttpError:
    """A refusal ready to be raised."""
    return HttpError(answer(status, code, message))


def not_modelled(what: str) -> HttpError:
    """The sandbox's own refusal of what the real service may know."""
    return refuse(501, "", f"The sandbox's Dataverse does not know {what}.")


def not_found(table: str, row_id: str) -> HttpError:
    """No such row."""
    return refuse(404, NOT_FOUND, f"{table} With Id = {row_id} Does Not Exist")


def no_such_key(table: str) -> HttpError:
    """An alternate key that no row has; the code is unverified."""
    return refuse(404, NO_SUCH_KEY, f"A record with the specified key values does not exist in {table} entity")


def key_violated(name: str, columns: Iterable[str]) -> HttpError:
    """A row whose alternate key another row has."""
    same = ", ".join(columns)
    message = f"Entity Key {name} violated. A record with the same value for {same} already exists."
    return refuse(412, KEY_VIOLATED, message)


def already_exists() -> HttpError:
    """`If-None-Match: *` met a row."""
    return refuse(412, DUPLICATE, "A record with matching key values already exists.")


def duplicate_key() -> HttpError:
    """A create with the id of a row that exists."""
    return refuse(412, DUPLICATE, "Cannot insert duplicate key.")


def version_mismatch() -> HttpError:
    """`If-Match` met another version."""
    return refuse(
        412, VERSION_MISMATCH, "The version of the existing record doesn't match the RowVersion property provided."
    )


def invalid_argument(message: str) -> HttpError:
    """A value that the platform does not accept."""
    return refuse(400, INVALID_ARGUMENT, message)


def payload(set_name: str, message: str) -> HttpError:
    """A body that does not fit the table."""
    return refuse(
        400,
        PAYLOAD,
        f"Error identified in Payload provided by the user for Entity :'{set_name}' ----> "
        f"InnerException : Microsoft.OData.ODataException: {message}",
    )


def query(message: str) -> HttpError:
    """A query option that does not fit the table."""
    return refuse(400, QUERY, message)


def unknown_property(table: str, name: str) -> HttpError:
    """A query option names a property that the table does not have."""
    return query(f"Could not find a property named '{name}' on type 'Microsoft.Dynamics.CRM.{table}'.")


def required(table: str, column: str) -> HttpError:
    """A SystemRequired column is missing or null; the code is unverified."""
    return invalid_argument(f"The column '{column}' of the table '{table}' is required and cannot be null.")


def too_long(table: str, column: str, limit: int) -> HttpError:
    """Text over the column's limit."""
    return refuse(
        400,
        TOO_LONG,
        f"A validation error occurred.  The length of the '{column}' attribute of the '{table}' entity exceeded the "
        f"maximum allowed length of '{limit}'.",
    )


def out_of_range(table: str, column: str, value: object, accepted: Iterable[object]) -> HttpError:
    """A number or an option outside what the column takes; code and wording are unverified."""
    return refuse(
        400,
        OUT_OF_RANGE,
        f"A validation error occurred.  The value {value} of '{column}' on record of type '{table}' is outside the "
        f"valid range. Accepted Values: {','.join(str(one) for one in accepted)}",
    )


def associated(table: str, by: str) -> HttpError:
    """A row cannot go while others require it."""
    return refuse(405, ASSOCIATED, f"The {table} record cannot be deleted because it is associated with {by} records.")


def untracked(table: str) -> HttpError:
    """Changes of a table that is not tracked; code and wording are unverified."""
    return invalid_argument(f"Change tracking is not enabled for the table '{table}'.")


def expired_token() -> HttpError:
    """A delta token that is too old; the status is unverified."""
    return refuse(
        400,
        EXPIRED_VERSION_STAMP,
        "Version stamp associated with the client has expired. Please perform a full sync.",
    )


def plugin_aborted(message: str) -> HttpError:
    """Business logic refused the operation."""
    return refuse(400, PLUGIN_ABORTED, message)


def unauthorized(base: str, tenant_id: str) -> HttpError:
    """No token that counts; the text is what the gateway in front of the service says (unverified)."""
    challenge = (
        f"Bearer authorization_uri=https://login.microsoftonline.com/{tenant_id}/oauth2/authorize, resource_id={base}/"
    )
    body = b"HTTP Error 401 - Unauthorized: Access is denied"
    return HttpError(
        Response(status=401, headers={"Content-Type": "text/html", "WWW-Authenticate": challenge}, body=body)
    )


def privilege_missing(user_id: str, access_mode: object, privilege: str, table: str) -> HttpError:
    """The user's roles lack a privilege. The service also says the numbers of roles and privileges and the table's."""
    return refuse(
        403,
        PRIVILEGE_DENIED,
        f"Principal user (Id={user_id}, type=8, accessMode={access_mode}), is missing {privilege} privilege "
        f"(Id={known_id('privilege', privilege)}) for entity '{table}'. context.Caller={user_id}",
    )


def too_many_requests(limit: int, seconds: int, wait: int) -> Response:
    """ThrottlingBurstRequestLimitExceededError, -2147015902 (Microsoft docs, "Service protection API limits")."""
    message = f"Number of requests exceeded the limit of {limit} over time window of {seconds} seconds."
    return _throttled(TOO_MANY_REQUESTS, message, wait)


def too_much_time(limit: int, seconds: int, wait: int) -> Response:
    """ThrottlingTimeExceededError, -2147015903; the two blanks are the service's."""
    message = (
        f"Combined execution time of incoming requests exceeded limit of {limit * 1000:,}  milliseconds over time "
        f"window of {seconds} seconds. Decrease number of concurrent requests or reduce the duration of requests and "
        "try again later."
    )
    return _throttled(TOO_MUCH_TIME, message, wait)


def too_many_at_once(limit: int, wait: int) -> Response:
    """ThrottlingConcurrencyLimitExceededError, -2147015898."""
    return _throttled(TOO_MANY_AT_ONCE, f"Number of concurrent requests exceeded the limit of {limit}.", wait)


def _throttled(code: str, message: str, wait: int) -> Response:
    refusal = answer(429, code, message)
    return replace(refusal, headers={**refusal.headers, "Retry-After": str(wait)})
