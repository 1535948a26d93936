"""Azure Table Storage behind the port `Tables`. The only module that imports the SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

from azure.core import MatchConditions
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.data.tables import TableTransactionError, UpdateMode
from azure.data.tables.aio import TableClient, TableServiceClient

from shared.azure_sdk import LIMITS
from shared.errors import PreconditionError, RefusedError, UnavailableError
from shared.tables.tables import Delete, Insert, Operation, Put, Replace, Stored, Value, check

_SYSTEM = frozenset({"PartitionKey", "RowKey", "Timestamp"})
_NOT_AS_READ = frozenset({404, 409, 412})


class AzureTables:
    """Implements `Tables` on one table of a storage account."""

    def __init__(self, service: TableServiceClient, table: str) -> None:
        """Use `service`, which this object closes."""
        self._service = service
        self._client: TableClient = service.get_table_client(table)

    @classmethod
    def from_connection_string(cls, connection_string: str, table: str) -> Self:
        """Open a storage account by its connection string."""
        return cls(TableServiceClient.from_connection_string(connection_string, **LIMITS), table)

    @classmethod
    def from_identity(cls, endpoint: str, credential: AsyncTokenCredential, table: str) -> Self:
        """Open a storage account by its table endpoint and an identity."""
        return cls(TableServiceClient(endpoint, credential=credential, **LIMITS), table)

    async def create(self) -> None:
        """Make the table unless it exists."""
        async with self._own_errors("create table"):
            await self._service.create_table_if_not_exists(self._client.table_name)

    async def close(self) -> None:
        """Close the connections."""
        await self._service.close()

    async def get(self, partition: str, row: str) -> Stored | None:
        """One row."""
        async with self._own_errors("get row"):
            try:
                return _stored(await self._client.get_entity(partition, row))
            except ResourceNotFoundError as error:
                if _code(error) == "TableNotFound":
                    raise
                return None

    async def query(self, partition: str, first: str, last: str, limit: int | None = None) -> Sequence[Stored]:
        """The rows from `first` up to but not including `last`."""
        condition = "PartitionKey eq @partition and RowKey ge @first and RowKey lt @last"
        parameters = {"partition": partition, "first": first, "last": last}
        found: list[Stored] = []
        async with self._own_errors("query rows"):
            page = min(limit, 1000) if limit is not None else 1000
            async for entity in self._client.query_entities(condition, parameters=parameters, results_per_page=page):
                found.append(_stored(entity))
                if len(found) == limit:
                    break
        return found

    async def transact(self, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
        """All operations or none."""
        check(partition, operations)
        async with self._own_errors("write rows"):
            results = await self._client.submit_transaction([_as_sdk(partition, operation) for operation in operations])
        return [str(result.get("etag") or "") for result in results]

    @asynccontextmanager
    async def _own_errors(self, operation: str) -> AsyncIterator[None]:
        """No exception of the SDK leaves this module. A table that was deleted meanwhile is made again."""
        try:
            yield
        except (ResourceExistsError, ResourceModifiedError) as error:
            raise PreconditionError(f"{operation}: {_code(error)}") from error
        except HttpResponseError as error:
            if _code(error) == "TableNotFound":
                await self.create()
            elif isinstance(error, TableTransactionError) and error.status_code in _NOT_AS_READ:
                raise PreconditionError(f"{operation}: {_code(error)} at operation {error.index}") from error
            raise _by_status(operation, error) from error
        except AzureError as error:
            raise UnavailableError(f"{operation}: {type(error).__name__}") from error


def _stored(entity: Mapping[str, Any]) -> Stored:
    values = {name: value for name, value in entity.items() if name not in _SYSTEM}
    return Stored(entity["RowKey"], values, entity.metadata["etag"])  # type: ignore[attr-defined]


def _as_sdk(partition: str, operation: Operation) -> Any:
    keys: dict[str, Value] = {"PartitionKey": partition, "RowKey": operation.row}
    match operation:
        case Insert(values=values):
            return "create", {**values, **keys}
        case Put(values=values):
            return "upsert", {**values, **keys}, {"mode": UpdateMode.REPLACE}
        case Replace(values=values, etag=None):
            return "update", {**values, **keys}, {"mode": UpdateMode.REPLACE}
        case Replace(values=values, etag=etag):
            condition = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
            return "update", {**values, **keys}, {"mode": UpdateMode.REPLACE, **condition}
        case Delete(etag=None):
            return "delete", keys
        case Delete(etag=etag):
            return "delete", keys, {"etag": etag, "match_condition": MatchConditions.IfNotModified}


def _by_status(operation: str, error: HttpResponseError) -> RefusedError | UnavailableError:
    status = error.status_code or 0
    if status in (400, 413):  # what was sent can never be stored; anything else may get better
        return RefusedError(f"{operation}: the storage answered {status} {_code(error)}")
    return UnavailableError(f"{operation}: the storage answered {status} {_code(error)}")


def _code(error: HttpResponseError) -> str:
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or error.reason or "")
