"""The language of the scenarios: one command a line, left of the bar; what it leads to stands right of it.

A person's name and a client id are free words; an hour is `13h` after the scenario's midnight.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from schemas.base import Model
from schemas.money import format_micros, parse_micros
from schemas.orders import (
    CancelAllAfter,
    CancelOrder,
    MassCancel,
    PlaceBatch,
    PlaceBlock,
    PlaceOrder,
    PostCapacity,
    ReplaceOrder,
    RepriceCapacity,
    Resell,
    SetProtection,
    WithdrawCapacity,
)
from schemas.trading_rules import ScheduledState, TradingRules
from schemas.venue import (
    Allocate,
    CancelAccountOrders,
    CloseDispute,
    Deallocate,
    Debit,
    EndBlock,
    Epoch,
    IndexFixed,
    LockHardware,
    NodeDown,
    NodesAlive,
    NominateGpus,
    Nomination,
    OpenDispute,
    OpenEscrow,
    RefundEscrow,
    ReleaseEscrow,
    SetAccountLimits,
    SetProductState,
    SettleDisputed,
    SettlePosition,
    Tick,
    UnlockHardware,
    VoidContract,
)
from schemas.vouchers import DefineProgramme, DefundProgramme, FundProgramme, IssueVoucher, SetAffiliation
from tests.scenarios.rendering import hour as hour_of
from tests.scenarios.rendering import render
from tests.scenarios.venue import (
    MIDNIGHT_MS,
    PRODUCT,
    Venue,
    contract_of,
    gpu_uuid,
    hour_start_s,
    product_terms,
)

BAR = " | "
LEFT_WIDTH = 52
DIGEST = "0" * 64
SCOPES = ("grades", "hubs", "tiers", "operators")
STP = {
    "newest": "cancel_newest",
    "oldest": "cancel_oldest",
    "both": "cancel_both",
    "decrement": "decrement_and_cancel",
}
RANGE = {"from": "from_s", "to": "to_s"}


def run(path: Path, engine: Any) -> str:
    """Plays a scenario and returns its text anew, with what the engine said."""
    venue, lines = Venue(engine), []
    for line in path.read_text(encoding="utf-8").splitlines():
        command, bar, _ = line.partition(BAR)
        if not command.strip() and bar:
            continue
        if not command.strip() or command.startswith("#"):
            lines.append(line.rstrip())
            continue
        answers = play(venue, command.split())
        shown = [command.rstrip(), *[""] * (len(answers) - 1)]
        lines += [f"{left:<{LEFT_WIDTH}}{BAR}{right}".rstrip() for left, right in zip(shown, answers, strict=True)]
    return "\n".join(lines) + "\n"


def play(venue: Venue, words: list[str]) -> list[str]:
    """Carries one line out. Returns what it led to, a line each."""
    verb, *rest = words
    options = dict(word.split("=", 1) for word in rest if "=" in word)
    plain = [word for word in rest if "=" not in word and word != "@"]
    answers = VERBS[verb](venue, plain, options)
    if answers and isinstance(answers[0], dict):
        answers = [line for event in answers for line in render(event)]
    return answers or ["-"]


# -- words


def hour(word: str) -> int:
    return int(word.removesuffix("h"))


def clock_ms(word: str) -> int:
    """A time of day after the scenario's midnight: 12:50, 12:50:30, 36:00."""
    hours, minutes, seconds = (*map(int, word.split(":")), 0)[:3]
    return MIDNIGHT_MS + ((hours * 60 + minutes) * 60 + seconds) * 1000


def optional_money(options: dict, name: str) -> int | None:
    return parse_micros(options[name]) if name in options else None


def tif(flags: list[str], options: dict) -> str:
    usual = "GTD" if "until" in options else "GTG"
    return next((flag.upper() for flag in flags if flag in ("ioc", "fok", "gtd")), usual)


def optional_number(options: dict, name: str) -> int | None:
    return int(options[name]) if name in options else None


