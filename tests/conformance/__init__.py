"""Judges that others wrote."""
