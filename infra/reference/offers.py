"""Real offers (gpu_rental_offers.csv) as sites with grades, hubs and asking prices; what maps to no hub is reported."""

import csv
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from importlib.resources import files

from schemas.money import MICROS

FOLDER = files("infra.reference")
NODE_GPUS = 8
USD_TICK_MICROS = 1_000


class UnknownGpu(Exception):
    """An offer's GPU has no grade in grades.csv."""


@dataclass(frozen=True)
class Site:
    """One offer: so many GPUs of one grade at a place that asks a price per GPU and hour, on the product's tick."""

    name: str
    gpu_name: str
    gpus: int
    memory_mib: int
    grade: str
    node_grade: str
    hub: str
    ask_micros: int


@dataclass(frozen=True)
class Unmapped:
    """An offer whose place lies in no hub."""

    row: int
    gpu_name: str
    place: str


def _rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((FOLDER / name).read_text().splitlines()))


def ask_per_gpu_micros(usd_per_hour_total: str, gpus: int, tick_micros: int) -> int:
    """Returns the price of one GPU for an hour, rounded up to the tick."""
    ticks = Decimal(usd_per_hour_total) * MICROS / gpus / tick_micros
    return int(ticks.to_integral_value(ROUND_CEILING)) * tick_micros


def load_offers() -> tuple[list[Site], list[Unmapped]]:
    """Returns the sites and the offers that map to no hub. Raises UnknownGpu."""
    hubs = {row["place"]: row["hub"] for row in _rows("places.csv")}
    grades = {(row["gpu"], int(row["vram_mib"])): row for row in _rows("grades.csv")}
    sites, unmapped = [], []
    for number, row in enumerate(_rows("gpu_rental_offers.csv"), start=2):
        name, gpus, memory_mib = row["gpu"], int(row["gpus"]), int(row["vram_mib_per_gpu"])
        if (name, memory_mib) not in grades:
            raise UnknownGpu(f"row {number}: {name} with {memory_mib} MiB")
        if row["place"] not in hubs:
            unmapped.append(Unmapped(number, name, row["place"]))
            continue
        grade = grades[name, memory_mib]
        whole_node = gpus == NODE_GPUS and grade["node_grade"]
        ask_micros = ask_per_gpu_micros(row["usd_per_hour_total"], gpus, USD_TICK_MICROS)
        sold_as = grade["node_grade"] if whole_node else grade["grade"]
        site = f"{row['provider']}-{number}"
        sites.append(Site(site, name, gpus, memory_mib, grade["grade"], sold_as, hubs[row["place"]], ask_micros))
    return sites, unmapped
