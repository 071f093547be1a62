"""Puts the reference data into a running exchange: every product that it does not list yet."""

import asyncio
from pathlib import Path

from infra.admin import send_commands
from infra.reference.products import Timing, list_products
from schemas.venue import DefineProduct


def load_products(kafka: str, keys_dir: Path, timing: Timing) -> list[DefineProduct]:
    """Defines all products with these timings; doing it again changes nothing. Raises AdminError."""
    products = list_products(timing)
    asyncio.run(send_commands(kafka, keys_dir, products))
    return products
