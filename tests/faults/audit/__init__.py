"""What is checked after the kills: the clients' notes against the event log, the logs against each other, the views."""
