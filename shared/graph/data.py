"""What notifications bring along of events: decrypted, and believed. Implements `shared.intake.notices.DataSide`.

The certificate is one of Key Vault. Graph knows it by its version there, so whatever was encrypted for an older version
can be read for as long as that is enabled. What cannot be read, or is not proven to be Graph's, is no data: then the
event is read as if nothing had come along.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence

from shared.certificates import PrivateKey, in_base64, key_pair
from shared.errors import TransientError
from shared.graph.wire import Style, told_of
from shared.proof import Proof
from shared.sealed import Sealed, unseal
from shared.secrets import Secrets
from shared.sync.model import EventId, MailboxId, Told
from shared.sync.subscriptions import Certificate

MOST_VERSIONS = 4
"""How many private keys are kept in memory."""
_VERSION = re.compile(r"[0-9a-f]{32}")
"""How Key Vault names versions."""

log = logging.getLogger(__name__)


class GraphData:
    """Reads what was encrypted for the certificate `name` of a vault."""

    def __init__(self, *, secrets: Secrets, name: str, proof: Proof, style: Style) -> None:
        """Take the ports; events are read as those of `style`."""
        self._secrets = secrets
        self._name = name
        self._proof = proof
        self._style = style
        self._keys: dict[str, PrivateKey] = {}

    async def certificate(self) -> Certificate:
        """The one for which Graph has to encrypt from now on. Raises `TransientError`."""
        secret = await self._secrets.get(self._name)
        _, certificate = key_pair(self._name, secret)
        return Certificate(id=secret.version, text=in_base64(certificate))

    async def is_proven(self, tokens: Sequence[str]) -> bool:
        """Whether the tokens of a post prove that it comes from Graph."""
        try:
            return await self._proof.is_given(tokens)
        except TransientError as error:
            log.warning("what a post of Graph brought along is not used: %s", error)
            return False

    async def told(self, mailbox: MailboxId, event: EventId, etag: str, sealed: Sealed) -> Told | None:
        """What came along of this event, if it can be read and is enough to know."""
        try:
            key = await self._key(sealed.certificate)
            value = json.loads(unseal(sealed, key)) if key is not None else None
        except (TransientError, ValueError) as error:
            log.warning("what a post of Graph brought along cannot be read: %s", type(error).__name__)
            return None
        if not isinstance(value, dict) or value.get("id") != event or not etag:
            return None
        return told_of(mailbox, value, etag, self._style)

    async def _key(self, version: str) -> PrivateKey | None:
        if not _VERSION.fullmatch(version):
            return None
        if version not in self._keys:
            name = f"{self._name}/{version}"
            key, _ = key_pair(name, await self._secrets.get(name))
            while len(self._keys) >= MOST_VERSIONS:
                del self._keys[next(iter(self._keys))]
            self._keys[version] = key
        return self._keys[version]
