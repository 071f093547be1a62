"""Delivery: the agents' edge, nodes, challenges, leases, the meter, settlement inputs and receipts."""
