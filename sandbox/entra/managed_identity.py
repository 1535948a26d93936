"""The managed identity endpoint of App Service and Functions, which an app finds by `IDENTITY_ENDPOINT`.

App Service docs, "How to use managed identities for App Service and Azure Functions", REST endpoint reference; the
refusals are answers quoted in public issues. Like the real one it speaks plain HTTP on loopback.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from hmac import compare_digest

from sandbox.cloud import Cloud
from sandbox.directory import Application
from sandbox.entra.tokens import Tokens
from sandbox.http import HttpError, Request, Response
from sandbox.recorder import Call

PATH = "/msi/token"
API_VERSION = "2019-08-01"
LIFETIME = timedelta(hours=24)
SPARE = timedelta(minutes=5)
GRAPH_RESOURCE = "https://graph.microsoft.com"
HARD_HEADER_BITS = 128


class ManagedIdentity:
    """Gives tokens to whoever knows `header`. `system` is the system-assigned identity, `user` are the others by id.

    A token is given out again until it is nearly over, whatever was granted meanwhile: nobody can force a new one
    (Microsoft Entra docs, "Managed identity best practice recommendations").
    """

    name = "identity"

    def __init__(self, cloud: Cloud, tokens: Tokens) -> None:
        """Make the endpoint of an app without identities."""
        self._cloud = cloud
        self._tokens = tokens
        self._given: dict[tuple[str, str], tuple[str, datetime]] = {}
        self.header = f"{cloud.random.getrandbits(HARD_HEADER_BITS):032X}"
        self.system: Application | None = None
        self.user: dict[str, Application] = {}

    def assign(self, identity: Application) -> None:
        """Give the app a user-assigned identity."""
        self.user[identity.client_id] = identity

    async def handle(self, request: Request, call: Call) -> Response:
        """Answer one call. The log learns the identity."""
        if (request.method, request.path.rstrip("/")) != ("GET", PATH):
            raise HttpError(self.error(501, "", f"The sandbox does not know {request.method} {request.path}."))
        if not compare_digest(request.header("x-identity-header").encode(), self.header.encode()):
            raise HttpError(self.error(401, "", "The X-IDENTITY-HEADER header is missing or wrong."))
        query = dict(request.query)
        version, resource = query.pop("api-version", ""), query.pop("resource", "")
        if version != API_VERSION:
            raise HttpError(self.error(400, "", f"Unsupported api-version '{version}'."))
        if not resource:
            raise HttpError(self.error(400, "", "The resource parameter is missing."))
        identity = self._identity(query)
        call.app = identity.client_id
        token, until = self._token(identity, resource)
        return Response.of_json(
            200,
            {
                "access_token": token,
                "expires_on": str(int(until.timestamp())),
                "resource": resource,
                "token_type": "Bearer",
                "client_id": identity.client_id,
            },
        )

    def error(self, status: int, code: str, message: str) -> Response:  # noqa: ARG002 - the protocol of all services
        """An error in the endpoint's shape."""
        body = {"statusCode": status, "message": message, "correlationId": self._cloud.new_id()}
        return Response.of_json(status, body)

    def is_envelope(self, request: Request) -> bool:  # noqa: ARG002 - the protocol of all services
        """Nothing here is a batch."""
        return False

    def reset(self) -> None:
        """Forget the tokens that were given out; the identities stay, as the registered applications do."""
        self._given.clear()

    def _identity(self, query: dict[str, str]) -> Application:
        """The identity that the rest of the query names."""
        for name in query:
            if name not in ("client_id", "principal_id"):
                raise HttpError(self.error(501, "", f"The sandbox does not know the query parameter '{name}'."))
        client_id, principal_id = query.get("client_id", "").lower(), query.get("principal_id", "").lower()
        known = [*self.user.values(), *([self.system] if self.system else [])]
        for identity in known:
            if identity.client_id == client_id or identity.object_id == principal_id:
                return identity
        if query or self.system is None:
            message = (
                "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId"
            )
            raise HttpError(self.error(400, "", message if query else "No Managed Identity found."))
        return self.system

    def _token(self, identity: Application, resource: str) -> tuple[str, datetime]:
        audience, now = resource.rstrip("/"), self._cloud.clock.now()
        if audience not in self._tokens.resources:
            raise HttpError(
                self.error(
                    400, "", f"AADSTS500011: The resource principal named {resource} was not found in the tenant."
                )
            )
        token, until = self._given.get((identity.client_id, audience), ("", now))
        if until - now <= SPARE:
            until = now + LIFETIME
            roles = identity.graph_roles if audience == GRAPH_RESOURCE else ()
            token = self._tokens.issue(identity, audience, roles, proof="2", lifetime=LIFETIME)
            self._given[identity.client_id, audience] = token, until
        return token, until
