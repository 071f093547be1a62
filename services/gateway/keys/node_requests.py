"""What a node's own key may do at the gateway: place, reprice, cancel and see that node's capacity, nothing else."""

from collections.abc import Callable
from urllib.parse import parse_qsl

from pydantic import ValidationError

from schemas.rest import ORDER_FORM, CapacityForm, RepriceForm
from services.gateway.projections.records import Order
from services.kit.auth import NodeCheck
from services.kit.http import ProblemError
from services.kit.inputs import read_number

ORDERS, POSITIONS, REPRICE = "/v1/orders", "/v1/positions", "/v1/capacity/reprice"
LEVELS = "/v1/capacity/levels"  # an agent that undercuts must know which of the book's asks are its account's own


def node_check(order_of: Callable[[int], Order | None]) -> NodeCheck:
    """Return what refuses a node's own key every request but those on its node's capacity.

    `order_of` finds an open order. Forms are read by the same models as the routes read them.
    """

    def is_its_order(node: str, order_id: int | None) -> bool:
        """Return True, or raise for any other order what is said of one that never was."""
        order = order_of(order_id) if order_id else None
        if order is None or order.node != node:
            raise ProblemError("unknown_order", "no such order is open", 404)
        return True

    def check(node: str, method: str, path: str, query: str, body: bytes) -> None:
        named: dict[str, list[str]] = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            named.setdefault(name, []).append(value)
        try:
            if (method, path) == ("POST", ORDERS):
                form = ORDER_FORM.validate_json(body)
                allowed = isinstance(form, CapacityForm) and form.node == node
            elif (method, path) == ("POST", REPRICE):
                allowed = is_its_order(node, RepriceForm.model_validate_json(body).order_id)
            elif method == "DELETE" and path.startswith(f"{ORDERS}/"):
                allowed = is_its_order(node, read_number(path.removeprefix(f"{ORDERS}/")))
            elif (method, path) == ("GET", ORDERS) and len(named.get("parent_id", ())) == 1:
                allowed = is_its_order(node, read_number(named["parent_id"][0]))
            elif (method, path) == ("GET", LEVELS):
                allowed = True
            else:
                allowed = method == "GET" and path in (ORDERS, POSITIONS) and named.get("node") == [node]
        except ValidationError:
            allowed = False
        if not allowed:
            raise ProblemError("scope_missing", f"the key is {node}'s own: it may only touch that node's capacity")

    return check
