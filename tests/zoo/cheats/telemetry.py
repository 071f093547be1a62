"""L1: what a node says of its hardware and software cannot all be true."""

from schemas.nodes import EnrolRequest
from tests.zoo.program import REAL, Program


class Renamed(Program):
    """Differs from an honest node in facts of its inventory or its driver."""

    inventory: dict[str, object] = {}
    software: dict[str, object] = {}

    def enrolment(self, token: str) -> EnrolRequest:
        honest = super().enrolment(token)
        gpus = tuple(gpu.model_copy(update=self.inventory) for gpu in honest.gpus)
        self.node.software = REAL | self.software
        return self.node.enrolment(token, gpus=gpus)


class WrongName(Renamed):
    """A GTX 1650 whose owner writes `H100SXM80` into his configuration."""

    caught_by, sign = "plausibility", "refused implausible_node"
    inventory = {"name": "NVIDIA GeForce GTX 1650", "pci_device_id": None}


class WrongDevice(Renamed):
    """A driver that is made to say H100, over the PCI id of another board."""

    caught_by, sign = "plausibility", "refused implausible_node"
    inventory = {"pci_device_id": "20b210de"}


class MigSliceSoldWhole(Renamed):
    """A slice of 20 GB sold as the whole GPU."""

    caught_by, sign = "plausibility", "refused implausible_node"
    inventory = {"memory_mib": 20_096}


class WindowsDriver(Renamed):
    """A driver version that was never published for Linux."""

    caught_by, sign = "plausibility", "refused implausible_node"
    software = {"driver_version": "566.36", "kernel_driver_version": ""}


class KernelOfAnotherDriver(Renamed):
    """The library says one driver, the kernel another."""

    caught_by, sign = "plausibility", "refused implausible_node"
    software = {"kernel_driver_version": "535.183.01"}


class Simulated(Renamed):
    """Says that it only plays, where play is not allowed: its proofs would be judged by the sandbox's band."""

    caught_by, sign = "plausibility", "refused implausible_node"
    software = {"nvml_simulated": True}


class OneGpuListedTwice(Program):
    """One board, named twice under two UUIDs."""

    caught_by, sign = "plausibility", "refused implausible_node"

    def enrolment(self, token: str) -> EnrolRequest:
        first = super().enrolment(token).gpus[0]
        gpus = tuple(first.model_copy(update={"uuid": uuid}) for uuid in self.node.gpus)
        return self.node.enrolment(token, gpus=gpus)


class OneSerialTwice(Program):
    """Two boards with one serial number."""

    caught_by, sign = "plausibility", "refused implausible_node"

    def enrolment(self, token: str) -> EnrolRequest:
        honest = super().enrolment(token).gpus
        gpus = tuple(gpu.model_copy(update={"serial": "1650000000001"}) for gpu in honest)
        return self.node.enrolment(token, gpus=gpus)
