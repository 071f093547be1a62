"""L1 at every report: software that changes into what cannot be, and loads that the readings contradict."""

from schemas.nodes import Report
from tests.zoo.program import Program

FULL = {"utilisation_percent": 100, "sm_clock_mhz": 1_755}


class Changed(Program):
    """Runs other software from its third report on."""

    caught_by, sign = "software", ""
    changed: dict[str, object] = {}

    def make_report(self, **changes: object) -> Report:
        if self.accepted >= 2:
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


class IdlesUnderFullLoad(Program):
    """Says 100 %, and draws what an idle board draws."""

    caught_by, sign = "load", "held implausible_load"

    def facts(self, uuid: str) -> dict[str, object]:
        return FULL | {"power_mw": 30_000, "energy_mj": None}


class ClocksDown(Program):
    """Says 100 % at 345 MHz, and that nothing slows it."""

    caught_by, sign = "load", "held implausible_load"

    def facts(self, uuid: str) -> dict[str, object]:
        return {"utilisation_percent": 100, "sm_clock_mhz": 345, "power_mw": 350_000, "energy_mj": None}


class EnergyOutOfThinAir(Program):
    """An energy counter that grows by twice the board's power."""

    caught_by, sign = "load", "held implausible_load"

    def facts(self, uuid: str) -> dict[str, object]:
        return {"energy_mj": 30 * self.energy_mj}


class EnergyRunsBack(Program):
    """An energy counter that falls within a boot."""

    caught_by, sign = "load", "held implausible_load"

    def facts(self, uuid: str) -> dict[str, object]:
        return {"energy_mj": 10**12 - self.energy_mj}
