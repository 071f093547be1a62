"""Delivery from end to end on a whole exchange: agents, gate, lease, meter, settlement."""