def until_ms(options: dict) -> int | None:
    return clock_ms(options["until"]) if "until" in options else None


def client_id(venue: Venue, options: dict) -> str:
    return options.get("id", f"client-{len(venue.records)}")


def gpus(word: str) -> tuple[str, ...]:
    """GPUs of a node by their places: n1:0,1."""
    node, places = word.split(":")
    return tuple(gpu_uuid(node, int(place)) for place in places.split(","))


def number_or_text(word: str) -> int | str:
    return int(word) if word.isdigit() else word


# -- verbs


def place(venue: Venue, account: str, side: str, words: list[str], options: dict, node: str | None) -> list[dict]:
    contract_hour, qty, price, *flags = words
    return venue.send(
        PlaceOrder(
            command_id=f"command-{len(venue.records)}",
            account=account,
            client_order_id=client_id(venue, options),
            contract=contract_of(hour(contract_hour), options.get("product", PRODUCT)),
            side=side,
            kind="market" if price == "market" else "limit",
            qty=int(qty),
            price_micros=None if price == "market" else parse_micros(price),
            max_cost_micros=optional_money(options, "max"),
            tif=tif(flags, options),
            post_only="post-only" in flags,
            node=node,
            expires_ms=until_ms(options),
            display_qty=optional_number(options, "show"),
            min_qty=optional_number(options, "least"),
            use_vouchers="vouchers" in flags,
            stp=STP[options.get("stp", "newest")],
        )
    )


def bid(venue: Venue, words: list[str], options: dict) -> list[dict]:
    return place(venue, words[0], "buy", words[1:], options, None)


def ask(venue: Venue, words: list[str], options: dict) -> list[dict]:
    return place(venue, words[0], "sell", words[1:], options, options.get("node"))


def block(venue: Venue, words: list[str], options: dict) -> list[dict]:
    account, start, periods, qty, price, *flags = words
    return venue.send(
        PlaceBlock(
            command_id=f"command-{len(venue.records)}",
            account=account,
            client_order_id=client_id(venue, options),
            product=options.get("product", PRODUCT),
            start_s=hour_start_s(hour(start)),
            periods=int(periods.removesuffix("h")),
            qty=int(qty),
            min_qty=int(options.get("least", qty)),
            limit_price_micros=parse_micros(price),
            max_cost_micros=optional_money(options, "max"),
            tif=tif(flags, options),
            latest_s=hour_start_s(hour(options["latest"])) if "latest" in options else None,
            use_vouchers="vouchers" in flags,
            stp="cancel_newest",
        )
    )


def capacity(venue: Venue, words: list[str], options: dict) -> list[dict]:
    account, node, first, last, qty, *price = words
    curve = curve_of(options)
    return venue.send(
        PostCapacity(
            command_id=f"command-{len(venue.records)}",
            account=account,
            client_order_id=client_id(venue, options),
            product=options.get("product", PRODUCT),
            node=node,
            gpus=int(qty),
            from_s=hour_start_s(hour(first)),
            to_s=hour_start_s(hour(last)),
            floor_price_micros=parse_micros(price[0]) if price else None,
            floor_curve_micros=curve,
            ttl_s=int(options["ttl"]) if "ttl" in options else None,
            split="split" in price,
        )
    )


def reprice(venue: Venue, words: list[str], options: dict) -> list[dict]:
    account, order, *price = words
    return venue.send(
        RepriceCapacity(
            command_id=f"command-{len(venue.records)}",
            account=account,
            order_id=int(order.removeprefix("#")),
            client_order_id=None,
            floor_price_micros=parse_micros(price[0]) if price else None,
            floor_curve_micros=curve_of(options),
        )
    )


def withdraw(venue: Venue, words: list[str], options: dict) -> list[dict]:
    account, order, first, last = words
    return venue.send(
        WithdrawCapacity(
            command_id=f"command-{len(venue.records)}",
            account=account,
            order_id=int(order.removeprefix("#")),
            client_order_id=None,
            from_s=hour_start_s(hour(first)),
            to_s=hour_start_s(hour(last)),
        )
    )


