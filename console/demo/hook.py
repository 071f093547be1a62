"""The demo operator's lease hook: opens and closes a place for the buyer, as an operator's own script would."""

import json
import os
import secrets
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

LEASE_VARIABLE, GPUS_VARIABLE = "HOURBOOK_LEASE_ID", "HOURBOOK_GPU_UUIDS"
TENANTS_VARIABLE = "HOURBOOK_DEMO_TENANTS"  # the folder that knows the buyers' processes on real GPUs
TENANT = Path(__file__).with_name("tenant.py")


def main() -> None:
    """Answers the agent; at the end nothing. A played site has no door, and says so: nobody can enter `played://`."""
    lease, tenants = os.environ.get(LEASE_VARIABLE, "lease"), os.environ.get(TENANTS_VARIABLE)
    note = Path(tenants) / f"{lease}.pid" if tenants else None
    if sys.argv[1] == "start":
        if note and not note.exists():
            note.write_text(str(start_tenant()))
        print(json.dumps({"endpoint": f"played://{lease}", "credential": secrets.token_urlsafe(24)}))
    elif note and note.exists():
        with suppress(ProcessLookupError):  # the buyer's process may have ended by itself
            os.kill(int(note.read_text()), signal.SIGTERM)
        note.unlink()


def start_tenant() -> int:
    """Starts the buyer's process on the leased GPUs, under the lease's id; returns its number."""
    variables = os.environ | {"CUDA_VISIBLE_DEVICES": os.environ[GPUS_VARIABLE]}
    command = [sys.executable, str(TENANT)]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, env=variables, start_new_session=True, **quiet).pid


if __name__ == "__main__":
    main()
