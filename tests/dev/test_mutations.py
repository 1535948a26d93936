"""Faults that `dev.py simulate --mutations` seeds must still find the text that they replace."""

from __future__ import annotations

import pytest

from tests.simulation.mutations import MUTATIONS, ROOT, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_can_be_seeded(mutation: Mutation) -> None:
    text = (ROOT / "shared" / mutation.path).read_text()
    assert mutation.applied_to(text) != text
