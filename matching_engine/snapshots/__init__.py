"""The C records into a snapshot's packed sections and back."""
