"""The whole exchange, driven from outside as its users do."""
