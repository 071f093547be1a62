"""`python -m tests.zoo NAME`: runs one program of the zoo."""

import asyncio
import sys

from tests.zoo.cheats import ZOO
from tests.zoo.program import main

if __name__ == "__main__":
    asyncio.run(main(ZOO[sys.argv[1]]))
