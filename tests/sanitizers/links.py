"""A program that runs streams of every flavour through both engines and prints where each ended: link and snapshot.

`python -m tests.sanitizers.links COMMANDS`: so many commands of each flavour. It ends with 1 where the engines differ.
"""

import sys

from matching_engine.engine import Engine
from tests.engine.differential import Stream, run_stream
from tests.engine.logs import LOGS

SEED = 11


def main(commands: int) -> int:
    """Prints a line for each flavour."""
    for flavour in LOGS:
        outcome = run_stream(Stream(flavour, SEED, commands), Engine)
        print(f"{flavour}: {outcome.difference or outcome.standing}", flush=True)
        if outcome.difference:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
