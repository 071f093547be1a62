"""The demo: the whole exchange for real, from nothing to settled trades, told step by step."""
