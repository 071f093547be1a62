"""The process around the matching engine: the command log in, the event log out, snapshots beside."""
