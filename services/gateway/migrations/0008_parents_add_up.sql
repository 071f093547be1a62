-- An ask that was replaced by a larger one did not move the order that it belongs to, whose remainder fell below zero.
update orders as parent
set remaining_qty = asks.remaining_qty
from (select parent_id, sum(remaining_qty) as remaining_qty from orders where parent_id is not null group by parent_id)
    as asks
where parent.order_id = asks.parent_id and parent.remaining_qty <> asks.remaining_qty;
