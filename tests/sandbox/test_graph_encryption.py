"""Notifications with resource data, read as Microsoft's documentation tells a receiver to read them.

Microsoft Graph docs, "Set up change notifications that include resource data". Nothing of the simulator helps here: the
private key, the keys that Entra publishes and a cryptographic library are all that a third party has.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import CertificateBuilder, Name, NameAttribute, NameOID, random_serial_number

from sandbox.cloud import Cloud
from sandbox.directory import Directory
from sandbox.entra.certificates import BEGINS, ENDS, KeyPair, known_key_pair
from sandbox.graph.routes import Graph
from sandbox.http import Json, Request
from tests.sandbox.apps import ALICE, BOOKING, IMMUTABLE, App, code
from tests.sandbox.loops import VIRTUAL_TIME
from tests.sandbox.receivers import URL, Receiver
from tests.sandbox.test_graph_notifications import ONCE, change
from tests.sandbox.test_graph_subscriptions import ALICE_ID, a_subscription, in_minutes, refusal, subscribe

pytestmark = VIRTUAL_TIME

PUBLISHER = "0bf30f3b-4a52-48df-9a82-234910c4a086"
RESOURCE = f"users/{ALICE_ID}/events?$select=subject,start,end,showAs,location,lastModifiedDateTime"
MARKED = f"{RESOURCE}&$expand=singleValueExtendedProperties($filter=id eq '{BOOKING}')"


@pytest.fixture
def receiver(cloud: Cloud) -> Receiver:
    receiver = Receiver(cloud)
    cloud.send = receiver.send
    return receiver


@pytest.fixture
async def app(app_with: Callable[..., App], receiver: Receiver, cloud: Cloud) -> App:
    assert not receiver.posts
    cloud.settings.change(ONCE)
    return app_with("Calendars.Read", "Calendars.ReadWrite")


def exported(pair: KeyPair) -> str:
    """The public part only, as the base 64 of X.509."""
    return b64encode(pair.certificate.public_bytes(Encoding.DER)).decode()


def rich(resource: str = RESOURCE, *, key: str = "first", **changes: Json) -> dict[str, Any]:
    return {
        "resource": resource,
        "includeResourceData": True,
        "encryptionCertificate": exported(known_key_pair(key)),
        "encryptionCertificateId": f"{key} key",
        **changes,
    }


def decrypted(item: Json, pairs: dict[str, KeyPair]) -> Json:
    """The six steps of the documentation."""
    sealed = item["encryptedContent"]
    pair = pairs[sealed["encryptionCertificateId"]]
    key = pair.key.decrypt(
        b64decode(sealed["dataKey"]),
        OAEP(mgf=MGF1(SHA1()), algorithm=SHA1(), label=None),  # noqa: S303 - as documented
    )
    data = b64decode(sealed["data"])
    signature = HMAC(key, hashes.SHA256())
    signature.update(data)
    signature.verify(b64decode(sealed["dataSignature"]))
    decryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    padded = decryptor.update(data) + decryptor.finalize()
    return json.loads(unpadder.update(padded) + unpadder.finalize())


async def validated(cloud: Cloud, token: str, app_id: str, tenant_id: str) -> Json:
    """The claims of a validation token, checked as the documentation tells, but for the time."""
    config = "https://login.test/common/.well-known/openid-configuration"
    keys_url = (await cloud.serve("login", Request.of("GET", config))).json()["jwks_uri"]
    assert keys_url == "https://login.test/common/discovery/keys"
    keys = (await cloud.serve("login", Request.of("GET", keys_url))).json()["keys"]
    key = next(one for one in keys if one["kid"] == jwt.get_unverified_header(token)["kid"])
    claims = jwt.decode(
        token,
        jwt.PyJWK.from_dict(key, algorithm="RS256").key,
        algorithms=["RS256"],
        audience=app_id,
        issuer=f"https://sts.windows.net/{tenant_id}/",
        options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
    )
    assert claims["nbf"] <= cloud.clock.now().timestamp() < claims["exp"]
    return claims


async def test_only_the_holder_of_the_key_reads_the_selected_properties(
    app: App, receiver: Receiver, graph: Graph, cloud: Cloud
) -> None:
    subscription = await subscribe(app, **rich(expirationDateTime=in_minutes(cloud, 1440)))
    created = await app.create(location={"displayName": "Seattle"}, showAs="tentative", body={"content": "secret"})
    await graph.notifications.quiet()
    (item,) = receiver.items
    resource = f"Users('{ALICE_ID}')/events('{created['id']}')"
    pair = known_key_pair("first")
    assert item == {
        "subscriptionId": subscription["id"],
        "subscriptionExpirationDateTime": subscription["expirationDateTime"].replace("Z", "+00:00"),
        "changeType": "created",
        "resource": resource,
        "clientState": "known to two",
        "tenantId": item["tenantId"],
        "encryptedContent": {
            **item["encryptedContent"],
            "encryptionCertificateId": "first key",
            "encryptionCertificateThumbprint": hashlib.sha1(
                pair.certificate.public_bytes(Encoding.DER), usedforsecurity=False
            )
            .hexdigest()
            .upper(),
        },
        "resourceData": {
            "@odata.type": "#microsoft.graph.event",
            "@odata.id": resource,
            "@odata.etag": created["@odata.etag"],
            "id": created["id"],
        },
    }
    assert "Boiler check" not in json.dumps(receiver.bodies)
    data = decrypted(item, {"first key": pair})
    assert data == {
        "lastModifiedDateTime@odata.type": "#DateTimeOffset",
        "lastModifiedDateTime": created["lastModifiedDateTime"],
        "subject": "Boiler check",
        "showAs@odata.type": "#microsoft.graph.freeBusyStatus",
        "showAs": "tentative",
        "start": {"@odata.type": "#microsoft.graph.dateTimeTimeZone", **created["start"]},
        "end": {"@odata.type": "#microsoft.graph.dateTimeTimeZone", **created["end"]},
        "location": {"@odata.type": "#microsoft.graph.location", **created["location"]},
    }


async def test_extended_properties_may_be_expanded_and_ids_selected(app: App, receiver: Receiver, graph: Graph) -> None:
    resource = MARKED.replace("$select=", "$select=id,organizer,categories,")
    await subscribe(app, headers=IMMUTABLE, **rich(resource))
    created = await app.create(
        headers=IMMUTABLE,
        categories=["Red"],
        singleValueExtendedProperties=[{"id": BOOKING, "value": "b1"}],
    )
    await graph.notifications.quiet()
    data = decrypted(receiver.items[0], {"first key": known_key_pair("first")})
    assert data["id"] == created["id"] == receiver.items[0]["resourceData"]["id"]
    assert data["singleValueExtendedProperties"] == [{"id": BOOKING, "value": "b1"}]
    assert data["categories@odata.type"] == "#Collection(String)"
    assert data["organizer"]["emailAddress"] == {
        "@odata.type": "#microsoft.graph.emailAddress",
        "name": "Alice Adams",
        "address": ALICE,
    }


async def test_the_data_are_those_right_after_the_change(app: App, receiver: Receiver, graph: Graph) -> None:
    await subscribe(app, **rich())
    created = await app.create()
    await change(app, created["id"], subject="Later")
    await graph.notifications.quiet()
    pairs = {"first key": known_key_pair("first")}
    assert [decrypted(item, pairs)["subject"] for item in receiver.items] == ["Boiler check", "Later"]


async def test_every_item_has_a_key_of_its_own(app: App, receiver: Receiver, graph: Graph, cloud: Cloud) -> None:
    cloud.settings.change({"notification.per_change": [3, 3]})
    await subscribe(app, **rich())
    await app.create()
    await graph.notifications.quiet()
    assert len({item["encryptedContent"]["data"] for item in receiver.items}) == 3


async def test_changed_data_are_noticed(app: App, receiver: Receiver, graph: Graph) -> None:
    await subscribe(app, **rich())
    await app.create()
    await graph.notifications.quiet()
    (item,) = receiver.items
    data = bytearray(b64decode(item["encryptedContent"]["data"]))
    data[0] ^= 1
    item["encryptedContent"]["data"] = b64encode(data).decode()
    with pytest.raises(InvalidSignature):
        decrypted(item, {"first key": known_key_pair("first")})


async def test_a_deletion_brings_no_data_but_a_token(app: App, receiver: Receiver, graph: Graph) -> None:
    await subscribe(app, **rich())
    created = await app.create()
    await app.call("DELETE", f"/users/{ALICE}/events/{created['id']}")
    await graph.notifications.quiet()
    assert ["encryptedContent" in item for item in receiver.items] == [True, False]
    assert all(len(body["validationTokens"]) == 1 for body in receiver.bodies)


class TestTokens:
    async def test_tokens_prove_where_data_come_from(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud, directory: Directory
    ) -> None:
        await subscribe(app, **rich())
        await app.create()
        await graph.notifications.quiet()
        (token,) = receiver.bodies[0]["validationTokens"]
        claims = await validated(cloud, token, app.application.client_id, directory.tenant_id)
        assert (claims["appid"], claims["tid"], claims["ver"]) == (PUBLISHER, directory.tenant_id, "1.0")
        assert claims["exp"] - claims["iat"] == 29_100
        with pytest.raises(jwt.InvalidAudienceError):
            await validated(cloud, token, PUBLISHER, directory.tenant_id)

    async def test_there_is_one_for_each_owner_in_the_post(
        self,
        app: App,
        app_with: Callable[..., App],
        receiver: Receiver,
        graph: Graph,
        cloud: Cloud,
        directory: Directory,
    ) -> None:
        other = app_with("Calendars.Read")
        for one in (app, other):
            await subscribe(one, **rich())
            await subscribe(one, **rich(changeType="created"))
        await app.create()
        await graph.notifications.quiet()
        (body,) = receiver.bodies
        assert len(body["value"]) == 4
        for token, owner in zip(body["validationTokens"], (app, other), strict=True):
            await validated(cloud, token, owner.application.client_id, directory.tenant_id)

    async def test_without_data_there_is_none(self, app: App, receiver: Receiver, graph: Graph) -> None:
        await subscribe(app)
        await app.create()
        await graph.notifications.quiet()
        assert list(receiver.bodies[0]) == ["value"]

    async def test_a_token_opens_no_door(self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud) -> None:
        await subscribe(app, **rich())
        await app.create()
        await graph.notifications.quiet()
        headers = {"Authorization": f"Bearer {receiver.bodies[0]['validationTokens'][0]}"}
        answer = await cloud.serve("graph", Request.of("GET", "/v1.0/users", headers=headers))
        assert code(answer) == (401, "InvalidAuthenticationToken")


class TestCertificates:
    async def test_a_new_certificate_counts_for_what_changes_afterwards(
        self, app: App, receiver: Receiver, graph: Graph, cloud: Cloud
    ) -> None:
        cloud.settings.change({"notification.delay_seconds": 60})
        subscription = await subscribe(app, **rich())
        await app.create()
        fields = ("encryptionCertificate", "encryptionCertificateId")
        body = {name: value for name, value in rich(key="second").items() if name in fields}
        renewed = await app.call("PATCH", f"/subscriptions/{subscription['id']}", body)
        assert renewed.json() == {**subscription, **body}
        await app.create()
        await graph.notifications.quiet()
        used = [item["encryptedContent"]["encryptionCertificateId"] for item in receiver.items]
        assert used == ["first key", "second key"]
        pairs = {f"{name} key": known_key_pair(name) for name in ("first", "second")}
        assert [decrypted(item, pairs)["subject"] for item in receiver.items] == ["Boiler check"] * 2

    async def test_the_answer_shows_what_was_given(self, app: App) -> None:
        asked = rich(MARKED)
        created = await subscribe(app, **asked)
        assert {name: created[name] for name in asked} == asked

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"encryptionCertificate": None}, "encryptionCertificate"),
            ({"encryptionCertificateId": None}, "encryptionCertificateId"),
            ({"encryptionCertificateId": "x" * 129}, "128"),
            ({"encryptionCertificate": "no certificate"}, "cannot be used"),
            ({"encryptionCertificate": b64encode(b"no certificate").decode()}, "cannot be used"),
            ({"includeResourceData": "yes"}, "includeResourceData"),
        ],
    )
    async def test_certificates_that_cannot_be(self, app: App, changes: dict[str, Json], says: str) -> None:
        found = await refusal(app, **{**rich(), **changes})
        assert found[:2] == (400, "InvalidRequest")
        assert says in found[2]

    async def test_other_keys_than_rsa_are_refused(self, app: App) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = Name([NameAttribute(NameOID.COMMON_NAME, "x")])
        builder = CertificateBuilder(name, name, key.public_key(), random_serial_number(), BEGINS, ENDS)
        der = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
        found = await refusal(app, **rich(encryptionCertificate=b64encode(der).decode()))
        assert "RSA one of 2048 to 4096 bits" in found[2]

    async def test_half_a_rotation_is_refused_and_changes_nothing(self, app: App, receiver: Receiver) -> None:
        created = await subscribe(app, **rich())
        path = f"/subscriptions/{created['id']}"
        body = {"encryptionCertificateId": "second key", "notificationUrl": f"{URL}/2"}
        assert code(await app.call("PATCH", path, body)) == (400, "InvalidRequest")
        assert (await app.get(path)).json() == created
        assert len(receiver.validations) == 1

    async def test_without_data_there_is_no_certificate(self, app: App) -> None:
        assert (await refusal(app, **rich(includeResourceData=False)))[0] == 501
        plain = await subscribe(app)
        body = {"encryptionCertificateId": "x", "encryptionCertificate": exported(known_key_pair("first"))}
        assert (await app.call("PATCH", f"/subscriptions/{plain['id']}", body)).status == 501


@pytest.mark.parametrize(
    ("resource", "status", "says"),
    [
        (f"users/{ALICE}/events", 400, "$select"),
        (f"users/{ALICE}/events?$select=", 400, "$select"),
        (f"users/{ALICE}/events?$select=subject,body", 400, "'body'"),
        (f"users/{ALICE}/events?$select=uniqueBody", 400, "'uniqueBody'"),
        (f"users/{ALICE}/events?$select=colour", 400, "'colour'"),
        (f"users/{ALICE}/events?$select=subject&$top=5", 400, "'$top'"),
        (f"users/{ALICE}/events?$select=subject&$skip=5", 400, "'$skip'"),
        (f"users/{ALICE}/events?$select=subject&$orderby=subject", 400, "'$orderby'"),
        (f"users/{ALICE}/events?$select=subject&$expand=attachments", 501, "attachments"),
        (f"users/{ALICE}/events?$select=subject&$filter=isAllDay eq true", 501, "$filter"),
        (f"users/{ALICE}/events?$select=attendees/emailAddress", 501, "attendees/emailAddress"),
    ],
)
async def test_resources_that_cannot_be_told_with_their_data(app: App, resource: str, status: int, says: str) -> None:
    found = await refusal(app, **rich(resource))
    assert found[0] == status
    assert says in found[2]


async def test_the_longest_lifetime_is_a_day(app: App, cloud: Cloud) -> None:
    subscription = await subscribe(app, **rich(expirationDateTime=in_minutes(cloud, 1440)))
    later = {"expirationDateTime": in_minutes(cloud, 1441)}
    answer = await app.call("PATCH", f"/subscriptions/{subscription['id']}", later)
    assert answer.json()["error"]["message"] == "Subscription expiration can only be 1440 minutes in the future."
    answer = await app.call("POST", "/subscriptions", a_subscription(cloud, **rich(MARKED, **later)))
    assert code(answer) == (400, "ExtensionError")
