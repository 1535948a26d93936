"""Refusals of Key Vault: `{"error": {"code", "message", "innererror"}}`.

Codes and wording: Azure Key Vault docs, "REST API error codes", and answers of the live service quoted in public
issues. Where no answer was found, the wording is the sandbox's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from sandbox.entra.tokens import Rejection
from sandbox.http import HttpError, Json, Response

CONTENT_TYPE = "application/json; charset=utf-8"


def error_answer(
    status: int, code: str, message: str, *, inner: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """The shape of every refusal; `inner` is the more precise code."""
    error: dict[str, Json] = {"code": code, "message": message}
    if inner:
        error["innererror"] = {"code": inner}
    return Response.of_json(status, {"error": error}, {"Content-Type": CONTENT_TYPE, **(headers or {})})


def not_modelled(what: str) -> HttpError:
    """The sandbox's own refusal of what the real service may know."""
    message = f"The sandbox's Key Vault does not know {what}."
    return HttpError(error_answer(HTTPStatus.NOT_IMPLEMENTED, "NotImplemented", message))


def bad_parameter(message: str) -> HttpError:
    """A parameter or a property that cannot be."""
    return HttpError(error_answer(HTTPStatus.BAD_REQUEST, "BadParameter", message))


def secret_not_found(name: str) -> HttpError:
    """No such secret, or no such version of it."""
    message = (
        f"A secret with (name/id) {name} was not found in this key vault. If you recently deleted this secret you may "
        "be able to recover it using the correct recovery command. For help resolving this issue, please see "
        "https://go.microsoft.com/fwlink/?linkid=2125182"
    )
    return HttpError(error_answer(HTTPStatus.NOT_FOUND, "SecretNotFound", message))


def deleted_secret_not_found(name: str) -> HttpError:
    """No such secret among the deleted ones."""
    return HttpError(error_answer(HTTPStatus.NOT_FOUND, "SecretNotFound", f"Deleted Secret not found: {name}"))


def secret_disabled() -> HttpError:
    """The value of a disabled version was asked for."""
    message = "Operation get is not allowed on a disabled secret."
    return HttpError(error_answer(HTTPStatus.FORBIDDEN, "Forbidden", message, inner="SecretDisabled"))


def deleted_but_recoverable(name: str) -> HttpError:
    """The name of a deleted secret was used again."""
    message = (
        f"Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this state, "
        "the secret can only be recovered or purged."
    )
    return HttpError(error_answer(HTTPStatus.CONFLICT, "Conflict", message, inner="ObjectIsDeletedButRecoverable"))


def exists_already(name: str) -> HttpError:
    """A backup was restored over a secret that is there."""
    return HttpError(error_answer(HTTPStatus.CONFLICT, "Conflict", f"The secret {name} already exists."))


def not_authorized(caller: str, action: str, name: str) -> HttpError:
    """The caller's role does not allow the action."""
    message = (
        "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role "
        "definitions were changed recently, please observe propagation time.\r\n"
        f"Caller: {caller}\r\nAction: 'Microsoft.KeyVault/vaults/{action}'\r\n"
        f"Resource: '/subscriptions/sandbox/resourcegroups/sandbox/providers/microsoft.keyvault/vaults/sandbox{name}'"
        "\r\nAssignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null \r\n"
        "Vault: sandbox;location=westeurope\r\n"
    )
    return HttpError(error_answer(HTTPStatus.FORBIDDEN, "Forbidden", message, inner="ForbiddenByRbac"))


_TOKEN_TROUBLE = {
    Rejection.MISSING: "AKV10000: Request is missing a Bearer or PoP token.",
    Rejection.MALFORMED: "AKV10001: Unable to parse the Bearer or PoP token.",
    Rejection.SIGNATURE: "Error validating token: IDX10511",
    Rejection.EXPIRED: "Error validating token: IDX10223",
}


def token_rejected(reason: Rejection, *, authority: str, resource: str, found: str) -> HttpError:
    """No acceptable access token; `found` is the audience of the one that came.

    The challenge tells clients where to get one (Azure Key Vault docs, "Authentication, requests and responses").
    """
    message = _TOKEN_TROUBLE.get(reason) or f"AKV10022: Invalid audience. Expected {resource}, found: {found}."
    challenge = f'Bearer authorization="{authority}", resource="{resource}"'
    return HttpError(
        error_answer(HTTPStatus.UNAUTHORIZED, "Unauthorized", message, headers={"WWW-Authenticate": challenge})
    )
