"""What the events make of orders, positions and balances, and how these are shown. No I/O."""
