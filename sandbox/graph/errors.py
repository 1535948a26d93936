"""Refusals of Microsoft Graph: `{"error": {"code", "message", "innerError"}}`.

Codes and wording: Microsoft Graph docs, "Microsoft Graph error responses and resource types", and answers of the live
service quoted in public issues.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus

from sandbox.entra.tokens import Rejection
from sandbox.http import Json, Response

CONTENT_TYPE = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"


class GraphError(Exception):
    """A refusal on its way to the edge; `annotations` stand beside its code, `inner` inside its `innerError`."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        annotations: Mapping[str, Json] | None = None,
        inner: Mapping[str, Json] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Word a refusal."""
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.annotations = dict(annotations or {})
        self.inner = dict(inner or {})
        self.headers = dict(headers or {})

    def answer(self, at: datetime, request_id: str, client_request_id: str) -> Response:
        """The refusal as its caller gets it."""
        ids = {"date": f"{at:%Y-%m-%dT%H:%M:%S}", "request-id": request_id, "client-request-id": client_request_id}
        inner = {**ids, **self.inner}
        body = {"code": self.code, "message": self.message, **self.annotations, "innerError": inner}
        return Response.of_json(self.status, {"error": body}, {"Content-Type": CONTENT_TYPE, **self.headers})


def not_modelled(what: str) -> GraphError:
    """The sandbox's own refusal of what the real service may know."""
    return GraphError(
        HTTPStatus.NOT_IMPLEMENTED, "NotImplemented", f"This operation target is not yet supported. [sandbox: {what}]"
    )


def bad_request(message: str) -> GraphError:
    """A request whose form Graph's gateway refuses."""
    return GraphError(HTTPStatus.BAD_REQUEST, "BadRequest", message)


def invalid_request(message: str) -> GraphError:
    """A request that Exchange refuses for its form."""
    return GraphError(HTTPStatus.BAD_REQUEST, "ErrorInvalidRequest", message)


def invalid_parameter(message: str) -> GraphError:
    """A query parameter that Exchange refuses."""
    return GraphError(HTTPStatus.BAD_REQUEST, "ErrorInvalidParameter", message)


def unreadable_body(message: str) -> GraphError:
    """A body that does not fit the type."""
    return GraphError(HTTPStatus.BAD_REQUEST, "RequestBodyRead", message)


def unknown_property(name: str, type_name: str) -> GraphError:
    """A body with a property that the type does not have."""
    return unreadable_body(
        f"The property '{name}' does not exist on type '{type_name}'. Make sure to only use property names that are "
        "defined by the type or mark the type as open type."
    )


def failed_validation() -> GraphError:
    """An item whose properties contradict each other, such as an end before the start (observed without detail)."""
    return GraphError(
        HTTPStatus.BAD_REQUEST, "ErrorPropertyValidationFailure", "At least one property failed validation."
    )


def occurrence_crosses() -> GraphError:
    """An occurrence on its way past its neighbour (Graph docs, "Update event")."""
    return GraphError(
        HTTPStatus.BAD_REQUEST,
        "ErrorOccurrenceCrossingBoundary",
        "Modified occurrence is crossing or overlapping adjacent occurrence.",
    )


def zone_unknown(name: str) -> GraphError:
    """A time zone name that is neither a Windows nor an IANA one; also an empty or missing one."""
    return GraphError(
        HTTPStatus.BAD_REQUEST,
        "TimeZoneNotSupportedException",
        f"The following TimeZone value is not supported: '{name}'.",
    )


def id_malformed() -> GraphError:
    """An item id that cannot be one."""
    return GraphError(HTTPStatus.BAD_REQUEST, "ErrorInvalidIdMalformed", "Id is malformed.")


def item_not_found() -> GraphError:
    """No such item in this mailbox."""
    return GraphError(HTTPStatus.NOT_FOUND, "ErrorItemNotFound", "The specified object was not found in the store.")


def user_not_found(name: str) -> GraphError:
    """No such object in the directory."""
    return GraphError(
        HTTPStatus.NOT_FOUND,
        "Request_ResourceNotFound",
        f"Resource '{name}' does not exist or one of its queried reference-property objects are not present.",
    )


def resource_not_found(what: str) -> GraphError:
    """No such place or business; the wording is unverified."""
    return GraphError(HTTPStatus.NOT_FOUND, "ResourceNotFound", f"The {what} was not found.")


def not_organizer() -> GraphError:
    """Somebody else's meeting cannot be called off (Graph docs, "event: cancel")."""
    return invalid_request("Your request can't be completed. You need to be an organizer to cancel a meeting.")


def mailbox_user_invalid(name: str) -> GraphError:
    """A mailbox operation on nobody."""
    return GraphError(HTTPStatus.NOT_FOUND, "ErrorInvalidUser", f"The requested user '{name}' is invalid.")


def mailbox_missing() -> GraphError:
    """A mailbox operation on an account without a mailbox in Exchange Online."""
    return GraphError(
        HTTPStatus.NOT_FOUND,
        "MailboxNotEnabledForRESTAPI",
        "The mailbox is either inactive, soft-deleted, or is hosted on-premise.",
    )


def stale_change_key() -> GraphError:
    """`If-Match` names a version that is not the present one."""
    return GraphError(
        HTTPStatus.PRECONDITION_FAILED,
        "ErrorIrresolvableConflict",
        "The send or update operation could not be performed because the change key passed in the request does not "
        "match the current change key for the item.",
    )