def curve_of(options: dict) -> tuple[int, ...] | None:
    return tuple(map(parse_micros, options["curve"].split(","))) if "curve" in options else None


def resell(venue: Venue, words: list[str], options: dict) -> list[dict]:
    account, first, last, qty, price = words
    return venue.send(
        Resell(
            command_id=f"command-{len(venue.records)}",
            account=account,
            client_order_id=client_id(venue, options),
            product=options.get("product", PRODUCT),
            position_id=int(options["position"]) if "position" in options else None,
            block_id=int(options["block"]) if "block" in options else None,
            from_s=hour_start_s(hour(first)),
            to_s=hour_start_s(hour(last)),
            qty=int(qty),
            price_micros=parse_micros(price),
        )
    )


def cancel(venue: Venue, words: list[str], options: dict) -> list[dict]:
    account, *order = words
    return venue.send(
        CancelOrder(
            command_id=f"command-{len(venue.records)}",
            account=account,
            order_id=int(order[0].removeprefix("#")) if order else None,
            client_order_id=options.get("id"),
        )
    )


def cancel_all(venue: Venue, words: list[str], options: dict) -> list[dict]:
    contract = contract_of(hour(options["hour"])) if "hour" in options else None
    filters = {"product": options.get("product"), "contract": contract, "side": options.get("side")}
    filters |= {name: hour_start_s(hour(options[word])) if word in options else None for word, name in RANGE.items()}
    if "by-venue" in words:
        return venue.batch("admin", CancelAccountOrders(account=words[0], reason="scenario", **filters))
    return venue.send(MassCancel(command_id=f"command-{len(venue.records)}", account=words[0], **filters))


def replace(venue: Venue, words: list[str], options: dict) -> list[dict]:
    account, *order = words
    return venue.send(
        ReplaceOrder(
            command_id=f"command-{len(venue.records)}",
            account=account,
            order_id=int(order[0].removeprefix("#")) if order else None,
            client_order_id=options.get("id"),
            replace_id=options.get("as"),
            qty=optional_number(options, "qty"),
            price_micros=optional_money(options, "price"),
            expires_ms=until_ms(options),
        )
    )


def cancel_all_after(venue: Venue, words: list[str], options: dict) -> list[dict]:
    account, session, seconds = words
    command = {"command_id": f"command-{len(venue.records)}", "account": account, "session": session}
    return venue.send(CancelAllAfter(**command, timeout_ms=int(seconds.removesuffix("s")) * 1000))


def batch(venue: Venue, words: list[str], options: dict) -> list[dict]:
    """A batch of bids of one account: `batch alice 13h 1@12.00 2@11.00 cancel:4 replace:3:2@11.50`."""
    account, contract_hour, *members = words
    ids = {"command_id": f"command-{len(venue.records)}", "account": account}
    commands = [member(venue, place, word, hour(contract_hour), account) for place, word in enumerate(members)]
    return venue.send(PlaceBatch(**ids, members=tuple(commands)))


def member(venue: Venue, place: int, word: str, contract_hour: int, account: str) -> Model:
    head = {"command_id": f"command-{len(venue.records)}-{place}", "account": account}
    kind, _, rest = word.rpartition(":")
    qty, _, price = rest.partition("@")
    if kind == "cancel":
        return CancelOrder(**head, order_id=int(rest), client_order_id=None)
    if kind:
        named = {"order_id": int(kind.partition(":")[2]), "client_order_id": None, "replace_id": None}
        return ReplaceOrder(**head, **named, qty=int(qty), price_micros=parse_micros(price), expires_ms=None)
    return PlaceOrder(
        **head,
        client_order_id=f"client-{len(venue.records)}-{place}",
        contract=contract_of(contract_hour),
        side="buy",
        kind="limit",
        qty=int(qty),
        price_micros=parse_micros(price),
        max_cost_micros=None,
        tif="GTG",
        post_only=False,
        node=None,
        stp="cancel_newest",
    )


