"""Orders over REST on a running exchange, acknowledged once the decision is durable, at one and at 16 connections.

The client signs its requests before the clock starts, since on a real machine it would run elsewhere; the gateway
checks every signature. Orders rest and do not trade: what is measured is the path, not the book.
"""

import asyncio
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from benchmarks.raw_http import Connection, post
from benchmarks.round_trip import measure_round_trip, percentiles
from clients.actors import Actor, Registry
from clients.trading import open_periods
from infra.admin import send_commands
from infra.exchange import RunningExchange, describe, free_ports, running
from infra.reference.products import Timing, list_products

PRODUCT = "H100SXM80.CNE.F"
SIGNATURE_WINDOW_MS = 60_000
WARM_UP = 200
CREATED = 201


class WrongAnswer(Exception):
    """An order of the benchmark was not acknowledged, so its time would mean nothing."""


def measure_rest(work: Path, orders: int, connections: int) -> dict[str, Any]:
    """Starts an exchange of its own, twice for a warm start, and returns every figure."""
    settings = free_ports() | {"HOURBOOK_SIGNATURE_WINDOW_MS": str(SIGNATURE_WINDOW_MS)}
    with running(work / "data", **settings):
        pass
    began = time.monotonic()
    with running(work / "data", **settings) as exchange:
        ready_s = time.monotonic() - began
        traders = _prepare(exchange, work, connections)
        figures = asyncio.run(_measure(exchange, traders, orders))
        memory = {row["program"]: row["memory_mb"] for row in describe(exchange.data)}
    return {"start_to_ready_s": round(ready_s, 2), "memory_pss_mb": sum(memory.values()), "memory_mb": memory} | figures


def _prepare(exchange: RunningExchange, work: Path, traders: int) -> list[Actor]:
    product = next(each for each in list_products(Timing()) if each.product == PRODUCT)
    asyncio.run(send_commands(exchange.addresses["kafka"], exchange.data / "keys", [product]))
    registry = Registry(exchange.addresses, exchange.data / "keys", work / "keys")
    return [registry.open_account(f"bench-{number}", "trade", CNY="1000000000.00") for number in range(traders)]


async def _measure(exchange: RunningExchange, traders: list[Actor], orders: int) -> dict[str, Any]:
    contract = open_periods(traders[0], PRODUCT, 60)[0].contract
    url = urlsplit(exchange.addresses["gateway"])
    one = await _place(url, [_requests(traders[0], contract, "one", orders // 8 + WARM_UP)])
    floor = await measure_round_trip(exchange.kafka_options(), orders // 8)
    parallel = [_requests(trader, contract, "many", orders // len(traders)) for trader in traders]
    before, began = processor_s(exchange.data), time.perf_counter()
    many = await _place(url, parallel)
    rate = len(many) / (time.perf_counter() - began)
    after = processor_s(exchange.data)
    single, together = percentiles(one[WARM_UP:]), percentiles(many)
    return {
        "one_connection": single,
        "bare_double_round_trip": floor,
        "ratio_to_bare_p50": round(single["p50_ms"] / floor["p50_ms"], 2),
        "connections": len(traders),
        "orders_per_s": round(rate),
        "orders_per_bare_round_trip": round(rate * floor["p50_ms"] / 1_000, 2),
        "parallel": together,
        "parallel_p50_to_bare": round(together["p50_ms"] / floor["p50_ms"], 2),
        "processor_us_per_order": {name: round((after[name] - before[name]) / len(many) * 1e6) for name in after},
    }


def processor_s(data: Path) -> dict[str, float]:
    """Returns the processor seconds that each program, with its children, and this client have taken so far."""
    found = {"client": _taken_s(psutil.Process())}
    for row in describe(data):
        program = psutil.Process(row["pid"])
        found[row["program"]] = _taken_s(program) + sum(map(_taken_s, program.children(recursive=True)))
    return found


def _taken_s(process: psutil.Process) -> float:
    taken = process.cpu_times()
    return taken.user + taken.system


def _requests(trader: Actor, contract: str, prefix: str, count: int) -> list[bytes]:
    host = urlsplit(trader.addresses["gateway"]).netloc
    requests = []
    for number in range(count):
        form = {
            "contract": contract,
            "side": "buy",
            "qty": 1,
            "price": f"{1 + number % 900 / 100:.2f}",
            "client_order_id": f"{prefix}-{number}",
        }
        body = json.dumps(form).encode()
        requests.append(post(host, "/v1/orders", trader.credentials.sign("POST", "/v1/orders", "", body), body))
    return requests


async def _place(url, batches: list[list[bytes]]) -> list[float]:
    connections = [await Connection.open(url.hostname, url.port) for _ in batches]
    taken = await asyncio.gather(*(_run(*pair) for pair in zip(connections, batches, strict=True)))
    for connection in connections:
        connection.close()
    return [ms for each in taken for ms in each]


async def _run(connection: Connection, requests: list[bytes]) -> list[float]:
    taken_ms = []
    for request in requests:
        status, taken_ns = await connection.exchange(request)
        if status != CREATED:
            raise WrongAnswer(f"status {status}")
        taken_ms.append(taken_ns / 1e6)
    return taken_ms
