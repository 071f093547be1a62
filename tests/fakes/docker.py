"""A container engine's command line without containers: what is run inside is run here, and every call is written down.

Its state lies in the folder FAKE_DOCKER; put it on PATH under the name `docker`.
"""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

STATE = Path(os.environ["FAKE_DOCKER"])
# What only the operator has: nobody can fetch it from a registry.
OWN_IMAGES = ("pytorch:2.8", "operators-own:1")


def names(kind: str) -> list[str]:
    """Lists what there is of a kind."""
    return sorted(path.name for path in (STATE / kind).iterdir())


def run_inside(arguments: list[str]) -> int:
    """Plays `docker exec`: options, the container's name, the command."""
    rest = list(arguments)
    while rest[0].startswith("--"):
        del rest[: 2 if rest[0] in ("--workdir", "--env") else 1]
    name, *command = rest
    if name not in names("containers"):
        print(f"Error: No such container: {name}", file=sys.stderr)
        return 1
    home = STATE / "volumes" / name
    command = [part.replace("/home/gpu", str(home)) for part in command]
    return subprocess.call(command, cwd=home, env={"PATH": os.environ["PATH"], "HOME": str(home)})


def main(arguments: list[str]) -> int:
    """Plays one call."""
    for kind in ("containers", "volumes", "networks"):
        (STATE / kind).mkdir(exist_ok=True)
    with (STATE / "calls").open("a") as calls:
        calls.write(json.dumps(arguments) + "\n")
    match arguments:
        case ["version"]:
            print("27.0")
        case ["info", *_]:
            print((STATE / "runtimes").read_text() if (STATE / "runtimes").exists() else '{"runc": {}}')
        case ["context", "inspect", *_]:
            print("unix:///run/docker.sock")
        case ["images", "--quiet", name]:
            print("0123456789ab" if name in OWN_IMAGES else "")
        case ["pull", "--quiet", name] if name not in OWN_IMAGES:
            (STATE / "pulled").write_text(f"{name} {sorted(os.listdir(os.environ['DOCKER_CONFIG']))}")
        case ["volume", "create", name]:
            (STATE / "volumes" / name).mkdir(exist_ok=True)
        case ["network", "create", name]:
            (STATE / "networks" / name).touch()
        case [("volume" | "network") as kind, "ls", *_]:
            print("\n".join(names(kind + "s")))
        case ["volume", "rm", "--force", name] if name in names("volumes"):
            subprocess.call(["rm", "-rf", str(STATE / "volumes" / name)])
        case ["network", "rm", name] if name in names("networks"):
            (STATE / "networks" / name).unlink()
        case ["ps", *_]:
            print("\n".join(names("containers")))
        case ["run", *options]:
            (STATE / "containers" / options[options.index("--name") + 1]).write_text(json.dumps(options))
        case ["inspect", "--format", "{{.State.Running}}", name]:
            print("false" if (STATE / "stopped").exists() else "true")
        case ["inspect", "--size", *_]:
            print(0)
        case ["inspect", "--format", template, name] if "Mounts" in template:
            print(STATE / "volumes" / name)
        case ["inspect", *_, name]:
            print(sha256(name.encode()).hexdigest())
        case ["start", name] if name in names("containers"):
            (STATE / "stopped").unlink(missing_ok=True)
        case ["rmi", _]:
            pass
        case ["rm", *_, name] if name in names("containers"):
            if not (STATE / "stuck").exists():
                (STATE / "containers" / name).unlink()
        case ["exec", *rest]:
            return run_inside(rest)
        case _:
            print(f"Error: no such object in {arguments}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
