"""What the gateway answers to bad input: a problem document with a stable code, and nothing changes."""