def pass_time(venue: Venue, words: list[str], options: dict) -> list[dict]:
    venue.now_ms = clock_ms(words[0])
    return venue.send(Tick())


def wait(venue: Venue, words: list[str], options: dict) -> list[dict]:
    """Lets the clock go on without a record: the next command is the first to carry the new time."""
    venue.now_ms = clock_ms(words[0])
    return []


def define(venue: Venue, words: list[str], options: dict) -> list[dict]:
    """A product; `schedule=AUCTION@11:50,OPEN@12:00` and the other trading rules stand among the terms."""
    product = words[0] if words else PRODUCT
    changes: dict[str, Any] = {name: number_or_text(value) for name, value in options.items()}
    rules: dict[str, Any] = {name: changes.pop(name) for name in options if name in TradingRules.model_fields}
    if "schedule" in rules:
        entries = (entry.split("@") for entry in rules["schedule"].split(","))
        day = [ScheduledState(at_s=(clock_ms(time) - MIDNIGHT_MS) // 1000, state=state) for state, time in entries]
        rules["schedule"] = tuple(day)
    return venue.batch("admin", product_terms(product, **changes, trading=TradingRules(**rules)))


def credit(venue: Venue, words: list[str], options: dict) -> list[dict]:
    return venue.credit(words[0], parse_micros(words[1]), *words[2:])


def debit(venue: Venue, words: list[str], options: dict) -> list[dict]:
    transfer_id = options.get("transfer", f"transfer-{len(venue.records)}")
    amount, asset = parse_micros(words[1]), options.get("asset", "CNY")
    return venue.batch("ledger", Debit(transfer_id=transfer_id, account=words[0], asset=asset, amount_micros=amount))


def move(venue: Venue, words: list[str], options: dict) -> list[dict]:
    """Between shards: `move alice 5.00 CNY to=1`, or `from=1`."""
    account, amount, asset = words
    transfer = {"account": account, "amount_micros": parse_micros(amount), "asset": asset}
    transfer |= {"transfer_id": options.get("transfer", f"transfer-{len(venue.records)}")}
    if "to" in options:
        return venue.batch("ledger", Deallocate(**transfer, to_shard=int(options["to"])))
    return venue.batch("ledger", Allocate(**transfer, from_shard=int(options["from"])))


def programme(venue: Venue, words: list[str], options: dict) -> list[dict]:
    """`programme CITY mayor until=12:00`, with scopes `hubs=CNE,CNW`, `copay=200` ‰, `cap=5.00`, `unaffiliated=yes`."""
    scopes = {name: tuple(filter(None, options.get(name, "").split(","))) for name in SCOPES}
    return venue.batch(
        "admin",
        DefineProgramme(
            programme=words[0],
            issuer=words[1],
            currency=options.get("currency", "CNY"),
            starts_ms=clock_ms(options.get("from", "0:00")),
            expires_ms=clock_ms(options["until"]),
            **scopes,
            copay_permille=int(options.get("copay", 0)),
            holder_cap_micros=optional_money(options, "cap"),
            unaffiliated="unaffiliated" in options,
        ),
    )


def budget(kind: type) -> Callable[[Venue, list[str], dict], list[dict]]:
    def change(venue: Venue, words: list[str], options: dict) -> list[dict]:
        transfer_id = options.get("transfer", f"transfer-{len(venue.records)}")
        name, issuer, amount = words
        terms = {"transfer_id": transfer_id, "programme": name, "issuer": issuer}
        return venue.batch("ledger", kind(**terms, amount_micros=parse_micros(amount)))

    return change


def issue(venue: Venue, words: list[str], options: dict) -> list[dict]:
    name, issuer, account, amount = words
    transfer_id = options.get("transfer", f"transfer-{len(venue.records)}")
    terms = {"transfer_id": transfer_id, "programme": name, "issuer": issuer, "account": account}
    return venue.batch("ledger", IssueVoucher(**terms, amount_micros=parse_micros(amount)))


def group(venue: Venue, words: list[str], options: dict) -> list[dict]:
    return venue.batch("admin", SetAffiliation(account=words[0], group=words[1] if len(words) > 1 else None))


def node(venue: Venue, words: list[str], options: dict) -> list[dict]:
    name, account, count = words
    return venue.node(name, account, int(count), options.get("of", "H100SXM80.CNE"), options.get("level", "T1"))


def alive(venue: Venue, words: list[str], options: dict) -> list[dict]:
    return venue.batch("delivery", NodesAlive(nodes=tuple(words), until_ms=clock_ms(options["until"])))


def down(venue: Venue, words: list[str], options: dict) -> list[dict]:
    return venue.batch("delivery", NodeDown(node=words[0], reason=words[1]))


def product_state(venue: Venue, words: list[str], options: dict) -> list[dict]:
    product = None if words[0] == "all" else words[0]
    opens = int(options["opens"]) if "opens" in options else None
    return venue.batch(
        "admin", SetProductState(product=product, state=words[1], reason="scenario", opens_after_s=opens)
    )


def limits(venue: Venue, words: list[str], options: dict) -> list[dict]:
    bounds = {name: int(value) for name, value in options.items()}
    return venue.batch("admin", SetAccountLimits(account=words[0], **bounds))


def protect(venue: Venue, words: list[str], options: dict) -> list[dict]:
    """So many GPUs in so many milliseconds; without both: no protection."""
    qty, window_ms = (int(words[1]), int(words[2])) if len(words) > 1 else (None, None)
    head = {"command_id": f"command-{len(venue.records)}", "account": words[0]}
    return venue.send(SetProtection(**head, product=options.get("product", PRODUCT), qty=qty, window_ms=window_ms))


def index(venue: Venue, words: list[str], options: dict) -> list[dict]:
    contract = contract_of(hour(words[0]), options.get("product", PRODUCT))
    fixed = {"level": 1, "method": "v1", "inputs_digest": DIGEST}
    return venue.batch("market_data", IndexFixed(contract=contract, index_micros=parse_micros(words[1]), **fixed))


def nominate(venue: Venue, words: list[str], options: dict) -> list[dict]:
    nominations = tuple(Nomination(position_id=int(name), gpus=gpus(value)) for name, value in options.items())
    contract = contract_of(hour(words[0]))
    return venue.batch("delivery", NominateGpus(contract=contract, node=words[1], nominations=nominations))


def settle(venue: Venue, words: list[str], options: dict) -> list[dict]:
    meter = {"excused": 0, "delivered": 0, "recalled": 0, "revision": 1} | {
        name: int(value) for name, value in options.items()
    }
    facts = {
        "position_id": int(words[0]),
        "revision": meter["revision"],
        "excused_gpu_s": meter["excused"],
        "delivered_gpu_s": meter["delivered"],
        "used_gpu_s": meter.get("used", meter["delivered"]),
        "noticed": "noticed" in words,
        "recalled_gpus": meter["recalled"],
        "meter_digest": DIGEST,
    }
    if "disputed" not in meter:
        return venue.batch("delivery", SettlePosition(**facts))
    disputed_used_gpu_s = meter.get("disputed_used", meter["disputed"])
    disputed = {"disputed_gpu_s": meter["disputed"], "disputed_used_gpu_s": disputed_used_gpu_s}
    return venue.batch("delivery", SettleDisputed(**facts, **disputed))


def dispute(venue: Venue, words: list[str], options: dict) -> list[dict]:
    command = OpenDispute(position_id=int(words[0]), opened_by=words[1], reason=words[2])
    return venue.batch("delivery", command)


def close(venue: Venue, words: list[str], options: dict) -> list[dict]:
    return venue.batch("delivery", CloseDispute(position_id=int(words[0]), reason=words[1]))


def end_block(venue: Venue, words: list[str], options: dict) -> list[dict]:
    return venue.batch("delivery", EndBlock(block_id=int(words[0]), account=words[1], reason=words[2]))


def void(venue: Venue, words: list[str], options: dict) -> list[dict]:
    contract = contract_of(hour(words[0]), options.get("product", PRODUCT))
    return venue.batch("admin", VoidContract(contract=contract, reason=words[1]))


def epoch(venue: Venue, words: list[str], options: dict) -> list[dict]:
    return venue.batch("matching", Epoch(epoch=int(words[0])))


def lock(venue: Venue, words: list[str], options: dict) -> list[dict]:
    return venue.batch("listings", LockHardware(listing_id=words[0], account=words[1], gpus=gpus(words[2])))


def unlock(venue: Venue, words: list[str], options: dict) -> list[dict]:
    return venue.batch("listings", UnlockHardware(listing_id=words[0]))


def open_escrow(venue: Venue, words: list[str], options: dict) -> list[dict]:
    escrow_id, listing_id, buyer, seller, amount, fee = words
    parties = {"escrow_id": escrow_id, "listing_id": listing_id, "buyer": buyer, "seller": seller, "asset": "CNY"}
    amounts = {"amount_micros": parse_micros(amount), "fee_micros": parse_micros(fee)}
    return venue.batch("listings", OpenEscrow(**parties, **amounts))


def release(venue: Venue, words: list[str], options: dict) -> list[dict]:
    return venue.batch("listings", ReleaseEscrow(escrow_id=words[0]))


def refund(venue: Venue, words: list[str], options: dict) -> list[dict]:
    return venue.batch("listings", RefundEscrow(escrow_id=words[0]))


# -- looking


def show_book(venue: Venue, words: list[str], options: dict) -> list[str]:
    """The resting orders of an hour, best first on both sides."""
    contract = contract_of(hour(words[0]), options.get("product", PRODUCT))
    live = [order for order in venue.engine.orders() if order["contract"] == contract]
    asks = sorted(
        (order for order in live if order["side"] == "sell"), key=lambda each: (each["price_micros"], each["rank"])
    )
    bids = sorted(
        (order for order in live if order["side"] == "buy"), key=lambda each: (-each["price_micros"], each["rank"])
    )
    return [
        f"{'ask' if order['side'] == 'sell' else 'bid'} {format_micros(order['price_micros'])}"
        f"  {shown_of(order)}{order['left']} of {order['qty']}  #{order['id']} {order['account']}"
        for order in [*reversed(asks), *bids]
    ] or ["empty"]


def shown_of(order: dict) -> str:
    return "" if order["shown"] == order["left"] else f"{order['shown']} shown of "


def show_positions(venue: Venue, words: list[str], options: dict) -> list[str]:
    return [
        f"{each['id']}: {each['buyer']} has {each['qty']} of {each['node']} in {hour_of(each['contract'])}"
        f" from {each['operator']}, {each['state']}"
        for each in venue.engine.positions()
    ]


VERBS: dict[str, Callable[[Venue, list[str], dict], list]] = {
    "product": define,
    "state": product_state,
    "limits": limits,
    "protect": protect,
    "credit": credit,
    "debit": debit,
    "move": move,
    "programme": programme,
    "fund": budget(FundProgramme),
    "defund": budget(DefundProgramme),
    "issue": issue,
    "group": group,
    "node": node,
    "alive": alive,
    "down": down,
    "time": pass_time,
    "wait": wait,
    "epoch": epoch,
    "bid": bid,
    "ask": ask,
    "block": block,
    "capacity": capacity,
    "reprice": reprice,
    "withdraw": withdraw,
    "resell": resell,
    "cancel": cancel,
    "cancel-all": cancel_all,
    "cancel-all-after": cancel_all_after,
    "replace": replace,
    "batch": batch,
    "index": index,
    "nominate": nominate,
    "settle": settle,
    "dispute": dispute,
    "close": close,
    "end-block": end_block,
    "void": void,
    "lock": lock,
    "unlock": unlock,
    "escrow": open_escrow,
    "release": release,
    "refund": refund,
    "book": show_book,
    "positions": show_positions,
}
