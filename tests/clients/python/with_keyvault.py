"""Microsoft's Key Vault client for secrets, with azure-identity."""

from __future__ import annotations

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import ClientSecretCredential
from azure.keyvault.secrets import SecretClient
from steps import sandbox, step, tell

credential = ClientSecretCredential(
    sandbox.tenant_id,
    sandbox.client_id,
    sandbox.client_secret,
    authority=sandbox.login,
    disable_instance_discovery=True,
)


def main(client: SecretClient) -> None:
    with step("secret: set by answering the vault's challenge, get"):
        first = client.set_secret("conformance", "one", content_type="text/plain", tags={"made": "here"})
        assert client.get_secret("conformance").value == "one"
        assert first.properties.content_type == "text/plain"
        assert first.properties.tags == {"made": "here"}
        assert first.properties.created_on is not None

    with step("secret: a second version, the first by its name"):
        second = client.set_secret("conformance", "two")
        assert second.properties.version != first.properties.version
        assert client.get_secret("conformance").value == "two"
        assert client.get_secret("conformance", first.properties.version).value == "one"

    with step("versions: list"):
        versions = {item.version for item in client.list_properties_of_secret_versions("conformance")}
        assert versions == {first.properties.version, second.properties.version}

    with step("secrets: list"):
        assert "conformance" in {item.name for item in client.list_properties_of_secrets()}

    with step("secret: disable a version, see it refused"):
        client.update_secret_properties("conformance", second.properties.version, enabled=False)
        try:
            client.get_secret("conformance", second.properties.version)
        except HttpResponseError as error:
            assert error.status_code == 403
        else:
            raise AssertionError("read though it is disabled")

    with step("secret: back up, delete, recover, delete and purge, restore"):
        backup = client.backup_secret("conformance")
        deleted = client.begin_delete_secret("conformance").result()
        assert deleted.recovery_id
        assert client.get_deleted_secret("conformance").name == "conformance"
        client.begin_recover_deleted_secret("conformance").wait()
        assert client.get_secret("conformance", first.properties.version).value == "one"
        client.begin_delete_secret("conformance").wait()
        client.purge_deleted_secret("conformance")
        assert client.restore_secret_backup(backup).name == "conformance"

    with step("secret: what does not exist is not found"):
        try:
            client.get_secret("nothing-here")
        except ResourceNotFoundError as error:
            assert error.error.code == "SecretNotFound"
        else:
            raise AssertionError("found")


with SecretClient(sandbox.keyvault, credential, verify_challenge_resource=False) as client:
    main(client)
tell("azure-keyvault-secrets", "azure-identity")
