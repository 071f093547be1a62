"""What can be set about delivery."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from schemas.nodes import SSH_KEYS_PER_LEASE_MAX, Challenge
from schemas.reporting import REPORT_INTERVAL_MS_MAX, REPORTS_PER_PERIOD, report_interval_ms
from services.delivery.bands import LEVEL_MAX_UNCALIBRATED, MIB, Band, Bands, read_bands, single_grade
from services.delivery.challenges import ChallengeRules, residency_limit_us
from services.delivery.levels import Bar
from services.delivery.reports import ReportLimits
from services.kit.bodies import BodyLimits
from services.kit.settings import REPOSITORY
from services.kit.settings import Settings as KitSettings

HOUR_MS = 3_600_000
PROOF_LAYERS = ("work", "score", "residency", "simultaneity", "idle", "software", "load")
GRACES_PER_PERIOD = 120
NOTICES_PER_PERIOD = 30  # 120 s of an hour


def notice_ms(period_ms: int) -> int:
    """Returns how long before a recall in tier I has to be declared (docs/rules: 120 s, scaled with the period)."""
    return period_ms // NOTICES_PER_PERIOD


class Settings(KitSettings):
    """Besides the shared settings: how long news gathers, how often nodes report, how hard challenges are, who enrols.

    Intervals follow from a product's period, a sixth of it, so that a sandbox with short periods scales by itself;
    the figures here are their upper and lower bounds.
    """

    event_linger_s: float = 0.2
    database_connections_max: int = 8
    body_bytes_max: int = 8_388_608
    connections_per_address_max: int = 20_000  # a fleet's agents may share an address, each with two connections
    open_requests_per_address_max: int = 20_000
    accept_simulated_nvml: bool = True
    digest_book: Path = REPOSITORY / "infra" / "reference" / "driver_digests.csv"
    board_powers: Path = REPOSITORY / "infra" / "reference" / "gpu_power.csv"
    hub_beacons: Path = REPOSITORY / "infra" / "reference" / "hub_beacons.csv"
    hub_receipt_ms_max: Annotated[int, Field(ge=1)] = 600_000
    load_ms_min: Annotated[int, Field(ge=1)] = 60_000
    agent_version_min: Annotated[str, Field(pattern=r"^\d+(\.\d+)+$")] = "0.1.0"
    token_wait_s: Annotated[float, Field(ge=0, le=30)] = 5.0
    report_interval_ms_max: int = REPORT_INTERVAL_MS_MAX
    reports_per_period: int = REPORTS_PER_PERIOD
    reports_per_batch_max: int = 256
    history_interval_s: Annotated[float, Field(gt=0)] = 300.0
    report_linger_s: Annotated[float, Field(ge=0, le=1)] = 0.05
    meter_linger_s: Annotated[float, Field(ge=0, le=1)] = 0.1
    # A node that comes back after three hours sends what it kept at once, after a day within two minutes.
    node_reports_per_s: Annotated[int, Field(ge=1)] = 100
    node_messages_per_s: Annotated[int, Field(ge=1)] = 50
    node_requests_at_once_max: Annotated[int, Field(ge=16)] = 32
    account_reports_per_s: Annotated[int, Field(ge=1)] = 2_000
    account_messages_per_s: Annotated[int, Field(ge=1)] = 2_000
    node_burst_s: Annotated[float, Field(gt=0)] = 10.0
    liveness_ms_max: int = 30_000
    liveness_ms_min: int = 15_000
    bands_file: Path = Path(__file__).with_name("bands.csv")
    band_margin_permille: Annotated[int, Field(ge=0)] = 100
    score_failures_max: Annotated[int, Field(ge=1)] = 3
    proof_layers_off: str = ""
    held_requests_max: Annotated[int, Field(ge=0)] = 10_000
    held_s_max: Annotated[float, Field(gt=0, le=25)] = 20.0
    round_trip_ms_max: Annotated[int, Field(ge=0)] = 200
    idle_challenge_ms_min: Annotated[int, Field(ge=1)] = 1_800_000
    idle_challenge_ms_max: Annotated[int, Field(ge=1)] = 3_600_000
    idle_challenge_ms_floor: Annotated[int, Field(ge=1)] = 600_000
    sweep_interval_s: Annotated[float, Field(gt=0)] = 1.0
    sweep_lead_ms: Annotated[int, Field(ge=0)] = 200
    sweep_guard_ms: Annotated[int, Field(ge=0)] = 15_000
    sweep_gpus_max: Annotated[int, Field(ge=1)] = 256
    simultaneity_ms: Annotated[int, Field(ge=1)] = 100
    joint_gate_permille: Annotated[int, Field(ge=0, le=900)] = 250
    joint_gate_interval_s: Annotated[float, Field(gt=0)] = 0.2
    absence_retry_ms: Annotated[int, Field(ge=0)] = 60_000
    absences_max: Annotated[int, Field(ge=1)] = 3
    challenge_n: int = 8_192
    challenge_memory_permille: Annotated[int, Field(ge=1, le=1_000)] = 950
    simulated_challenge_n: int = 128
    simulated_challenge_rounds: Annotated[int, Field(ge=1)] = 4
    challenge_open_rounds: Annotated[int, Field(ge=1)] = 4
    challenge_open_rows: Annotated[int, Field(ge=1)] = 64
    residency_stride: Annotated[int, Field(ge=1)] = 1
    residency_passes: Annotated[int, Field(ge=1)] = 3
    residency_slack_ms: Annotated[int, Field(ge=0)] = 100
    simulated_residency_ms: Annotated[int, Field(ge=1)] = 60_000
    opening_bytes_max: int = 16_777_216
    openings_bytes_max: int = 536_870_912  # of all openings that are held until they are verified
    proof_verifiers: Annotated[int, Field(ge=1)] = 2
    proofs_waiting_max: Annotated[int, Field(ge=1)] = 32
    challenge_deadline_ms: int = 120_000
    challenge_retry_ms: int = 10_000
    challenge_restart_ms: int = 15_000
    throttle_ms_max: int = 60_000
    inspection_nonce_ms: int = 600_000
    position_wait_ms: Annotated[int, Field(ge=0)] = 3_000  # for one that the gateway has told of
    positions_ahead_max: Annotated[int, Field(ge=0)] = 10_000  # numbers further ahead are nobody's
    mark_interval_s: float = 1.0
    outage_ms_min: int = 3_000
    provisional_permille: int = 250
    dispute_periods: int = 24
    block_outage_permille: int = 250
    correction_delay_ms: int = 3_000
    maintenance_ahead_ms: int = 60_000
    maintenance_ms_max: int = 7 * 86_400_000
    maintenance_windows_max: int = 64
    opening_grace_ms_max: int = 30_000
    opening_grace_ms_min: int = 5_000
    level_day_periods: Annotated[int, Field(ge=1)] = 24
    level_t2_days: Annotated[int, Field(ge=0)] = 30
    level_t3_days: Annotated[int, Field(ge=0)] = 90
    level_positions_min: Annotated[int, Field(ge=0)] = 30
    level_two_sided_min: Annotated[int, Field(ge=0)] = 10
    level_interval_s: Annotated[float, Field(gt=0)] = 5.0
    scheduler_interval_s: float = 0.5
    move_silence_ms: int = 900_000
    delivery_page_rows_max: int = 200
    door_interval_ms: Annotated[int, Field(ge=1_000)] = 60_000
    door_timeout_ms: Annotated[int, Field(ge=100)] = 10_000
    door_grace_ms: Annotated[int, Field(ge=0)] = 120_000
    door_grace_ms_min: Annotated[int, Field(ge=0)] = 3_000
    door_private_addresses: bool | None = None
    shopper_accounts: str = ""  # accounts that the venue itself rents with, separated by commas
    renter_proofs_max: Annotated[int, Field(ge=0)] = 4
    ssh_keys_max: Annotated[int, Field(ge=1, le=SSH_KEYS_PER_LEASE_MAX)] = 16

    @field_validator("proof_layers_off")
    @classmethod
    def _check_layers(cls, value: str) -> str:
        unknown = sorted({name for name in value.split(",") if name} - set(PROOF_LAYERS))
        if unknown:
            raise ValueError(f"no layer is called {', '.join(unknown)}; the layers are {', '.join(PROOF_LAYERS)}")
        return value

    @property
    def shoppers(self) -> frozenset[str]:
        """The accounts whose proofs from inside a lease count like any."""
        return frozenset(name.strip() for name in self.shopper_accounts.split(",") if name.strip())

    def judges(self, layer: str) -> bool:
        """Says whether a layer of proofs is on: all are, save where a test wants to know what one of them catches."""
        return layer not in self.proof_layers_off.split(",")

    def limits(self, period_ms: int | None) -> ReportLimits:
        """Returns how reports are judged for nodes whose shortest product period is this (None: no product yet)."""
        return _limits(period_ms, self.report_interval_ms_max, self.reports_per_period)

    def dispute_decide_ms(self, period_ms: int) -> int:
        """Returns how long an arbiter has before a dispute is decided on what is on record: a day of hours."""
        return period_ms * self.dispute_periods

    def block_outage_ms(self, period_ms: int) -> int:
        """Returns the outage from which a buyer may end his block: 15 minutes of an hour."""
        return period_ms * self.block_outage_permille // 1000

    def provisional_ms(self, period_ms: int) -> int:
        """Returns how long after the grace a position waits for reports: 15 minutes of an hour."""
        return max(self.limits(period_ms).interval_ms, period_ms * self.provisional_permille // 1000)

    def opening_grace_ms(self, period_ms: int) -> int:
        """Returns how long the opening of a lease may take at nobody's expense."""
        return min(self.opening_grace_ms_max, max(self.opening_grace_ms_min, period_ms // GRACES_PER_PERIOD))

    def door_pause_ms(self, period_ms: int) -> int:
        """Returns how far two tries at a lease's door lie apart on average: a minute of an hour, a second at least."""
        return max(1_000, min(self.door_interval_ms, self.door_interval_ms * period_ms // HOUR_MS))

    def doors_apart_ms(self, period_ms: int) -> int:
        """Returns how far two tries that found a door open may lie apart to bear witness of the time between them."""
        return 3 * self.door_pause_ms(period_ms)

    def shut_door_ms(self, period_ms: int) -> int:
        """Returns how long a door may be shut before that time is not delivered: two minutes of an hour."""
        return max(self.door_grace_ms_min, min(self.door_grace_ms, self.door_grace_ms * period_ms // HOUR_MS))

    def level_day_ms(self, period_ms: int | None) -> int:
        """Returns what counts as a day for levels: so many periods of the node's products, of an hour without any."""
        return self.level_day_periods * (period_ms or HOUR_MS)

    @property
    def opening_limits(self) -> BodyLimits:
        """How much of openings may be in memory."""
        return BodyLimits(self.opening_bytes_max, self.openings_bytes_max, self.body_within_s)

    @property
    def level_bars(self) -> dict[str, Bar]:
        """What the levels above T1 ask for; the shares are those of the venue's rules."""
        deliveries = (self.level_positions_min, self.level_two_sided_min)
        return {
            "T2": Bar(self.level_t2_days, 990, 995, *deliveries, needs_audit=False),
            "T3": Bar(self.level_t3_days, 995, 995, *deliveries, needs_audit=True),
        }

    @property
    def tries_private_doors(self) -> bool:
        """Whether endpoints at private addresses are tried: where nothing is said, in a sandbox alone."""
        return self.accept_simulated_nvml if self.door_private_addresses is None else self.door_private_addresses

    def liveness_ms(self, limits: ReportLimits) -> int:
        """Returns how long one heartbeat keeps asks alive."""
        return min(self.liveness_ms_max, max(self.liveness_ms_min, 3 * limits.interval_ms))

    @property
    def bands(self) -> Bands:
        """What proofs are judged by. Raises BadBandFile."""
        return read_bands(self.bands_file, self.band_margin_permille)

    def idle_pause_ms(self, period_ms: int) -> tuple[int, int]:
        """Returns the least and the longest time between two sweeps of a group whose shortest period is this."""
        scale = min(period_ms, HOUR_MS)
        least_ms = max(self.idle_challenge_ms_min * scale // HOUR_MS, self.idle_challenge_ms_floor)
        return least_ms, max(self.idle_challenge_ms_max * scale // HOUR_MS, 2 * least_ms)

    def unprovable(self, grade: str, simulated: bool) -> str:
        """Returns why GPUs of a node cannot be proven at all, or ""."""
        if simulated:
            return "" if self.accept_simulated_nvml else "simulated_nvml"
        return "" if self.bands.has(single_grade(grade)) else "grade_without_band"

    def level_max(self, grade: str, simulated: bool) -> str:
        """Returns the highest level that a node of this grade can have; without a band nothing above T1 was proven."""
        is_known = simulated or self.bands.has(single_grade(grade))
        return self.bands.of(grade, simulated).level_max if is_known else LEVEL_MAX_UNCALIBRATED

    def challenge_rules(self, band: Band) -> ChallengeRules:
        """Returns size and sampling of a challenge to GPUs of a band: all products together fill their memory."""
        if band.kind == "simulated":
            n, rounds = self.simulated_challenge_n, self.simulated_challenge_rounds
        else:
            n = self.challenge_n
            rounds = max(1, band.memory_mib * MIB * self.challenge_memory_permille // 1000 // (4 * n * n))
        return ChallengeRules(n, rounds, self.challenge_open_rounds, self.challenge_open_rows)

    def residency_limit_us(self, challenge: Challenge, band: Band) -> int:
        """Returns how long the answer to a second nonce may take besides the round trip."""
        if band.kind == "simulated":
            return 1_000 * self.simulated_residency_ms
        rhythm = (self.residency_stride, band, self.residency_passes, self.residency_slack_ms)
        return residency_limit_us(challenge, *rhythm)


@lru_cache
def _limits(period_ms: int | None, longest_ms: int, reports_per_period: int) -> ReportLimits:
    interval_ms = longest_ms if period_ms is None else report_interval_ms(period_ms, longest_ms, reports_per_period)
    return ReportLimits(interval_ms, nonce_ms_max=3 * longest_ms)
