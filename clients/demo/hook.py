"""The demo operator's lease hook: opens and closes a place for the buyer, as an operator's own script would."""

import json
import os
import secrets
import sys


def main() -> None:
    """Answers the agent: where the buyer gets in and with what; at the end nothing."""
    lease = os.environ.get("HOURBOOK_LEASE_ID", "lease")
    if sys.argv[1] == "start":
        print(json.dumps({"endpoint": f"ssh://{lease}@127.0.0.1:2222", "credential": secrets.token_urlsafe(24)}))


if __name__ == "__main__":
    main()
