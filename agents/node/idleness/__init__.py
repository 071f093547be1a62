"""Where the agent learns what of a node is idle besides the driver: the scheduler that the machine belongs to."""
