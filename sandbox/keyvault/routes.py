"""Key Vault's secrets over HTTP (Azure Key Vault REST API, "Secrets").

A certificate is read as the secret of the same name; how certificates and keys are made and managed is not modelled.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from enum import Enum
from urllib.parse import urlencode

from sandbox.cloud import Cloud, claims_of
from sandbox.entra.certificates import KeyPair
from sandbox.entra.tokens import Claims, TokenRejected, Tokens
from sandbox.http import Json, Request, Response, Route, Router
from sandbox.keyvault import errors, represent
from sandbox.keyvault.bodies import pack, read_body, read_changes, read_name, read_value, unpack
from sandbox.keyvault.state import Secret, State, Version
from sandbox.recorder import Call

RESOURCE = "https://vault.azure.net"
API_VERSIONS = ("2016-10-01", "7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-07-01", "2026-04-01")
LARGEST_PAGE = 25
PEM, PKCS12 = "application/x-pem-file", "application/x-pkcs12"


class Role(Enum):
    """What somebody may do in the vault (Azure built-in roles, "Security")."""

    SECRETS_USER = frozenset({"secrets/getSecret/action", "secrets/readMetadata/action"})
    SECRETS_OFFICER = SECRETS_USER | {
        *("secrets/setSecret/action", "secrets/update/action", "secrets/delete", "secrets/backup/action"),
        *("secrets/restore/action", "secrets/recover/action", "secrets/purge/action"),
    }


class KeyVault:
    """One vault. `authority` is where its challenge sends clients for tokens; `roles` are by object id."""

    name = "keyvault"

    def __init__(self, cloud: Cloud, tokens: Tokens, tenant_id: str) -> None:
        """Make an empty vault that trusts the bearers of `tokens`."""
        self._cloud = cloud
        self._tokens = tokens
        self._tenant_id = tenant_id
        self.authority = "https://login.microsoftonline.com"
        self.roles: dict[str, Role] = {}
        self.state = State(cloud.random)
        tokens.resources[RESOURCE] = self.name
        self._router = Router(
            [
                Route("GET", "/secrets", self._list),
                Route("PUT", "/secrets/{name}", self._set),
                Route("GET", "/secrets/{name}", self._get),
                Route("PATCH", "/secrets/{name}", self._update),
                Route("DELETE", "/secrets/{name}", self._delete),
                Route("GET", "/secrets/{name}/versions", self._list_versions),
                Route("GET", "/secrets/{name}/{version}", self._get),
                Route("PATCH", "/secrets/{name}/{version}", self._update),
                Route("POST", "/secrets/{name}/backup", self._backup),
                Route("POST", "/secrets/restore", self._restore),
                Route("GET", "/deletedsecrets", self._list_deleted),
                Route("GET", "/deletedsecrets/{name}", self._get_deleted),
                Route("DELETE", "/deletedsecrets/{name}", self._purge),
                Route("POST", "/deletedsecrets/{name}/recover", self._recover),
            ]
        )

    async def handle(self, request: Request, _call: Call) -> Response:
        """Answer one call."""
        caller = self._caller(request)
        found = self._router.find(request)
        if found is None:
            raise errors.not_modelled(f"{request.method} {request.path}")
        self.state.purge_overdue(self._cloud.clock.now())
        for name in found.values.keys() & {"name"}:
            read_name(found.values[name])
        answer = await found.route.handler(request, caller, **found.values)
        headers = {
            "Content-Type": errors.CONTENT_TYPE,
            "Cache-Control": "no-cache",
            "x-ms-request-id": self._cloud.new_id(),
            "x-ms-keyvault-region": "westeurope",
        }
        return Response(status=answer.status, headers={**answer.headers, **headers}, body=answer.body)

    def error(self, status: int, code: str, message: str) -> Response:
        """An error in Key Vault's shape."""
        return errors.error_answer(status, code, message)

    def is_envelope(self, request: Request) -> bool:  # noqa: ARG002 - the protocol of all services
        """Nothing here is a batch."""
        return False

    def reset(self) -> None:
        """Empty the vault; roles stay, as the registered applications do."""
        self.state.clear()

    # What an administrator does by other means than these calls.

    def put_secret(self, name: str, value: str, **more: Json) -> Version:
        """Add a version; `more` are other fields of `Version`."""
        now = self._now()
        version = Version(id=self.state.new_version_id(), value=value, created=now, updated=now, **more)
        self.state.add(name, version)
        return version

    def put_certificate(self, name: str, pair: KeyPair, *, content_type: str = PKCS12) -> Version:
        """Import a certificate with its private key, to be given out as `content_type`."""
        value = pair.pem if content_type == PEM else b64encode(pair.pfx).decode()
        begins, ends = pair.certificate.not_valid_before_utc, pair.certificate.not_valid_after_utc
        version = self.put_secret(
            name,
            value,
            content_type=content_type,
            not_before=int(begins.timestamp()),
            expires=int(ends.timestamp()),
        )
        version.kid = f"https://sandbox.vault.azure.net/keys/{name}/{version.id}"
        return version

    # The operations.

    async def _get(self, request: Request, caller: Claims, name: str, version: str = "") -> Response:
        self._allow(caller, "secrets/getSecret/action", name)
        query = _query(request, "outContentType")
        secret, found = self._find(name, version)
        if not found.enabled:
            raise errors.secret_disabled()
        if query.get("outContentType", found.content_type) != found.content_type:
            raise errors.not_modelled(f"outContentType={query['outContentType']} of {found.content_type}")
        return Response.of_json(200, represent.bundle(request.base, secret, found))

    async def _set(self, request: Request, caller: Claims, name: str) -> Response:
        self._allow(caller, "secrets/setSecret/action", name)
        _query(request)
        body = read_body(request, frozenset({"value", "contentType", "tags", "attributes"}))
        if name.lower() in self.state.deleted:
            raise errors.deleted_but_recoverable(name)
        if name.lower() in self.state.secrets:
            self._refuse_managed(self.state.secrets[name.lower()])
        version = self.put_secret(name, read_value(body), **read_changes(body))
        return Response.of_json(200, represent.bundle(request.base, *self._find(name, version.id)))

    async def _update(self, request: Request, caller: Claims, name: str, version: str = "") -> Response:
        self._allow(caller, "secrets/update/action", name)
        _query(request)
        secret, found = self._find(name, version)
        self._refuse_managed(secret)
        for field, value in read_changes(read_body(request, frozenset({"contentType", "tags", "attributes"}))).items():
            setattr(found, field, value)
        found.updated = self._now()
        return Response.of_json(200, represent.properties(request.base, secret, found))

    async def _delete(self, request: Request, caller: Claims, name: str) -> Response:
        self._allow(caller, "secrets/delete", name)
        _query(request)
        secret, _ = self._find(name, "")
        self._refuse_managed(secret)
        self.state.delete(secret, self._cloud.clock.now())
        return Response.of_json(200, self._deleted(request, secret))

    async def _list(self, request: Request, caller: Claims) -> Response:
        self._allow(caller, "secrets/readMetadata/action")
        secrets = sorted(self.state.secrets.values(), key=lambda secret: secret.name.lower())
        return _page(request, [represent.item(request.base, secret) for secret in secrets])

    async def _list_versions(self, request: Request, caller: Claims, name: str) -> Response:
        """By version id, as the service sorts them: not by age."""
        self._allow(caller, "secrets/readMetadata/action", name)
        secret, _ = self._find(name, "")
        versions = sorted(secret.versions, key=lambda version: version.id)
        return _page(request, [represent.properties(request.base, secret, version) for version in versions])

    async def _backup(self, request: Request, caller: Claims, name: str) -> Response:
        self._allow(caller, "secrets/backup/action", name)
        _query(request)
        secret, _ = self._find(name, "")
        self._refuse_managed(secret)
        return Response.of_json(200, {"value": pack(secret)})

    async def _restore(self, request: Request, caller: Claims) -> Response:
        self._allow(caller, "secrets/restore/action")
        _query(request)
        secret = unpack(str(read_body(request, frozenset({"value"})).get("value", "")))
        if secret.name.lower() in self.state.secrets or secret.name.lower() in self.state.deleted:
            raise errors.exists_already(secret.name)
        self.state.secrets[secret.name.lower()] = secret
        return Response.of_json(200, represent.properties(request.base, secret, secret.latest))

    async def _list_deleted(self, request: Request, caller: Claims) -> Response:
        self._allow(caller, "secrets/readMetadata/action")
        secrets = sorted(self.state.deleted.values(), key=lambda secret: secret.name.lower())
        items = [represent.deleted(request.base, one, of=represent.item(request.base, one)) for one in secrets]
        return _page(request, items)

    async def _get_deleted(self, request: Request, caller: Claims, name: str) -> Response:
        self._allow(caller, "secrets/readMetadata/action", name)
        _query(request)
        return Response.of_json(200, self._deleted(request, self._find_deleted(name)))

    async def _purge(self, request: Request, caller: Claims, name: str) -> Response:
        self._allow(caller, "secrets/purge/action", name)
        _query(request)
        del self.state.deleted[self._find_deleted(name).name.lower()]
        return Response(status=204)

    async def _recover(self, request: Request, caller: Claims, name: str) -> Response:
        self._allow(caller, "secrets/recover/action", name)
        _query(request)
        secret = self._find_deleted(name)
        self.state.recover(secret)
        return Response.of_json(200, represent.properties(request.base, secret, secret.latest))

    # What they share.

    def _caller(self, request: Request) -> Claims:
        try:
            return self._tokens.check(request, (RESOURCE,))
        except TokenRejected as rejected:
            raise errors.token_rejected(
                rejected.reason,
                authority=f"{self.authority}/{self._tenant_id}",
                resource=RESOURCE,
                found=str(claims_of(request).get("aud")),
            ) from None

    def _allow(self, caller: Claims, action: str, name: str = "") -> None:
        role = self.roles.get(caller.object_id)
        if role is None or action not in role.value:
            who = f"appid={caller.client_id};oid={caller.object_id};iss={self._tokens.issuer}"
            raise errors.not_authorized(who, action, f"/secrets/{name.lower()}" if name else "")

    def _find(self, name: str, version: str) -> tuple[Secret, Version]:
        secret = self.state.secrets.get(name.lower())
        if secret is not None:
            found = secret.version(version) if version else secret.latest
            if found is not None:
                return secret, found
        raise errors.secret_not_found(f"{name}/{version}" if version else name)

    def _find_deleted(self, name: str) -> Secret:
        if name.lower() not in self.state.deleted:
            raise errors.deleted_secret_not_found(name)
        return self.state.deleted[name.lower()]

    def _deleted(self, request: Request, secret: Secret) -> Mapping[str, Json]:
        return represent.deleted(request.base, secret, of=represent.properties(request.base, secret, secret.latest))

    def _refuse_managed(self, secret: Secret) -> None:
        if secret.latest.kid:
            raise errors.not_modelled(f"changes of the certificate '{secret.name}'")

    def _now(self) -> int:
        return int(self._cloud.clock.now().timestamp())


