"""The gateway: API keys, order entry, the caller's own orders, fills, positions and balances, private feeds."""
