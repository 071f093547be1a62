"""The two commands that come by the thousand, read by position from their canonical bytes into packed commands.

Whatever is not exactly the canonical form is left to schemas.commands, which alone decides what is malformed.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, strlen

from matching_engine.commands cimport CANCEL, PLACE, Command
from matching_engine.exchange cimport FOK, GTG, IOC, Exchange
from matching_engine.memory cimport NIL
from matching_engine.wire cimport (
    CLIENT_ORDER_ID, IDENTIFIER, Scanner, Word, read_choice, read_number, read_optional, read_word, skip,
)
from matching_engine.words cimport find_name, intern_name

cdef enum Reading:
    READ = 0
    NOT_ORDINARY = 1          # another command, or not canonical
    UNRESOLVED = 2            # its contract or node is not known to the exchange yet

cdef enum:
    QTY_MAX = 1_000_000
    PRICE_MAX_MICROS = 1_000_000_000_000
    COST_MAX_MICROS = 4_000_000_000_000_000_000
    COUNTER_MAX = 9_007_199_254_740_991
    RECORD_SIZE_MAX = 1024    # more than words of 64 characters can make a canonical order need

cdef struct Place:
    Word command_id, account, client_order_id, contract, node
    int64_t qty, price_micros, max_cost_micros
    bint sells, at_market, post_only, has_node
    uint8_t tif

cdef struct Cancel:
    Word command_id, account, client_order_id
    int64_t order_id
    bint has_client_order_id


cdef inline bint read_tif(Scanner* scanner, uint8_t* tif) noexcept nogil:
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
        and read_optional(here, &place.max_cost_micros, COST_MAX_MICROS)
        and skip(here, b',"tif":"')
        and read_tif(here, &place.tif)
        and skip(here, b',"post_only":')
        and read_choice(here, b"false", b"true", &place.post_only)
        and skip(here, b',"node":')
        and read_optional_word(here, &place.node, IDENTIFIER, &place.has_node)
        and skip(here, b',"expires_ms":null,"display_qty":null,"min_qty":null,"use_vouchers":false,"stp":"cancel_newest"}')
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


# -- into packed commands


cdef inline void name_command(Command* command, const Word* command_id, const Word* client_order_id) noexcept nogil:
    command.command_id = command_id.text
    command.command_id_size = <uint8_t>command_id.size
    command.client_id = client_order_id.text
    command.client_id_size = <uint8_t>client_order_id.size


cdef inline Reading resolve_place(Exchange* exchange, const Place* place, Command* command) noexcept nogil:
    """Numbers for names. An account that nobody has heard of gets one; it changes nothing."""
    name_command(command, &place.command_id, &place.client_order_id)
    command.type = PLACE
    command.account = intern_name(&exchange.accounts.names, place.account.text, place.account.size)
    command.contract = find_name(&exchange.contract_names, place.contract.text, place.contract.size)
    command.node = NIL
    if place.has_node:
        command.node = find_name(&exchange.nodes.names, place.node.text, place.node.size)
    command.sells = place.sells
    command.at_market = place.at_market
    command.tif = place.tif
    command.post_only = place.post_only
    command.qty = <uint32_t>place.qty
    command.price_micros = place.price_micros
    command.max_cost_micros = place.max_cost_micros
    command.order_id = 0
    if command.account == NIL or command.contract == NIL or (place.has_node and command.node == NIL):
        return UNRESOLVED
    return READ


cdef inline void resolve_cancel(Exchange* exchange, const Cancel* cancel, Command* command) noexcept nogil:
    name_command(command, &cancel.command_id, &cancel.client_order_id)
    command.type = CANCEL
    command.account = intern_name(&exchange.accounts.names, cancel.account.text, cancel.account.size)
    command.contract = command.node = NIL
    command.order_id = cancel.order_id


cdef inline Reading read_command(
    Exchange* exchange, const char* text, Py_ssize_t size, Command* command, Word* body
) noexcept nogil:
    """Reads a record. `body` is where a new order's command id stands, which its digest leaves out."""
    cdef Place place
    cdef Cancel cancel
    body.size = 0
    if size > 10 and text[9] == c"p":
        if not read_place(text, size, &place):
            return NOT_ORDINARY
        body[0] = place.command_id
        return resolve_place(exchange, &place, command)
    if size <= 10 or text[9] != c"c" or not read_cancel(text, size, &cancel):
        return NOT_ORDINARY
    resolve_cancel(exchange, &cancel, command)
    return READ if command.account != NIL else NOT_ORDINARY


cdef inline size_t put_body(const char* text, size_t size, const Word* command_id, uint8_t* body) noexcept nogil:
    """The record without its member `command_id`, which is correlation only; how many bytes."""
    cdef size_t head = strlen(b'{"type":"place_order",')
    cdef size_t gap = strlen(b'"command_id":"",') + command_id.size
    memcpy(body, text, head)
    memcpy(body + head, text + head + gap, size - gap - head)
    return size - gap
