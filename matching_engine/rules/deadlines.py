"""The kinds of deadlines; at the same time they happen in this order, and within one kind in the order of their ids."""

LISTING, GATE, DELIVERY, METERED, LIVENESS, FINAL, SCHEDULE, AUCTION_END, EXPIRY, SILENCE, VOUCHERS = range(11)
