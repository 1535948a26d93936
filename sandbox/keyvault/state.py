"""What is in the vault: secrets with their versions, and the deleted ones that can still be recovered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

RETENTION = timedelta(days=90)
VERSION_BITS = 128


@dataclass(slots=True, kw_only=True)
class Version:
    """One version of a secret; times are whole seconds since 1970. `kid` names the key of a certificate's secret."""

    id: str
    value: str = field(repr=False)
    created: int
    updated: int
    content_type: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    enabled: bool = True
    not_before: int | None = None
    expires: int | None = None
    kid: str | None = None


@dataclass(slots=True)
class Secret:
    """A name and its versions, the oldest first."""

    name: str
    versions: list[Version]
    deleted: datetime | None = None

    @property
    def latest(self) -> Version:
        """The version that counts when none is named, even if it is disabled."""
        return self.versions[-1]

    def version(self, version_id: str) -> Version | None:
        """One version."""
        return next((version for version in self.versions if version.id == version_id.lower()), None)


class State:
    """All secrets by name, which ignores case."""

    def __init__(self, random: Random) -> None:
        """Start empty; version ids come from `random`."""
        self._random = random
        self.secrets: dict[str, Secret] = {}
        self.deleted: dict[str, Secret] = {}

    def clear(self) -> None:
        """Empty the vault."""
        self.secrets.clear()
        self.deleted.clear()

    def new_version_id(self) -> str:
        """32 hexadecimal digits."""
        return f"{self._random.getrandbits(VERSION_BITS):032x}"

    def add(self, name: str, version: Version) -> Secret:
        """Make `version` the latest of the secret `name`."""
        secret = self.secrets.setdefault(name.lower(), Secret(name, []))
        secret.versions.append(version)
        return secret

    def delete(self, secret: Secret, at: datetime) -> None:
        """Take the secret away with all its versions, recoverably."""
        secret.deleted = at
        self.deleted[secret.name.lower()] = self.secrets.pop(secret.name.lower())

    def recover(self, secret: Secret) -> None:
        """Put a deleted secret back."""
        secret.deleted = None
        self.secrets[secret.name.lower()] = self.deleted.pop(secret.name.lower())

    def purge_overdue(self, now: datetime) -> None:
        """Forget what was deleted too long ago."""
        for name, secret in list(self.deleted.items()):
            if secret.deleted is not None and secret.deleted + RETENTION <= now:
                del self.deleted[name]
