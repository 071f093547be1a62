"""The bank of seeded bugs; each must be caught."""

from tests.mutants.compiled_bank import COMPILED_BANK
from tests.mutants.compiled_blocks_bank import COMPILED_BLOCKS_BANK
from tests.mutants.reference_bank import REFERENCE_BANK
from tests.mutants.shared_bank import SHARED_BANK

BANK = REFERENCE_BANK + SHARED_BANK + COMPILED_BANK + COMPILED_BLOCKS_BANK
CHEAP = tuple(
    mutant
    for mutant in REFERENCE_BANK
    if mutant.name
    in (
        "a trade at the taker's price",
        "the newest order first at a price",
        "self-trade prevention ignored",
        "an IOC remainder rests",
        "a cancel releases twice",
        "a node sells one GPU more than it has",
    )
)
