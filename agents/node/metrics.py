"""`/metrics` for Prometheus and `/healthz` for a supervisor, on a loopback port, from what the node last took down."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from agents.node.errors import BadConfiguration
from agents.node.standing import summary_of

PREFIX = "hourbook_agent_"
# A node that has measured nothing for so many of its intervals, or for so long, is taken for hung.
HUNG_INTERVALS, HUNG_S_MIN = 5, 60.0
REQUEST_S = 5.0
GPU_GAUGES = {
    "utilisation_percent": ("gpu_utilisation_percent", 1.0),
    "memory_used_mib": ("gpu_memory_used_mebibytes", 1.0),
    "power_mw": ("gpu_power_watts", 1000.0),
    "temperature_c": ("gpu_temperature_celsius", 1.0),
}
log = logging.getLogger("hourbook.agent")


class NodeCollector:
    """Turns the node's status, and NVML's failures, into metrics when they are asked for."""

    def __init__(self, status: Callable[[], Mapping[str, Any]], failed_calls: Callable[[], Mapping]) -> None:
        self._status, self._failed_calls = status, failed_calls

    def collect(self) -> Iterator[Metric]:
        """Yields every metric."""
        status = self._status()
        if not status:
            return
        yield InfoMetricFamily(PREFIX + "version", "The agent.", value={"version": status["agent_version"]})
        standing = status["standing"]
        for name, words, value in (
            ("offered_gpus", "GPUs that the node wants to stand in the book.", status["offers_gpus"]),
            ("venue_lets_sell", "1 where the venue takes asks of the node.", int(status["venue_lets_sell"])),
            ("draining", "1 while the node drains.", int(status["draining"] is not None)),
            ("reports_waiting", "Reports that the venue has not acknowledged.", status["reports_waiting"]),
            ("asks_standing", "Asks in the books.", standing["asks"]),
            ("sold_gpu_periods", "GPU-periods sold whose period has not begun.", standing["sold_gpu_periods"]),
            ("status_timestamp_seconds", "When these figures were taken.", status["written_ms"] / 1000),
        ):
            yield GaugeMetricFamily(PREFIX + name, words, value=value)
        if (age_s := status["acknowledged_s_ago"]) is not None:
            at = status["written_ms"] / 1000 - age_s
            yield GaugeMetricFamily(
                PREFIX + "acknowledged_timestamp_seconds", "The last acknowledged report.", value=at
            )
        yield from self._gpus(status["gpus"])
        yield from self._counts(status["faults"])

    def _gpus(self, rows: list[Mapping[str, Any]]) -> Iterator[Metric]:
        states = GaugeMetricFamily(PREFIX + "gpus", "GPUs by state.", labels=["state"])
        for state, count in ({"offered": 0, "delivering": 0, "withheld": 0, "waiting": 0} | summary_of(rows)).items():
            states.add_metric([state], count)
        yield states
        withheld = GaugeMetricFamily(
            PREFIX + "gpu_withheld", "1 for a GPU that is not offered.", labels=["gpu", "reason"]
        )
        for row in rows:
            if row["reason"]:
                withheld.add_metric([row["uuid"], row["reason"]], 1)
        yield withheld
        for key, (name, scale) in GPU_GAUGES.items():
            family = GaugeMetricFamily(PREFIX + name, "As NVML tells it.", labels=["gpu"])
            for row in rows:
                if row[key] is not None:
                    family.add_metric([row["uuid"]], row[key] / scale)
            yield family

    def _counts(self, faults: Mapping[str, int]) -> Iterator[Metric]:
        counted = CounterMetricFamily(PREFIX + "faults", "Faults of the agent's own loops.", labels=["loop"])
        for loop, count in faults.items():
            counted.add_metric([loop], count)
        yield counted
        calls = CounterMetricFamily(PREFIX + "nvml_failures", "NVML calls that failed.", labels=["call", "code"])
        for (call, code), count in dict(self._failed_calls()).items():
            calls.add_metric([call, str(code)], count)
        yield calls


def health_of(status: Mapping[str, Any], now_ms: int) -> tuple[bool, str]:
    """Tells whether the agent works, and if not why; a venue that is away is no fault of the agent's."""
    if not status:
        return True, "starting"
    age_s = (now_ms - status["written_ms"]) / 1000
    bound_s = max(HUNG_INTERVALS * status["report_interval_s"], HUNG_S_MIN)
    if age_s > bound_s or status["measured_s_ago"] > bound_s:
        return False, f"nothing was measured for {max(age_s, status['measured_s_ago']):.0f} s"
    return True, "draining" if status["draining"] is not None else "working"


class MetricsServer:
    """Answers on a loopback port until it is closed. Raises BadConfiguration for a port that cannot be had."""

    def __init__(
        self, host: str, port: int, status: Callable[[], Mapping[str, Any]], failed_calls: Callable[[], Mapping]
    ) -> None:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(NodeCollector(status, failed_calls))

        class Handler(BaseHTTPRequestHandler):
            timeout = REQUEST_S

            def do_GET(self) -> None:
                if self.path == "/metrics":
                    self._answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)
                elif self.path == "/healthz":
                    is_well, words = health_of(status(), time.time_ns() // 1_000_000)
                    body = json.dumps({"status": words}).encode() + b"\n"
                    self._answer(200 if is_well else 503, body, "application/json")
                else:
                    self._answer(404, b"there are /metrics and /healthz\n", "text/plain")

            def _answer(self, code: int, body: bytes, kind: str) -> None:
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                """Keeps scrapes out of the log."""

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise BadConfiguration(f"metrics_port {port}: {error.strerror}: name another, or leave it out") from error
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        log.info("metrics and health on http://%s:%d", host, self._server.server_port)

    def close(self) -> None:
        """Gives the port back."""
        self._server.shutdown()
        self._server.server_close()
