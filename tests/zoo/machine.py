"""What a node of the zoo has for hardware: chips that take as long for a chain as their speed says.

The arithmetic is done for real, at a size that takes a CPU milliseconds; the rest of a chain's time is slept. So a slow
chip is slow by the venue's clock, and a hundred of them fit on one core.
"""

import asyncio
import time
from dataclasses import dataclass, field

from agents.node.challenge import Backend, Chain, NumpyBackend, Residency, answer_residency, run_chain
from schemas.nodes import Challenge

RATED_S = 1.0  # what the grade's own chip takes for one chain
MEMORY_S = 0.02  # and for a look at all that it holds


@dataclass
class Chip:
    """One chip. `speed` is its part of the grade's own, `memory_speed` that of the memory in which results are held.

    Whoever has several GPUs to show and one chip works for them one after the other.
    """

    speed: float = 1.0
    memory_speed: float = 1.0
    backend: Backend = field(default_factory=NumpyBackend)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self, challenge: Challenge, agent: str, gpu_uuid: str) -> Chain:
        """Runs one GPU's chain, and takes the time that it takes."""
        async with self.turn:
            ends_at = time.monotonic() + RATED_S / self.speed
            chain = await asyncio.to_thread(run_chain, self.backend, challenge, agent, gpu_uuid)
            await asyncio.sleep(ends_at - time.monotonic())
            return chain

    async def hold(self, chain: Chain, agent: str, nonce: str, stride: int) -> Residency:
        """Answers the second nonce from what is held."""
        async with self.turn:
            ends_at = time.monotonic() + MEMORY_S / self.memory_speed
            held = await asyncio.to_thread(answer_residency, chain, agent, nonce, stride)
            await asyncio.sleep(ends_at - time.monotonic())
            return held
