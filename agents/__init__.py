"""Programs that run on machines of the exchange's users; they import schemas only."""

VERSION = "0.1.0"
