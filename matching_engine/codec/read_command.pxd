"""The commands that come by the thousand, read by position from their canonical bytes into packed commands.

Whatever is not exactly the canonical form is left to schemas.commands, which alone decides what is malformed.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, strlen

from matching_engine.codec.wire cimport (
    CLIENT_ORDER_ID, IDENTIFIER, Scanner, Word, read_choice, read_number, read_optional, read_word, skip, span,
)
from matching_engine.pools.memory cimport NIL
from matching_engine.pools.names cimport find_name, intern_name
from matching_engine.records.commands cimport (
    CANCEL, FLOORS_MAX, PLACE, PLACE_BLOCK, POST_CAPACITY, Command, PeriodRange,
)
from matching_engine.records.exchange cimport FOK, GTG, IOC, Exchange
from matching_engine.records.hours cimport Product, contract_at

cdef enum Reading:
    READ = 0
    SPECIAL = 1          # another command, or not canonical
    UNRESOLVED = 2            # a contract of its or its node is not known to the exchange yet

cdef enum:
    QTY_MAX = 1_000_000
    PRICE_MAX_MICROS = 1_000_000_000_000
    COST_MAX_MICROS = 4_000_000_000_000_000_000
    COUNTER_MAX = 9_007_199_254_740_991
    TTL_MAX_S = 10_000_000
    UNIX_MAX_S = 4_102_444_800
    PERIODS_MAX = 1_000
    RECORD_SIZE_MAX = 2048    # more than words of 64 characters can make a canonical command need

cdef struct Place:
    Word command_id, account, client_order_id, contract, node
    int64_t qty, price_micros, max_cost_micros, min_qty
    bint sells, at_market, post_only, has_node
    uint8_t tif

cdef struct Cancel:
    Word command_id, account, client_order_id
    int64_t order_id
    bint has_client_order_id

cdef struct Capacity:
    Word command_id, account, client_order_id, product, node
    int64_t gpus, from_s, to_s, ttl_s
    int64_t[FLOORS_MAX] floors_micros
    uint32_t floors

cdef struct BlockBid:
    Word command_id, account, client_order_id, product
    int64_t start_s, periods, qty, min_qty, limit_price_micros, max_cost_micros
    int64_t latest_s          # 0: none
    uint8_t tif


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

    Orders that expire, show a part of themselves, or have another self-trade instruction than the usual one, are left to
    the reference.
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
        and skip(here, b',"expires_ms":null,"display_qty":null,"min_qty":')
        and read_optional(here, &place.min_qty, QTY_MAX)
        and skip(here, b',"use_vouchers":false,"stp":"cancel_newest"}')
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


cdef inline bint read_floors(Scanner* scanner, Capacity* capacity) noexcept nogil:
    """One price, or a curve of them; both or none is for the rules in Python to refuse."""
    cdef int place
    capacity.floors = 1
    if not skip(scanner, b"null"):
        return (
            read_number(scanner, &capacity.floors_micros[0], PRICE_MAX_MICROS)
            and skip(scanner, b',"floor_curve_micros":null')
        )
    capacity.floors = FLOORS_MAX
    if not skip(scanner, b',"floor_curve_micros":['):
        return False
    for place in range(FLOORS_MAX):
        if place and not skip(scanner, b","):
            return False
        if not read_number(scanner, &capacity.floors_micros[place], PRICE_MAX_MICROS):
            return False
    return skip(scanner, b"]")


cdef inline bint read_capacity(const char* text, Py_ssize_t size, Capacity* capacity) noexcept nogil:
    """Whether the bytes are a canonical `post_capacity`. Those of split nodes are left to the rules in Python."""
    cdef Scanner scanner = Scanner(text, text + size)
    cdef Scanner* here = &scanner
    return (
        skip(here, b'{"type":"post_capacity","command_id":"')
        and read_word(here, &capacity.command_id, IDENTIFIER)
        and skip(here, b',"account":"')
        and read_word(here, &capacity.account, IDENTIFIER)
        and skip(here, b',"client_order_id":"')
        and read_word(here, &capacity.client_order_id, CLIENT_ORDER_ID)
        and skip(here, b',"product":"')
        and read_word(here, &capacity.product, IDENTIFIER)
        and skip(here, b',"node":"')
        and read_word(here, &capacity.node, IDENTIFIER)
        and skip(here, b',"gpus":')
        and read_number(here, &capacity.gpus, QTY_MAX)
        and skip(here, b',"from_s":')
        and read_number(here, &capacity.from_s, UNIX_MAX_S)
        and skip(here, b',"to_s":')
        and read_number(here, &capacity.to_s, UNIX_MAX_S)
        and skip(here, b',"floor_price_micros":')
        and read_floors(here, capacity)
        and skip(here, b',"ttl_s":')
        and read_optional(here, &capacity.ttl_s, TTL_MAX_S)
        and skip(here, b',"split":false}')
        and here.at == here.end
    )


cdef inline bint read_block(const char* text, Py_ssize_t size, BlockBid* block) noexcept nogil:
    """Whether the bytes are a canonical `place_block`. One that draws on vouchers is left to the rules in Python."""
    cdef Scanner scanner = Scanner(text, text + size)
    cdef Scanner* here = &scanner
    return (
        skip(here, b'{"type":"place_block","command_id":"')
        and read_word(here, &block.command_id, IDENTIFIER)
        and skip(here, b',"account":"')
        and read_word(here, &block.account, IDENTIFIER)
        and skip(here, b',"client_order_id":"')
        and read_word(here, &block.client_order_id, CLIENT_ORDER_ID)
        and skip(here, b',"product":"')
        and read_word(here, &block.product, IDENTIFIER)
        and skip(here, b',"start_s":')
        and read_number(here, &block.start_s, UNIX_MAX_S)
        and skip(here, b',"periods":')
        and read_number(here, &block.periods, PERIODS_MAX)
        and skip(here, b',"qty":')
        and read_number(here, &block.qty, QTY_MAX)
        and skip(here, b',"min_qty":')
        and read_number(here, &block.min_qty, QTY_MAX)
        and skip(here, b',"limit_price_micros":')
        and read_number(here, &block.limit_price_micros, PRICE_MAX_MICROS)
        and skip(here, b',"max_cost_micros":')
        and read_optional(here, &block.max_cost_micros, COST_MAX_MICROS)
        and skip(here, b',"tif":"')
        and read_tif(here, &block.tif)
        and skip(here, b',"latest_s":')
        and read_optional(here, &block.latest_s, UNIX_MAX_S)
        and skip(here, b',"use_vouchers":false,"stp":"cancel_newest"}')
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
    command.period_range = NULL
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
    command.min_qty = <uint32_t>place.min_qty
    command.price_micros = place.price_micros
    command.max_cost_micros = place.max_cost_micros
    command.order_id = 0
    if command.account == NIL or command.contract == NIL or (place.has_node and command.node == NIL):
        return UNRESOLVED
    return READ


cdef inline void resolve_cancel(Exchange* exchange, const Cancel* cancel, Command* command) noexcept nogil:
    name_command(command, &cancel.command_id, &cancel.client_order_id)
    command.type = CANCEL
    command.period_range = NULL
    command.account = intern_name(&exchange.accounts.names, cancel.account.text, cancel.account.size)
    command.contract = command.node = NIL
    command.order_id = cancel.order_id


cdef inline bint has_contracts(const Product* product, const PeriodRange* period_range) noexcept nogil:
    """Whether the contracts of all periods have numbers."""
    cdef uint32_t place
    for place in range(period_range.periods + period_range.later):
        if contract_at(product, period_range.first_s + place * product.period_s) == NIL:
            return False
    return True


cdef inline bint resolve_period_range(
    Exchange* exchange, Command* command, PeriodRange* period_range, const Word* account, const Word* product
) noexcept nogil:
    """Numbers for the names in an order of many periods; whether its account and its product have some."""
    command.period_range = period_range
    command.account = intern_name(&exchange.accounts.names, account.text, account.size)
    command.contract = command.node = NIL
    command.at_market = command.post_only = False
    command.order_id = command.min_qty = 0
    period_range.product = find_name(&exchange.product_names, product.text, product.size)
    return command.account != NIL and period_range.product != NIL


cdef inline Reading resolve_capacity(
    Exchange* exchange, const Capacity* capacity, Command* command, PeriodRange* period_range
) noexcept nogil:
    """The window in periods; one that is empty or cuts a period is for the rules in Python to refuse."""
    cdef const Product* product
    cdef bint named = resolve_period_range(exchange, command, period_range, &capacity.account, &capacity.product)
    name_command(command, &capacity.command_id, &capacity.client_order_id)
    command.type = POST_CAPACITY
    command.sells = True
    command.tif = GTG
    command.node = find_name(&exchange.nodes.names, capacity.node.text, capacity.node.size)
    command.qty = <uint32_t>capacity.gpus
    command.price_micros = command.max_cost_micros = 0
    if not named or command.node == NIL:
        return UNRESOLVED
    product = &exchange.products[period_range.product]
    if capacity.from_s >= capacity.to_s or (capacity.to_s - capacity.from_s) % product.period_s:
        return SPECIAL
    period_range.first_s = capacity.from_s
    period_range.periods = <uint32_t>((capacity.to_s - capacity.from_s) // product.period_s)
    period_range.later = 0
    period_range.ttl_s = capacity.ttl_s
    period_range.floors = capacity.floors
    memcpy(period_range.floors_micros, capacity.floors_micros, capacity.floors * sizeof(int64_t))
    command.contract = contract_at(product, period_range.first_s)
    return READ if has_contracts(product, period_range) else UNRESOLVED


cdef inline Reading resolve_block(
    Exchange* exchange, const BlockBid* block, Command* command, PeriodRange* period_range
) noexcept nogil:
    cdef const Product* product
    cdef bint named = resolve_period_range(exchange, command, period_range, &block.account, &block.product)
    name_command(command, &block.command_id, &block.client_order_id)
    command.type = PLACE_BLOCK
    command.sells = False
    command.tif = block.tif
    command.qty = <uint32_t>block.qty
    command.price_micros = block.limit_price_micros
    command.max_cost_micros = block.max_cost_micros
    period_range.first_s = block.start_s
    period_range.periods = <uint32_t>block.periods
    period_range.min_qty = <uint32_t>block.min_qty
    if not named:
        return UNRESOLVED
    product = &exchange.products[period_range.product]
    period_range.later = 0
    period_range.latest_s = block.latest_s
    if block.latest_s:
        if product.period_s == 0:
            return UNRESOLVED
        if block.latest_s < block.start_s or (block.latest_s - block.start_s) % product.period_s:
            return SPECIAL
        period_range.later = <uint32_t>((block.latest_s - block.start_s) // product.period_s)
    command.contract = contract_at(product, period_range.first_s)
    return READ if has_contracts(product, period_range) else UNRESOLVED


cdef inline Reading read_command(
    Exchange* exchange, const char* text, Py_ssize_t size, Command* command, PeriodRange* period_range, Word* command_id
) noexcept nogil:
    """Reads a record. `command_id` is where a new order's stands, which its digest leaves out."""
    cdef Place place
    cdef Cancel cancel
    cdef Capacity capacity
    cdef BlockBid block
    command_id[0] = Word(NULL, 0)
    if size > 15 and text[9] == c"p" and text[10] == c"o":
        if not read_capacity(text, size, &capacity):
            return SPECIAL
        command_id[0] = capacity.command_id
        return resolve_capacity(exchange, &capacity, command, period_range)
    if size > 15 and text[9] == c"p" and text[15] == c"b":
        if not read_block(text, size, &block):
            return SPECIAL
        command_id[0] = block.command_id
        return resolve_block(exchange, &block, command, period_range)
    if size > 15 and text[9] == c"p":
        if not read_place(text, size, &place):
            return SPECIAL
        command_id[0] = place.command_id
        return resolve_place(exchange, &place, command)
    if size <= 15 or text[9] != c"c" or not read_cancel(text, size, &cancel):
        return SPECIAL
    resolve_cancel(exchange, &cancel, command)
    return READ if command.account != NIL else SPECIAL


cdef inline size_t put_body(const char* text, size_t size, const Word* command_id, uint8_t* body) noexcept nogil:
    """The record without its member `command_id`, which is correlation only; how many bytes."""
    cdef size_t head = span(text, command_id.text) - strlen(b'"command_id":"')
    cdef size_t gap = strlen(b'"command_id":"",') + command_id.size
    memcpy(body, text, head)
    memcpy(body + head, text + head + gap, size - gap - head)
    return size - gap
