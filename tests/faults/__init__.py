"""Kill everything, again and again, under load; then ask the clients' own notes what the exchange owes them."""
