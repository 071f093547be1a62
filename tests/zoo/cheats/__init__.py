"""All cheats, by name, from the layer that knows a node by its key to the one that asks it at random times."""

from tests.zoo.cheats import chain, evidence, identity, sold, speed, telemetry, work
from tests.zoo.program import Program

CHEATS: dict[str, type[Program]] = {
    kind.__name__: kind
    for module in (identity, telemetry, evidence, chain, work, speed, sold)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Program) and kind.sign and not kind.__subclasses__()
}
ZOO = {Program.__name__: Program} | CHEATS
