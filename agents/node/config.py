"""The agent's own configuration file: where the venue is, whose node this is, where its state and policy lie."""

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, ValidationError

from agents.node.ending import STOP_TIMEOUT_S
from agents.node.errors import BadConfiguration
from agents.node.wire import TIMEOUT_MAX_S, TIMEOUT_S, Patience
from schemas.base import Model
from schemas.complaints import in_words
from schemas.ids import Identifier


class Venue(Model):
    """Addresses of the exchange."""

    gateway_url: str
    delivery_url: str
    market_data_url: str


class AgentConfig(Model):
    """The whole file; relative paths count from its folder. `token` is needed until the node is enrolled.

    `stop_timeout_s` bounds how long the agent takes to end when it is told to, even if the venue hangs. An answer is
    waited for `http_timeout_s`, and after time-outs longer, up to `http_timeout_max_s`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    venue: Venue
    state_dir: Path
    policy: Path
    api_key: Identifier
    api_key_file: Path
    token: str | None = None
    token_file: Path | None = None
    stop_timeout_s: Annotated[float, Field(gt=0, le=3600)] = STOP_TIMEOUT_S
    http_timeout_s: Annotated[float, Field(gt=0, le=600)] = TIMEOUT_S
    http_timeout_max_s: Annotated[float, Field(gt=0, le=600)] = TIMEOUT_MAX_S

    @classmethod
    def load(cls, file: Path) -> "AgentConfig":
        """Reads a TOML file."""
        try:
            config = cls.model_validate(tomllib.loads(file.read_text()))
        except ValidationError as error:
            raise BadConfiguration(f"configuration {file}: {in_words(error.errors())}") from error
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise BadConfiguration(f"configuration {file}: {error}") from error
        paths = {name: value for name, value in config if isinstance(value, Path)}
        return config.model_copy(update={name: file.parent / path for name, path in paths.items()})

    def patience(self) -> Patience:
        """Returns how long a client of the venue waits for answers."""
        return Patience(self.http_timeout_s, self.http_timeout_max_s)

    def read_token(self) -> str | None:
        """Returns the enrolment token, where one was given."""
        if self.token_file and self.token_file.exists():
            return self.token_file.read_text().strip()
        return self.token
