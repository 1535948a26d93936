"""The simulated storage, and the books about it: every transaction is checked for what it does with posts (R11)."""

from __future__ import annotations

from collections.abc import Sequence

from shared.tables.memory import MemoryTables
from shared.tables.tables import Delete, Operation


class Ledger(MemoryTables):
    """The tables. A transaction that settles marks must keep their posts: in other marks, or in the journal.

    `accepted` are the posts that were taken in, `ended` those that the journal has, `waiting` the marks by row, each
    with its posts. `complaints` says which transactions lost or invented posts.
    """

    def __init__(self) -> None:
        """Start empty."""
        super().__init__()
        self.clear()

    def clear(self) -> None:
        """Forget everything, as if the table had been deleted."""
        super().clear()
        self.accepted = 0
        self.ended = 0
        self.waiting: dict[tuple[str, str], tuple[str, int]] = {}
        self.proven_deleted: set[str] = set()
        self.complaints: list[str] = []

    async def transact(self, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
        """All operations or none, and into the books."""
        etags = await super().transact(partition, operations)
        self._book(partition, operations)
        return etags

    def _book(self, partition: str, operations: Sequence[Operation]) -> None:
        settled = added = ended = 0
        settles = False
        for operation in operations:
            kind = operation.row.partition(":")[0]
            place = (partition, operation.row)
            if isinstance(operation, Delete):
                if kind == "mark":
                    settles = True
                    settled += self.waiting.pop(place)[1]
            elif kind == "mark":
                posts = int(operation.values["posts"])
                added += posts
                self.waiting[place] = (str(operation.values["due"]), posts)
                if operation.values["cause"] == "deleted":
                    self.proven_deleted.add(str(operation.values["booking"]))
            elif kind == "journal":
                settles = True
                ended += int(operation.values["posts"])
        self.ended += ended
        if not settles:
            self.accepted += added
        elif settled != added + ended:
            self.complaints.append(
                f"a transaction in {partition} settled {settled} posts, put off {added} and ended {ended}"
            )

    @property
    def next_due(self) -> str:
        """When the first mark is due, as the rows write it; empty without any."""
        return min((due for due, _ in self.waiting.values()), default="")
