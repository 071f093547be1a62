"""When a GPU counts as idle: what the driver says, and which scheduler is asked besides."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from agents.node.sections import Section

IDLE_FOR_MS_MAX = 30 * 24 * 3600 * 1000


def _is_plain(name: str) -> str:
    if not all((mark.isalnum() and mark.isascii()) or mark in "._-" for mark in name) or name.startswith("-"):
        raise ValueError("should have letters, digits and . _ - only")
    return name


NodeName = Annotated[str, Field(min_length=1, max_length=253), AfterValidator(_is_plain)]


class SlurmRule(Section):
    """The machine is a node of a Slurm cluster. `take` says how sold hours are kept from jobs: by a reservation of the
    node for `user`, or by draining it `before_s` before the hour begins.
    """

    node: NodeName
    take: Literal["reserve", "drain"] = "reserve"
    user: NodeName = "root"
    before_s: Annotated[int, Field(ge=60, le=604_800)] = 3600
    look_s: Annotated[int, Field(ge=5, le=3600)] = 30
    timeout_s: Annotated[int, Field(ge=1, le=300)] = 20


class KubernetesRule(Section):
    """The machine is a node of a Kubernetes cluster, which is asked with a service account's token.

    Without `url`, token and certificate of a pod's own service account are used.
    """

    node: NodeName
    url: Annotated[str, Field(pattern=r"^https://[A-Za-z0-9\[\]:.-]+(/[\w./-]*)?$")] | None = None
    token_file: Annotated[str, Field(pattern=r"^/[^\x00-\x1f]*$")] = (
        "/var/run/secrets/kubernetes.io/serviceaccount/token"
    )
    ca_file: Annotated[str, Field(pattern=r"^/[^\x00-\x1f]*$")] = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
    resource: Annotated[str, Field(pattern=r"^[a-z0-9.-]{1,63}/[A-Za-z0-9._-]{1,63}$")] = "nvidia.com/gpu"
    look_s: Annotated[int, Field(ge=5, le=3600)] = 30
    timeout_s: Annotated[int, Field(ge=1, le=300)] = 20


class IdleRule(Section):
    """A GPU is idle when utilisation and memory in use stayed below these for so long and no process is on it.

    Where the machine belongs to a scheduler, only what that has no use for is offered, hour by hour.
    """

    utilisation_below_percent: Annotated[int, Field(ge=1, le=100)] = 5
    memory_below_mib: Annotated[int, Field(ge=1)] = 1024
    for_ms: Annotated[int, Field(ge=0, le=IDLE_FOR_MS_MAX)] = 60_000
    slurm: SlurmRule | None = None
    kubernetes: KubernetesRule | None = None

    @model_validator(mode="after")
    def _one_scheduler(self) -> "IdleRule":
        if self.slurm and self.kubernetes:
            raise ValueError("slurm and kubernetes exclude each other: one of them decides about the node")
        return self
