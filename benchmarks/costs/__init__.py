"""What single properties of the book cost: many books, size, memory, latency, allocations, one call per order."""
