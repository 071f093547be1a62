"""The bench of proofs: what it verifies is judged whole, down to the score, and a wrong row is found."""

import numpy as np

from benchmarks import proofs
from benchmarks.proofs import MadeUpNode
from services.delivery.challenges import ChallengeRules
from services.delivery.settings import Settings
from services.delivery.verifying import verify_opening

RULES = ChallengeRules(n=64, rounds=9, open_rounds=2, open_rows=4)


def reasons() -> list[str]:
    node = MadeUpNode(RULES)
    body, proof = node.answer(Settings())
    return [verdict.reason for verdict in verify_opening(body, node.node_id, "ch-1", node.public_key, proof)]


def test_drawn_rows_that_are_true_leave_nothing_to_say_but_that_so_small_a_chain_is_slow():
    assert reasons() == ["too_slow"]


def test_a_drawn_row_that_is_not_the_product_is_found(monkeypatch):
    monkeypatch.setattr(proofs, "multiply_exactly", lambda a, b: (a @ b).astype(np.int32) + 1)
    assert reasons() == ["row_differs"]
