"""The two commands that come by the thousand, read by position from their canonical bytes.

Whatever is not exactly the canonical form is left to schemas.commands, which alone decides what is malformed.
"""

from libc.stdint cimport int64_t

from matching_engine.wire cimport (
    CLIENT_ORDER_ID, IDENTIFIER, Scanner, Word, read_choice, read_number, read_optional, read_word, skip,
)

cdef enum TimeInForce:
    GTG = 0
    IOC = 1
    FOK = 2
    GTD = 3

cdef enum:
    QTY_MAX = 1_000_000
    PRICE_MAX_MICROS = 1_000_000_000_000
    AMOUNT_MAX_MICROS = 4_000_000_000_000_000_000
    COUNTER_MAX = 9_007_199_254_740_991

cdef struct Place:
    Word command_id, account, client_order_id, contract, node
    int64_t qty, price_micros, max_cost_micros
    bint sells, at_market, post_only, has_node
    TimeInForce tif

cdef struct Cancel:
    Word command_id, account, client_order_id
    int64_t order_id
    bint has_client_order_id


cdef inline bint read_tif(Scanner* scanner, TimeInForce* tif) noexcept nogil:
    if skip(scanner, b'GTG"'):
        tif[0] = GTG
    elif skip(scanner, b'IOC"'):
        tif[0] = IOC
    elif skip(scanner, b'FOK"'):
        tif[0] = FOK
    else:
        return False
    return True


cdef inline bint read_optional_word(Scanner* scanner, Word* word, int characters, bint* given) noexcept nogil:
    word.text = scanner.at
    word.size = 0
    given[0] = not skip(scanner, b"null")
    return not given[0] or (skip(scanner, b'"') and read_word(scanner, word, characters))


cdef inline bint read_place(const char* text, Py_ssize_t size, Place* place) noexcept nogil:
    """Whether the bytes are a canonical `place_order`, but for the contract's name, which the caller looks up.

    Orders that expire, show a part of themselves, ask for a minimum, or have another self-trade instruction than the
    usual one, are left to the reference.
    """
    cdef Scanner scanner = Scanner(text, text + size)
    cdef Scanner* here = &scanner
    return (
        skip(here, b'{"type":"place_order","command_id":"')
        and read_word(here, &place.command_id, IDENTIFIER)
        and skip(here, b',"account":"')
        and read_word(here, &place.account, IDENTIFIER)
        and skip(here, b',"client_order_id":"')
        and read_word(here, &place.client_order_id, CLIENT_ORDER_ID)
        and skip(here, b',"contract":"')
        and read_word(here, &place.contract, IDENTIFIER)
        and skip(here, b',"side":"')
        and read_choice(here, b'buy"', b'sell"', &place.sells)
        and skip(here, b',"kind":"')
        and read_choice(here, b'limit"', b'market"', &place.at_market)
        and skip(here, b',"qty":')
        and read_number(here, &place.qty, QTY_MAX)
        and skip(here, b',"price_micros":')
        and read_optional(here, &place.price_micros, PRICE_MAX_MICROS)
        and skip(here, b',"max_cost_micros":')
        and read_optional(here, &place.max_cost_micros, AMOUNT_MAX_MICROS)
        and skip(here, b',"tif":"')
        and read_tif(here, &place.tif)
        and skip(here, b',"post_only":')
        and read_choice(here, b"false", b"true", &place.post_only)
        and skip(here, b',"node":')
        and read_optional_word(here, &place.node, IDENTIFIER, &place.has_node)
        and skip(here, b',"expires_ms":null,"display_qty":null,"min_qty":null,"stp":"cancel_newest"}')
        and here.at == here.end
    )


cdef inline bint read_cancel(const char* text, Py_ssize_t size, Cancel* cancel) noexcept nogil:
    """Whether the bytes are a canonical `cancel_order`."""
    cdef Scanner scanner = Scanner(text, text + size)
    cdef Scanner* here = &scanner
    return (
        skip(here, b'{"type":"cancel_order","command_id":"')
        and read_word(here, &cancel.command_id, IDENTIFIER)
        and skip(here, b',"account":"')
        and read_word(here, &cancel.account, IDENTIFIER)
        and skip(here, b',"order_id":')
        and read_optional(here, &cancel.order_id, COUNTER_MAX)
        and skip(here, b',"client_order_id":')
        and read_optional_word(here, &cancel.client_order_id, CLIENT_ORDER_ID, &cancel.has_client_order_id)
        and skip(here, b"}")
        and here.at == here.end
    )
