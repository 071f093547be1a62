"""The exchange's core: order books, money and events, without I/O, clock or randomness."""
