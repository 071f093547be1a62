"""The bill of materials in CycloneDX's form, by the standard's own library."""

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component as BomComponent
from cyclonedx.model.component import ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from infra.supply.components import Component


def bill_of_materials(version: str, components: list[Component]) -> str:
    """Returns the JSON document. A component with one file carries its digest; of several files none is the one."""
    bom = Bom()
    bom.metadata.component = BomComponent(
        name="hourbook-exchange", version=version, type=ComponentType.APPLICATION, bom_ref="hourbook-exchange"
    )
    for each in components:
        found = BomComponent(
            name=each.name,
            version=each.version,
            type=ComponentType.LIBRARY,
            purl=PackageURL(each.ecosystem.lower(), None, each.name, each.version),
            bom_ref=f"{each.ecosystem}/{each.name}",
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=each.sha256[0])] if len(each.sha256) == 1 else [],
        )
        bom.components.add(found)
        bom.register_dependency(bom.metadata.component, [found])
    return JsonV1Dot6(bom).output_as_string(indent=2)
