"""The bodies of the events that orders cause, field by field as schemas.events has them."""

from libc.stdint cimport int64_t

from matching_engine.command_text cimport FOK, IOC, TimeInForce
from matching_engine.records cimport CAPACITY, MARKET, Balance, Order
from matching_engine.wire cimport (
    Word, put_bytes, put_int, put_literal, put_optional, put_quoted, put_str,
)


cdef inline char* put_word(char* at, const Word* word) noexcept nogil:
    return put_literal(put_bytes(at, word.text, word.size), b'"')


cdef inline char* put_side(char* at, bint sells) noexcept nogil:
    return put_literal(at, b',"side":"sell"' if sells else b',"side":"buy"')


cdef inline char* put_kind(char* at, int what) noexcept nogil:
    if what == CAPACITY:
        return put_literal(at, b',"kind":"capacity"')
    return put_literal(at, b',"kind":"market"' if what == MARKET else b',"kind":"limit"')


cdef inline char* put_tif(char* at, TimeInForce until) noexcept nogil:
    if until == IOC:
        return put_literal(at, b',"tif":"IOC"')
    return put_literal(at, b',"tif":"FOK"' if until == FOK else b',"tif":"GTG"')


cdef inline char* put_posting(char* at, str account, str asset, int64_t available, int64_t held, Balance balance):
    """One posting, as the balance stands after it."""
    at = put_literal(put_str(put_literal(at, b'["'), account), b'","')
    at = put_literal(put_str(at, asset), b'",')
    at = put_literal(put_int(at, available), b",")
    at = put_literal(put_int(at, held), b",")
    at = put_literal(put_int(at, balance.available), b",")
    return put_literal(put_int(at, balance.held), b"]")


cdef inline char* put_accepted(char* at, Order order, const Word* command_id):
    at = put_int(put_literal(at, b',"order_id":'), order.id)
    at = put_word(put_literal(at, b',"parent_id":null,"command_id":"'), command_id)
    at = put_quoted(put_literal(at, b',"account":'), order.account)
    at = put_quoted(put_literal(at, b',"client_order_id":'), order.client_order_id)
    at = put_quoted(put_literal(at, b',"contract":'), order.contract)
    at = put_kind(put_side(at, order.sells), order.what)
    at = put_int(put_literal(at, b',"qty":'), order.qty)
    at = put_optional(put_literal(at, b',"price_micros":'), order.price)
    at = put_optional(put_literal(at, b',"max_cost_micros":'), order.max_cost)
    at = put_tif(at, order.until)
    at = put_literal(at, b',"post_only":true' if order.post_only else b',"post_only":false')
    at = put_quoted(put_literal(at, b',"node":'), order.node)
    return put_literal(
        at, b',"expires_ms":null,"display_qty":null,"min_qty":null,"stp":"cancel_newest","postings":['
    )


cdef inline char* put_why(char* at, const char* reason, int64_t best_price, int64_t missing_gpus) noexcept nogil:
    at = put_literal(put_literal(put_literal(at, b',"why_unfilled":{"reason":"'), reason), b'"')
    at = put_optional(put_literal(at, b',"best_price_micros":'), best_price)
    return put_literal(put_int(put_literal(at, b',"missing_gpus":'), missing_gpus), b"}")


cdef inline char* put_canceled(char* at, Order order, const char* reason):
    at = put_int(put_literal(at, b',"order_id":'), order.id)
    at = put_quoted(put_literal(at, b',"account":'), order.account)
    at = put_quoted(put_literal(at, b',"client_order_id":'), order.client_order_id)
    at = put_kind(at, order.what)
    at = put_side(put_quoted(put_literal(at, b',"contract":'), order.contract), order.sells)
    at = put_optional(put_literal(at, b',"price_micros":'), order.price)
    at = put_int(put_literal(at, b',"qty_left":'), order.left)
    return put_literal(put_literal(put_literal(at, b',"reason":"'), reason), b'"')


cdef inline char* put_cancel_done(char* at, const Word* command_id, str account, int64_t canceled):
    at = put_word(put_literal(at, b',"command_id":"'), command_id)
    at = put_quoted(put_literal(at, b',"account":'), account)
    return put_int(put_literal(at, b',"canceled":'), canceled)


cdef inline char* put_duplicate(
    char* at, const Word* command_id, str account, str client_order_id, int64_t order_id, int64_t first_offset
):
    at = put_word(put_literal(at, b',"command_id":"'), command_id)
    at = put_quoted(put_literal(at, b',"account":'), account)
    at = put_quoted(put_literal(at, b',"client_order_id":'), client_order_id)
    at = put_optional(put_literal(at, b',"order_id":'), order_id)
    return put_int(put_literal(at, b',"first_offset":'), first_offset)


cdef inline char* put_rejected(
    char* at, const char* command, const Word* command_id, const Word* account, const Word* client_order_id,
    int64_t order_id, const char* code
) noexcept nogil:
    at = put_word(put_literal(at, b',"command_id":"'), command_id)
    at = put_literal(put_literal(put_literal(at, b',"command":"'), command), b'"')
    at = put_word(put_literal(at, b',"account":"'), account)
    if client_order_id.size:
        at = put_word(put_literal(at, b',"client_order_id":"'), client_order_id)
    else:
        at = put_literal(at, b',"client_order_id":null')
    at = put_optional(put_literal(at, b',"order_id":'), order_id)
    return put_literal(put_literal(put_literal(at, b',"code":"'), code), b'","why_unfilled":null')
