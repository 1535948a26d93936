"""Secrets and certificates from Azure Key Vault. A certificate is read as the secret of its name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Protocol
from urllib.parse import urlsplit

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import HttpResponseError
from azure.keyvault.secrets import KeyVaultSecret, SecretProperties
from azure.keyvault.secrets.aio import SecretClient

from shared.azure_sdk import LIMITS, own_errors
from shared.cache import Cache, Fetched
from shared.errors import CredentialError
from shared.sync.ports import Clock

FOREVER = datetime.max.replace(tzinfo=UTC)

type OpenIdentity = Callable[[], AbstractAsyncContextManager[AsyncTokenCredential]]
"""Makes a credential that is used within its `async with` block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """One version of a secret."""

    value: str = field(repr=False)
    content_type: str = ""
    version: str = ""


class Secrets(Protocol):
    """Where secrets are."""

    async def get(self, name: str) -> Secret:
        """The secret. Raises `CredentialError` or another `TransientError`."""

    def discard(self, name: str, secret: Secret) -> None:
        """Forget `secret`, which somebody refused; the next `get` looks for a newer one."""


class GivenSecret:
    """Implements `Secrets` for the one secret that stands in the settings."""

    def __init__(self, value: str) -> None:
        """Give `value`, whatever the name."""
        self._secret = Secret(value=value)

    async def get(self, name: str) -> Secret:  # noqa: ARG002 - there is only one
        """The secret."""
        return self._secret

    def discard(self, name: str, secret: Secret) -> None:
        """Nothing: settings do not change while the app runs."""


class KeyVault:
    """Implements `Secrets` for one vault.

    A secret is read again in the background once `keep` is over, and at once when it was discarded. Until it is read it
    serves on: whether it is still good is for the one to say who takes it, not for a vault that cannot be reached.
    """

    def __init__(self, url: str, identity: OpenIdentity, *, clock: Clock, keep: timedelta, ca: str = "") -> None:
        """`identity` may read the vault's secrets; `ca` is a PEM file of authorities to trust, else the machine's."""
        self._url = url
        self._identity = identity
        self._clock = clock
        self._keep = keep
        self._options = {**LIMITS, "connection_verify": ca or True}
        # The challenge of a vault says for which service it wants a token. The package takes that only from hosts below
        # this service's own name, or any address in the setting could ask for tokens for Graph. No such name fits a
        # vault on this machine.
        self._options["verify_challenge_resource"] = urlsplit(url).hostname != "localhost"
        self._cache = Cache(self._fetch, clock)

    async def get(self, name: str) -> Secret:
        """The newest enabled version; of `name/version` that one. Raises `CredentialError`, or a `TransientError`."""
        return await self._cache.get(name)

    def discard(self, name: str, secret: Secret) -> None:
        """Forget `secret` unless it was replaced already."""
        self._cache.discard(name, secret)

    async def _fetch(self, name: str) -> Fetched[Secret]:
        """One reading, with connections of its own: readings are hours apart."""
        failed = f"Key Vault did not give '{name}'"
        try:
            async with (
                own_errors(failed),
                self._identity() as credential,
                SecretClient(self._url, credential, **self._options) as client,
            ):
                found = await self._read(client, name)
        except ValueError as error:
            raise CredentialError(f"{failed}: its challenge is not that of the vault at this address") from error
        secret = Secret(
            value=found.value or "",
            content_type=found.properties.content_type or "",
            version=found.properties.version or "",
        )
        return Fetched(value=secret, renew=self._clock.now() + self._keep, until=FOREVER)

    async def _read(self, client: SecretClient, name: str) -> KeyVaultSecret:
        """The latest version, or the newest good one: the service itself only ever looks at the latest."""
        name, _, version = name.partition("/")
        if version:
            return await client.get_secret(name, version)
        try:
            latest = await client.get_secret(name)
        except HttpResponseError as error:
            if error.status_code != HTTPStatus.FORBIDDEN:
                raise
        else:
            if self._is_in_force(latest.properties):
                return latest
        enabled = [one async for one in client.list_properties_of_secret_versions(name) if one.enabled]
        if not enabled:
            raise CredentialError(f"Key Vault has no enabled version of '{name}'")
        newest = max(enabled, key=lambda one: (self._is_in_force(one), one.created_on))
        return await client.get_secret(name, newest.version)

    def _is_in_force(self, version: SecretProperties) -> bool:
        """Whether now is within its dates, which the service itself does not enforce."""
        now = self._clock.now()
        return (version.not_before or now) <= now < (version.expires_on or FOREVER)
