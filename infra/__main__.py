"""Runs the exchange in the foreground for another program: `python -m infra`; people use `hourbook up`."""

from infra.settings import InfraSettings
from infra.supervisor import run

run(InfraSettings(), lambda addresses, seconds: print(f"up after {seconds:.1f} s: {addresses}", flush=True), print)
