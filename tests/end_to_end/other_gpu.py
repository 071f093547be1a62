"""The `hourbook-agent` of an environment whose GPU is another than the one that its operator is examined on."""

import sys

from agents.node import cli, renter_proof
from tests.fakes.cheats import RankOne

if __name__ == "__main__":
    renter_proof.choose_backend = lambda simulated, uuids: RankOne()
    sys.exit(cli.main())
