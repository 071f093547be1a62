"""The bytes of the proof are fixed: every backend gives those of `tests/golden/proof.json`."""

import json
from pathlib import Path

import numpy as np
import pytest

from agents.node.challenge import Chain, NumpyBackend, answer_residency, run_chain
from schemas.challenge import GENESIS_LINK, MATRIX_A, MATRIX_B, leaf_hash, links_of, matrix_rows, round_key
from schemas.nodes import Challenge
from schemas.residency import fold_rows, residency_key
from tests.fixtures.proof_oracle import CASES, vectors

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "proof.json").read_text())


def run(golden: dict) -> Chain:
    challenge = Challenge(
        challenge_id="c1",
        cause="idle",
        nonce=golden["nonce"],
        n=golden["n"],
        rounds=golden["rounds"],
        gpu_uuids=(golden["gpu_uuid"],),
        issued_ms=0,
        deadline_ms=60_000,
    )
    return run_chain(NumpyBackend(), challenge, golden["agent"], golden["gpu_uuid"])


def row_of(chain: Chain, number: int, index: int) -> np.ndarray:
    return np.frombuffer(chain.rounds[number - 1].open_row(index)[0], "<i4")


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: f"n={golden['n']}")
def test_keys_matrices_rows_roots_folds_head_and_digest_are_these_on_every_backend(golden):
    n, stride, chain = golden["n"], golden["stride"], run(golden)
    links = links_of([round_.root for round_ in chain.rounds])
    second_key = residency_key(golden["second_nonce"], golden["agent"], golden["gpu_uuid"], chain.head)
    residency = answer_residency(chain, golden["agent"], golden["second_nonce"], stride)
    made = []
    for number in range(1, golden["rounds"] + 1):
        key = round_key(golden["nonce"], golden["agent"], golden["gpu_uuid"], number, links[number - 1])
        ends = np.stack([row_of(chain, number, 0), row_of(chain, number, n - 1)])
        folds = fold_rows(second_key, number, [0, n - 1], ends, stride)
        made.append(
            {
                "key": key.hex(),
                "a_first": matrix_rows(key, MATRIX_A, n, 0, 1)[0, :16].tolist(),
                "b_last": matrix_rows(key, MATRIX_B, n, n - 1, 1)[0, -16:].tolist(),
                "c_first": ends[0, :8].tolist(),
                "c_last": ends[1, -8:].tolist(),
                "leaf_1": leaf_hash(row_of(chain, number, 1).tobytes()).hex(),
                "root": chain.rounds[number - 1].root.hex(),
                "link": links[number].hex(),
                "fold_first": f"{int(folds[0]):016x}",
                "fold_last": f"{int(folds[1]):016x}",
                "residency_root": residency.roots[number - 1].hex(),
            }
        )
    found = {"made": made, "head": chain.head.hex(), "residency_key": second_key.hex()}
    assert golden | found | {"digest": residency.digest.hex()} == golden
    assert links[0] == GENESIS_LINK


def test_the_vectors_are_what_plain_integer_arithmetic_gives():
    assert vectors(**CASES[0]) == GOLDEN[0]
    assert [{name: golden[name] for name in CASES[0]} for golden in GOLDEN] == list(CASES)
