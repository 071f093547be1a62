"""Layers that no setting switches off: stand-ins that leave one out, for all nodes or for those that a test names."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from unittest.mock import patch

from services.delivery import intake
from services.delivery.door import NotTried, try_door
from services.delivery.leases import address_of
from services.delivery.reports import Chain, TimeInflated, WindowsOverlap, extend_chain
from services.delivery.timeline import unproven_spans
from tests.zoo.program import Named

SPARING = ("nonce", "chain", "windows", "readings", "witness", "door")


def extend_anyhow(chain: Chain, report, digest, now_ms, limits) -> Chain:
    """Appends a report whatever its window says."""
    try:
        return extend_chain(chain, report, digest, now_ms, limits)
    except (WindowsOverlap, TimeInflated):
        return replace(chain, seq=report.seq, hash=digest, mono_end_ms=report.mono_end_ms, received_ms=now_ms)


@dataclass
class Blind:
    """For each layer the nodes and GPUs that it does not look at."""

    of: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def spare(self, layer: str, named: Named) -> None:
        """Lets a layer overlook a program."""
        self.of[layer] |= {named.node, *named.sellers, *named.gpus}

    @contextmanager
    def on(self) -> Iterator["Blind"]:
        """Has the layers overlook whom they are told to."""
        with ExitStack() as stack:
            for place, stand_in in self._stand_ins().items():
                stack.enter_context(patch(f"services.delivery.{place}", stand_in))
            yield self

    def _stand_ins(self) -> dict[str, Callable]:
        def nonce(chain, report, now_ms, limits):
            if report.agent not in self.of["nonce"]:
                check_nonce(chain, report, now_ms, limits)

        def order(chain, report, *about):
            return "next" if report.agent in self.of["chain"] else place_report(chain, report, *about)

        def windows(chain, report, *about):
            extend = extend_anyhow if report.agent in self.of["windows"] else extend_chain
            return extend(chain, report, *about)

        def readings(names):
            named = list(names)
            if not self.of["readings"].intersection(named):
                check_named_once(named)

        def unproven(inputs, windows):
            return [] if inputs.node in self.of["witness"] else unproven_spans(inputs, windows)

        async def door(endpoint, *about):
            if address_of(endpoint)[0] in self.of["door"]:
                raise NotTried("the test looks away")
            return await try_door(endpoint, *about)

        check_nonce, place_report, check_named_once = intake.check_nonce, intake.place_report, intake.check_named_once
        return {
            "intake.check_nonce": nonce,
            "intake.place_report": order,
            "intake.extend_chain": windows,
            "intake.check_named_once": readings,
            "meter.unproven_spans": unproven,
            "door.try_door": door,
        }
