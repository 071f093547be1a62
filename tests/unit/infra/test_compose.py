"""docker-compose.yml and the image agree: whoever runs in a container may write where it has to."""

import re

import yaml

from infra.places import REPOSITORY

IMAGE = "hourbook-exchange"


def services_of_ours() -> dict[str, dict]:
    services = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]
    return {name: service for name, service in services.items() if service["image"] == IMAGE}


def folders_of(service: dict) -> set[str]:
    return {volume.split(":")[1] for volume in service.get("volumes", ())}


def test_every_folder_that_a_volume_fills_is_made_for_its_user_in_the_image():
    """A new volume has the owner of the folder that it covers; one that the image lacks belongs to root."""
    made = set(re.findall(r"/data(?:/\w+)+", (REPOSITORY / "infra/docker/Dockerfile").read_text()))
    filled = set().union(*map(folders_of, services_of_ours().values()))
    assert {folder for folder in filled if not any(f"{each}/".startswith(f"{folder}/") for each in made)} == set()


def test_the_front_door_keeps_its_certificates_in_a_volume():
    front = services_of_ours()["front"]
    assert front["environment"]["XDG_DATA_HOME"] in folders_of(front)


def test_the_administrator_reaches_the_services_by_the_front_door():
    assert services_of_ours()["admin"]["environment"]["HOURBOOK_URL"] == "http://front:18000"