def duplicate_transaction(status: int, existing_id: str | None) -> GraphError:
    """A create whose `transactionId` was used before; observed live with the id of the event that used it."""
    return GraphError(
        status,
        "ErrorDuplicateTransactionId",
        "Your request can't be completed. The TransactionId specified in the request has already been used to create "
        "a different event.",
        annotations={} if existing_id is None else {"@event.existingEventId": existing_id},
    )


def options_untracked() -> GraphError:
    """A query option that change tracking of a calendar view does not know (observed live)."""
    return GraphError(
        HTTPStatus.BAD_REQUEST,
        "ErrorInvalidUrlQuery",
        "The following parameters are not supported with change tracking over the 'CalendarView' resource: "
        "'$orderby, $filter, $select, $expand, $search'.",
    )


def delta_token_invalid(name: str) -> GraphError:
    """A token of change tracking that is none of this mailbox (observed live; the status is unverified)."""
    return GraphError(HTTPStatus.BAD_REQUEST, "InvalidDeltaToken", f"The value '...' of parameter '{name}' is invalid.")


def sync_state_not_found(generation: int, highest: int, status: int) -> GraphError:
    """A token whose state is gone: everything has to be read again (observed live in this form, with 410)."""
    kept = "".join(f"[{highest + back}]" for back in (0, -2, -1))
    return GraphError(
        status,
        "SyncStateNotFound",
        f"The sync state generation is not found; generation={generation};[highest={highest}]{kept}.",
    )


def resync_required(location: str) -> GraphError:
    """The same as the docs have it, with the URL that starts anew (Graph docs, "Use delta query to track changes")."""
    return GraphError(
        HTTPStatus.GONE,
        "resyncRequired",
        "The delta token is no longer valid, and the app must reset the sync state.",
        headers={"Location": location},
    )


def invalid_subscription(message: str) -> GraphError:
    """A subscription that cannot be; for URLs that fail their validation observed live."""
    return GraphError(HTTPStatus.BAD_REQUEST, "InvalidRequest", message)


def extension_error(status: int, operation: str, reason: str) -> GraphError:
    """What the service behind a subscription refuses; `operation` is `Create`, `Read`, `Update` or `Delete`."""
    named = "".join(word.capitalize() for word in HTTPStatus(status).phrase.split())
    return GraphError(
        status, "ExtensionError", f"Operation: {operation}; Exception: [Status Code: {named}; Reason: {reason}]"
    )


def subscription_too_long(minutes: int) -> GraphError:
    """A subscription beyond the longest lifetime (observed live)."""
    return GraphError(
        HTTPStatus.BAD_REQUEST,
        "ExtensionError",
        f"Subscription expiration can only be {minutes} minutes in the future.",
    )


def subscription_exists(existing_id: str) -> GraphError:
    """The same application watches the same resource for the same changes already."""
    return GraphError(
        HTTPStatus.CONFLICT,
        "Conflict",
        f"Subscription Id {existing_id} already exists for the requested combination",
    )


def subscription_not_found() -> GraphError:
    """No such subscription of this application, or none any more."""
    return GraphError(HTTPStatus.NOT_FOUND, "ResourceNotFound", "The object was not found.")


def calendar_access_denied() -> GraphError:
    """The application lacks the Exchange permission of the operation."""
    return GraphError(HTTPStatus.FORBIDDEN, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")


def policy_denied() -> GraphError:
    """An access policy keeps the application away from the mailbox (observed live)."""
    return GraphError(
        HTTPStatus.FORBIDDEN,
        "ErrorAccessDenied",
        "Access to OData is disabled: [RAOP] : Blocked by tenant configured AppOnly AccessPolicy settings.",
    )


def directory_access_denied() -> GraphError:
    """The application lacks the directory permission of the operation."""
    return GraphError(
        HTTPStatus.FORBIDDEN, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."
    )


def application_throttled(limit: str, wait: int) -> GraphError:
    """Exchange has had enough of the application in this mailbox (observed: a refused part of a batch)."""
    return GraphError(
        HTTPStatus.TOO_MANY_REQUESTS,
        "ApplicationThrottled",
        f"Application is over its {limit} limit.",
        headers={"Content-Type": "application/json", "Retry-After": str(wait)},
    )


def too_many_requests(wait: float) -> GraphError:
    """Graph's gateway has had enough of the application (Graph docs, "Throttling guidance", sample response)."""
    return GraphError(
        HTTPStatus.TOO_MANY_REQUESTS,
        "TooManyRequests",
        "Please retry again later.",
        inner={"code": "429", "message": "Please retry after", "status": "429"},
        headers={"Content-Type": "application/json", "Retry-After": f"{wait:g}"},
    )


_TOKEN_TROUBLE = {
    Rejection.MISSING: "Access token is empty.",
    Rejection.MALFORMED: "IDX14100: JWT is not well formed, there are no dots (.).",
    Rejection.SIGNATURE: "Access token validation failure. Invalid signature.",
    Rejection.EXPIRED: "Lifetime validation failed, the token is expired.",
    Rejection.AUDIENCE: "Access token validation failure. Invalid audience.",
}


def token_rejected(reason: Rejection) -> GraphError:
    """No acceptable access token."""
    challenge = (
        'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", '
        'client_id="00000003-0000-0000-c000-000000000000"'
    )
    return GraphError(
        HTTPStatus.UNAUTHORIZED,
        "InvalidAuthenticationToken",
        _TOKEN_TROUBLE[reason],
        headers={"WWW-Authenticate": challenge},
    )
