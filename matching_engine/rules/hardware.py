"""Used hardware: a GPU is for rent, listed, in escrow or sold, and the buyer's money is held by escrow id."""

from matching_engine.rules import counts, nodes
from matching_engine.rules.market import Market
from matching_engine.rules.money import VENUE
from matching_engine.rules.refusals import require
from matching_engine.rules.state import Escrow, Listing, Node
from schemas.events import EscrowOpened, EscrowRefunded, EscrowReleased, HardwareLocked, HardwareUnlocked
from schemas.venue import LockHardware, OpenEscrow, RefundEscrow, ReleaseEscrow, UnlockHardware
from schemas.vouchers import is_cash


def lock_hardware(market: Market, command: LockHardware) -> None:
    """Takes GPUs off their node's count in every hour: unsold asks shrink, and it fails where positions need them.
    [H-1]
    """
    require(command.listing_id not in market.state.listings, "wrong_state")
    require(0 < len(set(command.gpus)) == len(command.gpus), "bad_terms")
    leaving: dict[str, int] = {}
    for uuid in command.gpus:
        name = market.gpu_nodes.get(uuid)
        require(name is not None, "unknown_gpu")
        require(market.state.nodes[name].account == command.account, "not_the_owner")
        require(uuid not in market.state.for_sale and not serves_position(market, uuid), "gpu_not_free")
        leaving[name] = leaving.get(name, 0) + 1
    for name, gpus in leaving.items():
        node = market.state.nodes[name]
        require(most_sold(node) <= counts.rentable(market.state, node) - gpus, "gpu_not_free")
    market.state.listings[command.listing_id] = Listing(command.account, list(command.gpus))
    market.state.for_sale |= dict.fromkeys(command.gpus, command.listing_id)
    market.emit(HardwareLocked, listing_id=command.listing_id, account=command.account, gpus=command.gpus)
    for name in sorted(leaving):
        nodes.shrink_asks(market, name, "hardware_listed")


def serves_position(market: Market, uuid: str) -> bool:
    """Whether the GPU is nominated for a delivery that is not over."""
    ongoing = ("LOCKED", "DELIVERING")
    positions = (each for each in market.state.positions.values() if uuid in each.gpus)
    return any(market.state.contracts[each.contract].state in ongoing for each in positions)


def most_sold(node: Node) -> int:
    """The most GPUs that positions need of a node in any period to come."""
    return max(node.sold.values(), default=0)


def unlock_hardware(market: Market, command: UnlockHardware) -> None:
    """A listing ended without a sale. [H-2]"""
    listing = find_listing(market, command.listing_id)
    require(listing.state == "listed", "wrong_state")
    listing.state = "unlocked"
    for uuid in listing.gpus:
        del market.state.for_sale[uuid]
    market.emit(HardwareUnlocked, listing_id=command.listing_id)


def find_listing(market: Market, listing_id: str) -> Listing:
    require(listing_id in market.state.listings, "unknown_listing")
    return market.state.listings[listing_id]


# -- escrow


def open_escrow(market: Market, command: OpenEscrow) -> None:
    """Holds the buyer's money for a listing."""
    listing = find_listing(market, command.listing_id)
    require(command.escrow_id not in market.state.escrows and listing.state == "listed", "wrong_state")
    require(listing.account == command.seller, "not_the_owner")
    require(command.buyer != command.seller and command.fee_micros <= command.amount_micros, "bad_terms")
    require(is_cash(command.asset), "not_cash")
    market.accounts.require_available(command.buyer, command.asset, command.amount_micros)
    listing.state = "in_escrow"
    market.state.escrows[command.escrow_id] = Escrow(
        command.listing_id, command.buyer, command.asset, command.amount_micros, command.fee_micros
    )
    entry = market.entry(command.asset).hold(command.buyer, command.amount_micros)
    market.emit(EscrowOpened, **command.model_dump(exclude={"type"}), postings=entry.post())


def release_escrow(market: Market, command: ReleaseEscrow) -> None:
    """Pays the seller less the fee; the GPUs are sold, leave their node, and wait for their new owner to enrol them.
    [H-3]
    """
    escrow = find_escrow(market, command.escrow_id)
    escrow.state = "released"
    listing = market.state.listings[escrow.listing_id]
    listing.state = "sold"
    for uuid in listing.gpus:
        name = market.gpu_nodes.pop(uuid, None)
        if name is not None:
            market.state.nodes[name].gpus.remove(uuid)
    entry = market.entry(escrow.asset).add(escrow.buyer, held=-escrow.amount_micros)
    entry.add(listing.account, available=escrow.amount_micros - escrow.fee_micros)
    entry.add(VENUE, available=escrow.fee_micros)
    market.emit(EscrowReleased, escrow_id=command.escrow_id, listing_id=escrow.listing_id, postings=entry.post())


def refund_escrow(market: Market, command: RefundEscrow) -> None:
    """Gives the buyer the whole amount back; the GPUs stay listed."""
    escrow = find_escrow(market, command.escrow_id)
    escrow.state = "refunded"
    market.state.listings[escrow.listing_id].state = "listed"
    entry = market.entry(escrow.asset).hold(escrow.buyer, -escrow.amount_micros)
    market.emit(EscrowRefunded, escrow_id=command.escrow_id, listing_id=escrow.listing_id, postings=entry.post())


def find_escrow(market: Market, escrow_id: str) -> Escrow:
    """Returns an escrow that still holds its money."""
    require(escrow_id in market.state.escrows, "unknown_escrow")
    require(market.state.escrows[escrow_id].state == "open", "wrong_state")
    return market.state.escrows[escrow_id]
