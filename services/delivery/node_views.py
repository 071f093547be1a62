"""What everyone may know of nodes, read for a whole page at a time."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from schemas.delivery import GpuProof, HubView, LevelHold, NodeView, TimeWindow
from services.delivery.attestation import Attester, NoVerifier
from services.delivery.effects import now_ms
from services.delivery.hub_trips import view_of_trip
from services.delivery.settings import Settings
from services.delivery.store import Store, node_of
from services.kit.rows import show_rows

WINDOWS_SHOWN = 64
NO_VERIFIER = NoVerifier()


async def node_view(store: Store, settings: Settings, row: Mapping, attester: Attester = NO_VERIFIER) -> NodeView:
    """Returns what everyone may know of a node. `row` is one of `find_node`."""
    return (await _viewer(store, settings, [row], attester))(row)


async def node_views(
    store: Store, settings: Settings, rows: Sequence[Mapping], attester: Attester = NO_VERIFIER
) -> tuple[NodeView, ...]:
    """Returns what everyone may know of nodes, in the order of their rows; the number of queries is always the same."""
    return show_rows(rows, await _viewer(store, settings, rows, attester))


async def _viewer(
    store: Store, settings: Settings, rows: Sequence[Mapping], attester: Attester
) -> Callable[[Mapping], NodeView]:
    """Returns what shows each of the rows."""
    ids = [row["node_id"] for row in rows]
    gpus = await store.gpus_of(ids)
    windows = await _by_node(store, "maintenance_of_nodes", ids, now_ms(), WINDOWS_SHOWN)
    holds = await _by_node(store, "open_holds_of_nodes", ids)
    proofs = await _by_node(store, "proofs_of_nodes", ids)
    trips = await _by_node(store, "hub_trips_of_nodes", ids)
    standings = {node_id: await attester.standing(node_id) for node_id in ids}

    def view(row: Mapping) -> NodeView:
        node = node_of(row)
        shown = [gpu for gpu in gpus.get(node.node_id, ()) if not gpu.is_freed]
        return NodeView(
            node=node.node_id,
            account=node.account,
            grade=node.grade,
            hub=node.hub,
            level=node.level,
            state=node.state,
            reason=node.reason,
            simulated=node.simulated,
            gpus=tuple(gpu.uuid for gpu in shown),
            fit_gpus=tuple(gpu.uuid for gpu in shown if gpu.fitness.is_sellable),
            last_report_ms=node.last_live_ms,
            maintenance=tuple(TimeWindow(**window) for window in windows[node.node_id]),
            level_held=tuple(LevelHold(**hold) for hold in holds[node.node_id]),
            audited_until_ms=row["audited_until_ms"],
            hub_known=_hub_known(settings, trips[node.node_id]),
            proofs=tuple(GpuProof(**proof) for proof in proofs[node.node_id]),
            attestation=standings[node.node_id],
        )

    return view


def _hub_known(settings: Settings, trips: Sequence[Mapping]) -> HubView:
    return view_of_trip(settings, trips[0] if trips else None)


async def _by_node(store: Store, query: str, *arguments: object) -> defaultdict[str, list[dict]]:
    """Returns a query's rows by their node, without it."""
    found: defaultdict[str, list[dict]] = defaultdict(list)
    for row in await store.rows(query, *arguments):
        fields = dict(row)
        found[fields.pop("node_id")].append(fields)
    return found
