"""How Microsoft's Azure packages are used here: with limits of our own, and with our errors instead of theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from azure.core.exceptions import AzureError, HttpResponseError, ServiceRequestError
from azure.identity.aio import ManagedIdentityCredential

from shared.errors import CredentialError, NotSentError, ThrottledError, UnavailableError

LIMITS: Mapping[str, Any] = {
    # The packages' own total is seven days (azure-core RetryPolicy); a change would rather be put off.
    "retry_total": 3,
    "retry_backoff_max": 4,
    "timeout": 20,
    "connection_timeout": 5,
    "read_timeout": 10,
}
LONGEST = 30.0
"""Seconds after which a call has failed, whatever a package thinks of it: outside Azure its search for a managed
identity goes on for minutes."""


def managed_identity(client_id: str) -> ManagedIdentityCredential:
    """The app's managed identity: user-assigned with this client id, the system-assigned one for an empty id.

    `DefaultAzureCredential` would try it, too, but among a dozen other ways to sign in: it may find a developer's
    account where it should have failed, and it fails late and with all their messages (Azure Identity docs,
    "Credential chains", advise against it in production).
    """
    return ManagedIdentityCredential(client_id=client_id or None, **LIMITS)


@asynccontextmanager
async def own_errors(what: str) -> AsyncIterator[None]:
    """`CredentialError`, `ThrottledError`, `NotSentError` or `UnavailableError`, beginning with `what`; no content."""
    try:
        async with asyncio.timeout(LONGEST):
            yield
    except HttpResponseError as error:
        status = error.status_code or 0
        said = f"{what}: {status or type(error).__name__} {_code(error)}".rstrip()
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            raise ThrottledError(said) from error
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise UnavailableError(said) from error
        raise CredentialError(said) from error
    except ServiceRequestError as error:
        raise NotSentError(f"{what}: {type(error).__name__}") from error
    except (AzureError, TimeoutError) as error:
        raise UnavailableError(f"{what}: {type(error).__name__}") from error


def _code(error: HttpResponseError) -> str:
    """The service's code, the inner one if there is one."""
    if error.error is None:
        return ""
    return str((error.error.innererror or {}).get("code") or error.error.code or "")
