"""Bytes in and out: commands read from canonical JSON, events written, numbered and linked."""
