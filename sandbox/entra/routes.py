"""The endpoints of the sandbox's Entra ID that a daemon application needs."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from hmac import compare_digest
from urllib.parse import parse_qsl, unquote

from jwt.algorithms import RSAAlgorithm

from sandbox.cloud import Cloud
from sandbox.directory import DOMAIN, Application, Directory
from sandbox.entra import errors
from sandbox.entra.assertions import check_assertion
from sandbox.entra.tokens import KEY_ID, LIFETIME, Tokens, signing_key
from sandbox.http import Json, Request, Response, Route, Router
from sandbox.recorder import Call

type Form = dict[str, str]

GRAPH_RESOURCE = "https://graph.microsoft.com"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
KNOWN_FIELDS = frozenset({"client_id", "client_secret", "client_assertion", "client_assertion_type"}) | {
    "grant_type",
    "scope",
    "claims",
    "client_info",
    "client-request-id",
    "return-client-request-id",
}
COMMON = "common"
"""The name of all tenants together: their keys are the same."""
TELEMETRY_PREFIXES = ("x-client-", "x-app-", "x-ms-lib-capability")


class Entra:
    """Entra ID of one tenant. Tokens are for the resources that services have entered in `resources`."""

    name = "login"

    def __init__(self, cloud: Cloud, directory: Directory) -> None:
        """Speak for the tenant of `directory`."""
        self._cloud = cloud
        self._directory = directory
        self.tokens = Tokens(cloud.clock, directory.tenant_id)
        self._router = Router(
            [
                Route("GET", "/{tenant}/v2.0/.well-known/openid-configuration", self._configuration),
                Route("GET", "/{tenant}/discovery/v2.0/keys", self._keys),
                Route("GET", "/{tenant}/.well-known/openid-configuration", self._configuration),
                Route("GET", "/{tenant}/discovery/keys", self._keys),
                Route("POST", "/{tenant}/oauth2/v2.0/token", self._token),
                Route("GET", "/{tenant}/oauth2/v2.0/token", self._post_only),
            ]
        )
        self._credentials: dict[str, Callable[[Application, Form, Request], str]] = {
            "client_secret": self._check_secret,
            "client_assertion": self._check_assertion,
        }

    @property
    def resources(self) -> dict[str, str]:
        """Resource URLs to service names: what tokens can be had for."""
        return self.tokens.resources

    async def handle(self, request: Request, call: Call) -> Response:
        """Answer one call. The log learns the application from the form."""
        found = self._router.find(request)
        if found is None:
            raise errors.not_modelled(self._cloud, f"{request.method} {request.path}")
        tenant = found.values["tenant"]
        is_discovery = found.route.handler in (self._configuration, self._keys)
        known = (self._directory.tenant_id, DOMAIN, *((COMMON,) if is_discovery else ()))
        if tenant.lower() not in known:
            raise errors.refuse(self._cloud, errors.TENANT_UNKNOWN, tenant=tenant)
        answer = await found.route.handler(request, call)
        return Response(
            status=answer.status,
            headers={"x-ms-request-id": self._cloud.new_id(), **answer.headers},
            body=answer.body,
        )

    def error(self, status: int, code: str, message: str) -> Response:
        """An error in OAuth 2.0's shape."""
        return errors.error_answer(self._cloud, status, code, message)

    def is_envelope(self, request: Request) -> bool:  # noqa: ARG002 - the protocol of all services
        """Nothing here is a batch."""
        return False

    def reset(self) -> None:
        """Nothing is remembered but what the directory holds: tokens stay good, as real ones do."""

    async def _configuration(self, request: Request, _call: Call) -> Response:
        """The metadata of v2.0, and those of v1.0 with its issuer; of all tenants in common, too."""
        is_common, version = request.segments[0].lower() == COMMON, "/v2.0" if "v2.0" in request.segments else ""
        tenant_id = "{tenantid}" if is_common else self._directory.tenant_id
        tenant = f"{request.base}/{COMMON if is_common else tenant_id}"
        issuer = f"{request.base}/{tenant_id}/v2.0" if version else f"https://sts.windows.net/{tenant_id}/"
        return Response.of_json(
            200,
            {
                "token_endpoint": f"{tenant}/oauth2{version}/token",
                "token_endpoint_auth_methods_supported": [
                    *("client_secret_post", "private_key_jwt", "client_secret_basic")
                ],
                "jwks_uri": f"{tenant}/discovery{version}/keys",
                "response_modes_supported": ["query", "fragment", "form_post"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
                "scopes_supported": ["openid", "profile", "email", "offline_access"],
                "issuer": issuer,
                "request_uri_parameter_supported": False,
                "authorization_endpoint": f"{tenant}/oauth2{version}/authorize",
                "tenant_region_scope": "EU",
                "cloud_instance_name": "microsoftonline.com",
                "cloud_graph_host_name": "graph.windows.net",
                "msgraph_host": "graph.microsoft.com",
            },
        )

    async def _keys(self, _request: Request, _call: Call) -> Response:
        key: Json = json.loads(RSAAlgorithm.to_jwk(signing_key().public_key()))
        published = {"kty": "RSA", "use": "sig", "kid": KEY_ID, "x5t": KEY_ID, "n": key["n"], "e": key["e"]}
        return Response.of_json(200, {"keys": [published]})

    async def _post_only(self, _request: Request, _call: Call) -> Response:
        raise errors.refuse(self._cloud, errors.METHOD_UNSUPPORTED)

    async def _token(self, request: Request, call: Call) -> Response:
        form = self._form(request)
        call.app = form.get("client_id", "")
        application = self._application(form)
        proof = self._authenticate(application, form, request)
        audience = self._audience(form)
        roles = application.graph_roles if audience == GRAPH_RESOURCE else ()
        seconds = int(LIFETIME.total_seconds())
        body = {
            "token_type": "Bearer",
            "expires_in": seconds,
            "ext_expires_in": seconds,
            "access_token": self.tokens.issue(
                application, audience, roles, capabilities=self._capabilities(form.get("claims", "{}")), proof=proof
            ),
        }
        return Response.of_json(200, body, {"Cache-Control": "no-store, no-cache", "Pragma": "no-cache"})

    def _form(self, request: Request) -> Form:
        """The fields, with the credential of an `Authorization: Basic` header among them (RFC 6749 section 2.3.1)."""
        form = dict(parse_qsl(request.body.decode(errors="replace"), keep_blank_values=True))
        for name in form:
            if name not in KNOWN_FIELDS and not name.lower().startswith(TELEMETRY_PREFIXES):
                raise errors.not_modelled(self._cloud, f"the form field '{name}'")
        scheme, _, value = request.header("authorization").partition(" ")
        if scheme.lower() == "basic":
            try:
                client_id, _, secret = b64decode(value).decode().partition(":")
            except ValueError:
                raise errors.refuse(self._cloud, errors.SECRET_MISSING) from None
            form |= {"client_id": unquote(client_id), "client_secret": unquote(secret)}
        return form

    def _application(self, form: Form) -> Application:
        for name in ("grant_type", "client_id", "scope"):
            if not form.get(name):
                raise errors.refuse(self._cloud, errors.PARAMETER_MISSING, name=name)
        if form["grant_type"] != "client_credentials":
            raise errors.refuse(self._cloud, errors.GRANT_UNSUPPORTED, grant_type=form["grant_type"])
        application = self._directory.applications.get(form["client_id"].lower())
        if application is None:
            raise errors.refuse(
                self._cloud,
                errors.APPLICATION_UNKNOWN,
                client_id=form["client_id"],
                tenant=self._directory.tenant_id,
            )
        return application

    def _authenticate(self, application: Application, form: Form, request: Request) -> str:
        """How the application has proved itself, as the `appidacr` of a token says it."""
        for name, check in self._credentials.items():
            if form.get(name):
                return check(application, form, request)
        raise errors.refuse(self._cloud, errors.SECRET_MISSING)

    def _check_secret(self, application: Application, form: Form, _request: Request) -> str:
        given = form["client_secret"].encode()
        found = [secret for secret in application.secrets if compare_digest(given, secret.encode())]
        if not found:
            raise errors.refuse(self._cloud, errors.SECRET_WRONG, client_id=application.client_id)
        end = application.ends.get(found[0])
        if end is not None and end <= self._cloud.clock.now():
            raise errors.refuse(self._cloud, errors.SECRET_EXPIRED, client_id=application.client_id)
        return "1"

    def _check_assertion(self, application: Application, form: Form, request: Request) -> str:
        kind = form.get("client_assertion_type")
        if not kind:
            raise errors.refuse(self._cloud, errors.PARAMETER_MISSING, name="client_assertion_type")
        if kind != ASSERTION_TYPE:
            raise errors.not_modelled(self._cloud, f"client_assertion_type={kind}")
        tenant = f"{request.base}/{self._directory.tenant_id}"
        check_assertion(self._cloud, application, form["client_assertion"], f"{tenant}/oauth2/v2.0/token")
        return "2"

    def _capabilities(self, claims: str) -> list[str]:
        """What the client says it can do (Microsoft identity platform docs, "Claims challenges, client capabilities").

        Nothing else can be asked for by `claims`.
        """
        try:
            wanted = json.loads(claims)
            values = wanted["access_token"]["xms_cc"]["values"] if wanted else []
        except (ValueError, TypeError, KeyError):
            wanted, values = None, []
        if wanted not in ({}, {"access_token": {"xms_cc": {"values": values}}}) or not isinstance(values, list):
            raise errors.not_modelled(self._cloud, f"claims={claims}")
        return [str(value) for value in values]

    def _audience(self, form: Form) -> str:
        """The resource of the only scope that client credentials may ask for, `<resource>/.default`."""
        scope = form["scope"].strip()
        resource, suffix = scope[: -len("/.default")], scope[-len("/.default") :]
        if suffix != "/.default" or " " in scope:
            raise errors.refuse(self._cloud, errors.SCOPE_INVALID, scope=scope)
        if resource.rstrip("/") not in self.resources:
            raise errors.refuse(
                self._cloud, errors.RESOURCE_UNKNOWN, resource=resource, tenant=self._directory.tenant_id
            )
        return resource.rstrip("/")
