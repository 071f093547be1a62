"""The agent's own configuration file: where the venue is, whose node this is, where its state and policy lie."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from agents.node.client import ApiKey
from agents.node.ending import STOP_TIMEOUT_S
from agents.node.errors import BadConfiguration
from agents.node.files import CONTROLS, read_text, read_toml
from agents.node.kept import KEPT_BYTES_MAX, KEPT_DAYS
from agents.node.wire import TIMEOUT_MAX_S, TIMEOUT_S, Patience
from schemas.base import Model
from schemas.ids import Identifier

TOKEN_CHARS_MAX = 4096


def address_of(text: str) -> str:
    """Returns an address of HTTP as it is. Raises ValueError for anything else."""
    try:
        parts = urlsplit(text)
        is_sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_sound = False
    if not is_sound or CONTROLS.search(text) or any(mark in text for mark in " \t\r\n?#"):
        raise ValueError("should be an address like http://127.0.0.1:18080")
    return text


def loopback_of(text: str) -> str:
    """Returns a loopback address as it is. Raises ValueError for anything that others could reach."""
    try:
        is_loopback = ip_address(text).is_loopback
    except ValueError:
        is_loopback = text == "localhost"
    if not is_loopback:
        raise ValueError("should be a loopback address: the metrics are for this machine only")
    return text


Address = Annotated[str, AfterValidator(address_of)]


class Venue(Model):
    """Addresses of the exchange."""

    gateway_url: Address
    delivery_url: Address
    market_data_url: Address


class AgentConfig(Model):
    """The whole file; relative paths count from its folder. `token` is needed until the node is enrolled.

    Without `api_key` and `api_key_file`, the operator's, the node gets a key of its own at the gateway by its token.

    `stop_timeout_s` bounds how long the agent takes to end when it is told to, even if the venue hangs. An answer is
    waited for `http_timeout_s`, and after time-outs longer, up to `http_timeout_max_s`. Acknowledged reports are kept
    on disk for the venue, at most `kept_bytes_max` (compressed) and `kept_days`. With a `metrics_port` the running
    agent answers `/metrics` and `/healthz` there. `log_level` and `log_json` hold where the command line names none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    venue: Venue
    state_dir: Path
    policy: Path
    api_key: Identifier | None = None
    api_key_file: Path | None = None
    token: str | None = None
    token_file: Path | None = None
    stop_timeout_s: Annotated[float, Field(gt=0, le=3600)] = STOP_TIMEOUT_S
    http_timeout_s: Annotated[float, Field(gt=0, le=600)] = TIMEOUT_S
    http_timeout_max_s: Annotated[float, Field(gt=0, le=600)] = TIMEOUT_MAX_S
    kept_bytes_max: Annotated[int, Field(ge=0, le=2**40)] = KEPT_BYTES_MAX
    kept_days: Annotated[float, Field(ge=0, le=3650)] = KEPT_DAYS
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    metrics_host: Annotated[str, AfterValidator(loopback_of)] = "127.0.0.1"
    log_level: Literal["debug", "info", "warning", "error"] | None = None
    log_json: bool = False

    @model_validator(mode="after")
    def _one_token(self) -> "AgentConfig":
        if self.token is not None and self.token_file is not None:
            raise ValueError("set either token or token_file, not both")
        if (self.api_key is None) != (self.api_key_file is None):
            raise ValueError("set both api_key and api_key_file, or neither: the node then acts by a key of its own")
        if self.token is not None and not 0 < len(self.token) <= TOKEN_CHARS_MAX:
            raise ValueError(f"token should have 1 to {TOKEN_CHARS_MAX} characters")
        return self

    @classmethod
    def load(cls, file: Path) -> "AgentConfig":
        """Reads a TOML file. Raises BadConfiguration for what cannot be followed, a missing token file included."""
        config = read_toml(file, "configuration", cls)
        paths = {name: value for name, value in config if isinstance(value, Path)}
        try:
            paths = {name: file.parent / path.expanduser() for name, path in paths.items()}
        except RuntimeError as error:
            raise BadConfiguration(f"configuration {file}: {error}") from error
        config = config.model_copy(update=paths)
        try:
            if config.state_dir.exists() and not config.state_dir.is_dir():
                raise BadConfiguration(f"configuration {file}: state_dir: {config.state_dir} is not a folder")
            config.read_token()
        except OSError as error:
            raise BadConfiguration(f"configuration {file}: {error.filename}: {error.strerror}") from error
        return config

    def operator_key(self) -> ApiKey:
        """Reads the operator's API key. Raises BadConfiguration where none is named, or it cannot be read."""
        if self.api_key is None or self.api_key_file is None:
            raise BadConfiguration("this needs the operator's own key: name api_key and api_key_file, or use the API")
        return ApiKey.load(self.api_key, self.api_key_file)

    def patience(self) -> Patience:
        """Returns how long a client of the venue waits for answers."""
        return Patience(self.http_timeout_s, self.http_timeout_max_s)

    def read_token(self) -> str | None:
        """Returns the enrolment token, where one was given; an enrolled node's token file may be gone."""
        if self.token_file is None:
            return self.token
        if not self.token_file.exists() and (self.state_dir / "node.json").exists():
            return None
        token = read_text(self.token_file, "token_file").strip()
        if not 0 < len(token) <= TOKEN_CHARS_MAX:
            raise BadConfiguration(f"token_file {self.token_file}: should have 1 to {TOKEN_CHARS_MAX} characters")
        return token
