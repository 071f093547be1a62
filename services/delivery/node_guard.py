"""What one node, and all nodes of one account, may send: so many reports and other messages a second, so many at once.

Who sends is known for sure only when the message's signature was checked. So an answer that shows that it held is paid
for by the node and its account, and a node that has nothing left is refused before anything of its next message is
read. Nobody else can use up a node's budget; what no key proves is paid for by the address (services.kit.strangers).
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.delivery.hot_path import BEFORE, is_for_reports
from services.delivery.settings import Settings
from services.delivery.store import Store
from services.kit.addresses import client_group
from services.kit.connections import Places
from services.kit.http import ProblemError, new_request_id, problem_response
from services.kit.limits import Budget, too_many_at_once
from services.kit.store import AWAY, Pool

OF_NODES = frozenset(
    {"reports", "chain", "gpus", "hub", "leases", "challenges", "disputes", "signed-maintenance", "signed-recalls"}
)
CONFLICT = 409  # what the node says does not fit what is known: its signature was checked before
NODE_SPENT = "the node has sent more than it may for now; what it keeps is taken later"
ACCOUNT_SPENT = "the account's nodes have sent more than they may for now; what they keep is taken later"
TOO_MANY_AT_ONCE = "the node has as many requests under way as it may"


class NodeBudgets:
    """The budgets of one kind of message: a node's own, and its account's."""

    def __init__(self, kind: str, node_per_s: int, account_per_s: int, burst_s: float) -> None:
        self._node = Budget(f"node_{kind}", node_per_s, burst_s)
        self._account = Budget(f"account_{kind}", account_per_s, burst_s)

    def check(self, node: str, account: str | None) -> None:
        """Raises `too_many_requests` where one of them has nothing left."""
        self._node.check(node, NODE_SPENT)
        if account is not None:
            self._account.check(account, ACCOUNT_SPENT)

    def pay(self, node: str, account: str | None) -> None:
        """Takes a message off both."""
        self._node.owe(node, 1)
        if account is not None:
            self._account.owe(account, 1)


class NodeGuard:
    """Stands before delivery's application."""

    def __init__(self, app: ASGIApp, settings: Settings):
        self._app, self._pool = app, None
        rates = settings.node_reports_per_s, settings.account_reports_per_s, settings.node_burst_s
        self._reports = NodeBudgets("reports", *rates)
        rates = settings.node_messages_per_s, settings.account_messages_per_s, settings.node_burst_s
        self._messages = NodeBudgets("messages", *rates)
        self._under_way = Places(settings.node_requests_at_once_max)
        self._accounts: dict[str, str] = {}

    def open(self, pool: Pool) -> None:
        """Looks up nodes' accounts from now on."""
        self._pool = pool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        node = sender_of(scope)
        if node is None:
            return await self._app(scope, receive, send)
        budgets = self._reports if is_for_reports(scope["path"]) else self._messages
        place = f"{client_group(scope)} {node}"
        try:
            budgets.check(node, self._accounts.get(node))
            if not self._under_way.take(place):
                raise too_many_at_once(TOO_MANY_AT_ONCE)
        except ProblemError as refusal:
            return await problem_response(refusal, new_request_id())(scope, receive, send)
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            self._under_way.give_back(place)
            if 200 <= status < 300 or status == CONFLICT:
                budgets.pay(node, await self._account_of(node))

    async def _account_of(self, node: str) -> str | None:
        """Returns the account of a node, which never changes; None of a renter's meter, and while nobody can say."""
        account = self._accounts.get(node)
        if account is None and self._pool is not None:
            try:
                known = await Store(self._pool).find_node(node)
            except AWAY:
                return None
            if known is not None:
                account = self._accounts[node] = known.account
        return account


def sender_of(scope: Scope) -> str | None:
    """Returns which node a request claims to come from; None for requests that a node's key does not sign."""
    if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith(BEFORE):
        return None
    node, slash, rest = scope["path"][len(BEFORE) :].partition("/")
    kind = rest.partition("/")[0]
    return node if slash and kind in OF_NODES else None
