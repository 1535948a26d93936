"""Refusals of the token endpoint: the JSON that MSAL and its like take apart.

Numbers and wording: Microsoft identity platform docs, "Microsoft Entra authentication and authorization error codes",
and answers quoted in public issues.
"""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.cloud import Cloud
from sandbox.http import HttpError, Response


@dataclass(frozen=True, slots=True)
class Refusal:
    """One kind of refusal: status, OAuth 2.0 error name, AADSTS number, and wording with places for the details."""

    status: int
    error: str
    number: int
    wording: str


APPLICATION_UNKNOWN = Refusal(
    400,
    "unauthorized_client",
    700016,
    "Application with identifier '{client_id}' was not found in the directory '{tenant}'.",
)
TENANT_UNKNOWN = Refusal(400, "invalid_request", 90002, "Tenant '{tenant}' not found.")
PARAMETER_MISSING = Refusal(
    400, "invalid_request", 900144, "The request body must contain the following parameter: '{name}'."
)
GRANT_UNSUPPORTED = Refusal(
    400,
    "unsupported_grant_type",
    70003,
    "The app requested an unsupported grant type '{grant_type}'.",
)
SECRET_MISSING = Refusal(
    401,
    "invalid_client",
    7000218,
    "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
)
SECRET_WRONG = Refusal(
    401,
    "invalid_client",
    7000215,
    "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, "
    "not the client secret ID, for a secret added to app '{client_id}'.",
)
SECRET_EXPIRED = Refusal(
    401,
    "invalid_client",
    7000222,
    "The provided client secret keys for app '{client_id}' are expired. Visit the Azure portal to create new keys for "
    "your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: "
    "https://aka.ms/certCreds.",
)
ASSERTION_MALFORMED = Refusal(401, "invalid_client", 50027, "JWT token is invalid or malformed.")
ASSERTION_UNSIGNED = Refusal(
    401, "invalid_client", 50027, "Invalid JWT token. No certificate thumbprint specified in token header."
)
CERTIFICATE_UNKNOWN = Refusal(
    401,
    "invalid_client",
    700027,
    "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The "
    "key was not found., Thumbprint of key used by client: '{thumbprint}', Please visit the Azure Portal, Graph "
    "Explorer or directly use MS Graph to see configured keys for app Id '{client_id}'.]",
)
CERTIFICATE_EXPIRED = Refusal(
    401,
    "invalid_client",
    700027,
    "Client assertion failed signature validation. [Reason - The key used is expired., Thumbprint of key used by "
    "client: '{thumbprint}', Found key 'Start={start:%m/%d/%Y %H:%M:%S}, End={end:%m/%d/%Y %H:%M:%S}']",
)
SIGNATURE_WRONG = Refusal(
    401,
    "invalid_client",
    700027,
    "Client assertion failed signature validation. [Reason - The provided signature value did not match the expected "
    "signature value., Thumbprint of key used by client: '{thumbprint}', "
    "Found key 'Start={start:%m/%d/%Y %H:%M:%S}, End={end:%m/%d/%Y %H:%M:%S}']",
)
ASSERTION_OUT_OF_TIME = Refusal(
    401,
    "invalid_client",
    700024,
    "Client assertion is not within its valid time range. Current time: {now}, assertion valid from {begins}, expiry "
    "time of assertion {ends}. Review the documentation at "
    "https://learn.microsoft.com/entra/identity-platform/certificate-credentials .",
)
ASSERTION_OF_ANOTHER = Refusal(
    401,
    "invalid_client",
    700021,
    "Client assertion application identifier doesn't match 'client_id' parameter.",
)
ASSERTION_FOR_ANOTHER = Refusal(
    401, "invalid_client", 700023, "Client assertion audience claim does not match Realm issuer."
)
SCOPE_INVALID = Refusal(
    400,
    "invalid_scope",
    70011,
    "The provided value for the input parameter 'scope' is not valid. The scope {scope} is not valid.",
)
RESOURCE_UNKNOWN = Refusal(
    400,
    "invalid_resource",
    500011,
    "The resource principal named {resource} was not found in the tenant named {tenant}.",
)
METHOD_UNSUPPORTED = Refusal(405, "invalid_request", 900561, "The endpoint only accepts POST requests.")


def refuse(cloud: Cloud, refusal: Refusal, **details: object) -> HttpError:
    """A refusal ready to be raised."""
    message = f"AADSTS{refusal.number}: {refusal.wording.format_map(details)}"
    return HttpError(error_answer(cloud, refusal.status, refusal.error, message, refusal.number))


def not_modelled(cloud: Cloud, what: str) -> HttpError:
    """The sandbox's own refusal of what the real endpoint may know."""
    return HttpError(error_answer(cloud, 501, "not_implemented", f"The sandbox's Entra ID does not know {what}."))


def error_answer(cloud: Cloud, status: int, error: str, message: str, number: int | None = None) -> Response:
    """The shape of every refusal."""
    at = f"{cloud.clock.now():%Y-%m-%d %H:%M:%SZ}"
    trace, correlation = cloud.new_id(), cloud.new_id()
    description = f"{message} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {at}"
    body: dict[str, object] = {
        "error": error,
        "error_description": description,
        "error_codes": [] if number is None else [number],
        "timestamp": at,
        "trace_id": trace,
        "correlation_id": correlation,
    }
    if number is not None:
        body["error_uri"] = f"https://login.microsoftonline.com/error?code={number}"
    return Response.of_json(status, body, {"Cache-Control": "no-store, no-cache", "Pragma": "no-cache"})
