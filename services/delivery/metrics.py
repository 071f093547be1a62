"""What Prometheus sees of delivery beside the shared figures."""

from prometheus_client import Counter, Gauge

REPORTS = Counter("hourbook_delivery_reports", "Reports taken at the edge", ["status"])
REFUSALS = Counter("hourbook_delivery_refusals", "Messages of agents that were refused", ["code"])
CHALLENGES = Counter("hourbook_delivery_challenges", "Challenges judged", ["cause", "result"])
METERED_GPU_S = Counter("hourbook_delivery_metered_gpu_seconds", "GPU-seconds settled", ["kind"])
HELD = Gauge("hourbook_delivery_held_requests", "Requests for challenges that nodes hold open")
