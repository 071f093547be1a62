"""L1 at every report: software that changes into what cannot be, and loads that the readings contradict."""

from agents.node.challenge import Chain
from schemas.nodes import Challenge, Report
from tests.fakes.cheats import RankOne
from tests.zoo.program import Program

FULL = {"utilisation_percent": 100, "sm_clock_mhz": 1_755}


class Gone(Program):
    """Gives its GPUs away when its buyer's hour has begun, and shows an outer product when it is asked again."""

    sells, in_the_end = True, "quarantined challenge_row_differs"

    async def chain(self, challenge: Challenge, uuid: str) -> Chain:
        if self.given.is_sold and self.is_time:
            self.chips[uuid].backend = RankOne()
        return await super().chain(challenge, uuid)


class Changed(Gone):
    """Runs other software from then on."""

    caught_by, sign = "software", ""
    changed: dict[str, object] = {}

    def make_report(self, **changes: object) -> Report:
        if self.is_time:
            self.node.software |= self.changed
        return super().make_report(**changes)


class DoctoredLibrary(Changed):
    """A library that is not the driver's."""

    sign = "held library_mismatch"
    changed = {"library_sha256": "c" * 64}


class WindowsDriverLater(Changed):
    """A driver that was never published for Linux."""

    sign = "held driver_impossible"
    changed = {"driver_version": "566.36"}


class TurnsToPlay(Changed):
    """Real hardware at enrolment, the stand-in library afterwards."""

    sign = "held telemetry_changed"
    changed = {"nvml_simulated": True}


class DowngradedAgent(Changed):
    """An agent from before the checks."""

    sign = "held agent_too_old"
    changed = {"agent_version": "0.0.9"}


class Unlikely(Gone):
    """Reports a load from then on that cannot be."""

    caught_by, sign = "load", ""

    def facts(self, uuid: str) -> dict[str, object]:
        return self.load() if self.is_time else {}

    def load(self) -> dict[str, object]:
        """Returns what it reports."""
        raise NotImplementedError


class IdlesUnderFullLoad(Unlikely):
    """Says 100 %, and draws what an idle board draws."""

    sign = "held implausible_load"

    def load(self) -> dict[str, object]:
        return FULL | {"power_mw": 30_000, "energy_mj": None}


class ClocksDown(Unlikely):
    """Says 100 % at 345 MHz, and that nothing slows it."""

    sign = "held implausible_load"

    def load(self) -> dict[str, object]:
        return {"utilisation_percent": 100, "sm_clock_mhz": 345, "power_mw": 350_000, "energy_mj": None}


class EnergyOutOfThinAir(Unlikely):
    """An energy counter that grows by twice the board's power."""

    sign = "held implausible_load"

    def load(self) -> dict[str, object]:
        return {"energy_mj": 30 * self.energy_mj}


class EnergyRunsBack(Unlikely):
    """An energy counter that falls within a boot."""

    sign = "held implausible_load"

    def load(self) -> dict[str, object]:
        return {"energy_mj": 10**12 - self.energy_mj}
