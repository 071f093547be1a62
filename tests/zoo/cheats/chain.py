"""The chain of reports: replayed, forked, left out, dated ahead, longer than the time that passed."""

from schemas.nodes import Report
from tests.fixtures.delivery import TestNode, process, reading
from tests.zoo.program import REAL, Program

HOUR_MS, OVERLAP_MS = 3_600_000, 100
OWN_WORK = {"processes": (process(None),)}


class Odd(Program):
    """Works on its GPUs itself in the hour that it sold, as its first report of the hour says; from then on it sends
    odd reports, which deny it.
    """

    sells = True
    has_owned_up = False

    def facts(self, uuid: str) -> dict[str, object]:
        return OWN_WORK if self.is_time and not self.has_owned_up else {}

    async def report(self) -> None:
        if not self.is_time:
            await super().report()
        elif not self.has_owned_up:
            await super().report()
            self.has_owned_up = True
        else:
            place = self.node.seq, self.node.last_hash, self.mono_ms, self.refused
            await self.send_odd()
            if self.refused > place[-1]:  # what was refused is tried again
                self.node.seq, self.node.last_hash, self.mono_ms, _ = place

    async def send_odd(self) -> None:
        """Sends an odd report."""
        await self.send(self.odd())

    def odd(self) -> Report:
        """Makes it."""
        raise NotImplementedError


class ReplayedNonce(Odd):
    """A new report with a nonce that was used before: a meter read earlier than it says."""

    caught_by, sign = "nonce", "refused report_nonce_stale"

    def odd(self) -> Report:
        return self.make_report(server_nonce="5" * 64)


class NonceOfItsOwn(Odd):
    """Queued reports that repeat a nonce which the node never had."""

    caught_by, sign = "nonce", "refused report_nonce_stale"

    def odd(self) -> Report:
        return self.make_report(server_nonce="7" * 64, queued=True)


class ForkedChain(Odd):
    """Two reports with one number: whichever suits is shown later."""

    caught_by, sign = "chain", "quarantined forked_chain"
    held_by = "a key of the database"

    async def send_odd(self) -> None:
        twin = TestNode(seed=self.node.seed, gpus=self.node.gpus, software=dict(self.node.software))
        twin.seq, twin.last_hash = self.node.seq - 1, self.node.last_hash
        await self.post(f"/v1/nodes/{self.node.node_id}/reports", twin.report(self.nonce, 0, 1))


class RewrittenPast(Odd):
    """The next report follows another history than the one that was sent."""

    caught_by, sign = "chain", "quarantined forked_chain"

    def odd(self) -> Report:
        return self.make_report(prev_hash="3" * 64)


class SkippedReports(Odd):
    """A hundred reports are left out, so that what they would show is not seen."""

    caught_by, sign = "chain", "refused report_gap"

    def odd(self) -> Report:
        self.node.seq += 100
        return self.make_report()


class InflatedTime(Odd):
    """A window that is an hour longer than the time that passed."""

    caught_by, sign = "windows", "refused report_time_inflated"

    def odd(self) -> Report:
        return self.make_report(mono_end_ms=self.mono_ms + HOUR_MS)


class OverlappingWindows(Odd):
    """A window that counts time a second time."""

    caught_by, sign = "windows", "refused report_windows_overlap"

    def odd(self) -> Report:
        return self.make_report(mono_start_ms=self.mono_ms - OVERLAP_MS)


class BackwardsWindow(Odd):
    """A window that ends before it starts."""

    caught_by, sign = "windows", "refused report_windows_overlap"

    def odd(self) -> Report:
        return self.make_report(mono_start_ms=self.mono_ms + 1_000, mono_end_ms=self.mono_ms)


class NamesAGpuTwice(Odd):
    """A report with two readings of one GPU, of which the meter could take either."""

    caught_by, sign = "readings", "refused malformed_request"

    def odd(self) -> Report:
        uuid = self.node.gpus[0]
        return self.make_report(gpus=(*self.readings(), reading(uuid, energy_mj=self.energy_mj, **OWN_WORK)))


class StolenKey(Odd):
    """Somebody else has the node's key and reports as the same node: its chain forks."""

    caught_by, sign = "chain", "quarantined forked_chain"
    held_by = "a key of the database"

    def facts(self, uuid: str) -> dict[str, object]:
        return {}

    async def send_odd(self) -> None:
        thief = TestNode(seed=self.node.seed, gpus=self.node.gpus, software=dict(REAL))
        await self.post(f"/v1/nodes/{self.node.node_id}/reports", thief.report(self.nonce, 0, 1))