def _query(request: Request, *known: str) -> dict[str, str]:
    """The query parameters; those beyond `known` are refused."""
    query = dict(request.query)
    version = query.pop("api-version", "")
    if not version:
        raise errors.bad_parameter("api-version must be specified")
    if version not in API_VERSIONS:
        raise errors.bad_parameter(
            f"The specified version ({version}) is not recognized. Consider using the latest supported version "
            f"({API_VERSIONS[-1]})."
        )
    for name in query:
        if name not in known:
            raise errors.not_modelled(f"the query parameter '{name}'")
    return query


def _page(request: Request, items: Sequence[Json]) -> Response:
    """One page of a list, with the address of the next one. `maxresults` is 1 to 25."""
    query = _query(request, "maxresults", "$skiptoken")
    size, first = query.get("maxresults", str(LARGEST_PAGE)), query.get("$skiptoken", "0")
    if not size.isdecimal() or not 1 <= int(size) <= LARGEST_PAGE:
        raise errors.bad_parameter(f"The maxresults parameter must be between 1 and {LARGEST_PAGE}.")
    if not first.isdecimal():
        raise errors.bad_parameter("The $skiptoken parameter is not valid.")
    end = int(first) + int(size)
    next_link = None
    if end < len(items):
        query = {"api-version": dict(request.query)["api-version"], "$skiptoken": str(end), "maxresults": size}
        next_link = f"{request.base}{request.path}?{urlencode(query)}"
    return Response.of_json(200, {"value": items[int(first) : end], "nextLink": next_link})
