"""What installs the agent on operators' machines: each file is read by the program that it is for, where that is here.

Tier: default, about 3 s. Without systemd-analyze, helm, kubernetes-validate or ansible-playbook its test says so.
"""

import re
import shutil
import subprocess
import tomllib

import pytest

from agents.node.config import AgentConfig
from agents.node.policy import Policy
from infra.places import REPOSITORY

FOLDER = REPOSITORY / "infra" / "agent"
CHART = FOLDER / "helm" / "hourbook-agent"
KUBERNETES = "1.32"


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name} here")
    return found


def run(*command: object) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def template(*options: str) -> str:
    """Renders the chart; a helm that was built from source believes itself to be in front of an old Kubernetes."""
    fixed = ("--namespace", "gpus", "--kube-version", KUBERNETES)
    return run(program("helm"), "template", "fleet", CHART, *fixed, *options)


def render(*options: str) -> list[dict]:
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all(template(*options)))


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path):
    verify = program("systemd-analyze")
    installed = tmp_path / "bin" / "hourbook-agent"
    installed.parent.mkdir()
    installed.write_text("#!/bin/sh\n")
    installed.chmod(0o755)
    unit = (FOLDER / "hourbook-agent.service").read_text()
    assert "ExecStart=/opt/hourbook-agent/bin/hourbook-agent run /etc/hourbook-agent/agent.toml\n" in unit
    (tmp_path / "hourbook-agent.service").write_text(unit.replace("/opt/hourbook-agent/bin", str(installed.parent)))
    said = run(verify, "verify", tmp_path / "hourbook-agent.service")
    assert [line for line in said.splitlines() if "hourbook-agent" in line] == []


def test_the_units_time_to_stop_and_its_restarts_fit_the_agents_own_bounds():
    unit = dict(re.findall(r"^(\w+)=(.*)$", (FOLDER / "hourbook-agent.service").read_text(), re.MULTILINE))
    assert float(unit["TimeoutStopSec"]) > AgentConfig.model_fields["stop_timeout_s"].default
    assert (unit["Restart"], unit["RestartPreventExitStatus"]) == ("on-failure", "2 3")


def test_the_example_of_a_configuration_is_one(tmp_path):
    shutil.copyfile(FOLDER / "agent.toml.example", tmp_path / "agent.toml")
    (tmp_path / "token.json").write_text("{}")
    config = AgentConfig.load(tmp_path / "agent.toml")
    assert (config.api_key, config.metrics_port, config.log_json) == (None, 9400, True)


def test_the_charts_manifests_are_valid_and_its_files_are_read_by_the_agent(tmp_path):
    settings, fleet = render()
    assert (settings["kind"], fleet["kind"], fleet["metadata"]["namespace"]) == ("ConfigMap", "DaemonSet", "gpus")
    pod = fleet["spec"]["template"]["spec"]
    assert (pod["hostPID"], pod["hostNetwork"]) == (True, True)
    assert pod["terminationGracePeriodSeconds"] == 40
    assert pod["containers"][0]["livenessProbe"]["httpGet"]["port"] == 9400
    (tmp_path / "agent.toml").write_text(settings["data"]["agent.toml"].replace("/etc/hourbook-token", str(tmp_path)))
    (tmp_path / "token.json").write_text("{}")
    assert AgentConfig.load(tmp_path / "agent.toml").metrics_port == 9400
    assert Policy.model_validate(tomllib.loads(settings["data"]["policy.toml"])).hub == "CNE"


def test_a_pod_that_is_to_deliver_what_it_has_sold_is_given_the_time_for_it():
    _, fleet = render("--set", "drainSeconds=7200", "--set", "hooksConfigMap=hooks", "--set", "runtimeClassName=")
    pod = fleet["spec"]["template"]["spec"]
    command = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert command == ["timeout", "7200", "hourbook-agent", "drain", "/etc/hourbook-agent/agent.toml"]
    assert pod["terminationGracePeriodSeconds"] == 7240
    assert "runtimeClassName" not in pod
    assert "hooks" in [volume["name"] for volume in pod["volumes"]]


@pytest.mark.parametrize("options", [(), ("--set", "drainSeconds=60", "--set", "hooksConfigMap=hooks")])
def test_kubernetes_own_schema_takes_the_manifests(tmp_path, options):
    validate = program("kubernetes-validate")
    file = tmp_path / "fleet.yaml"
    file.write_text(template(*options))
    run(validate, "--strict", "-k", KUBERNETES, file)


def test_ansible_reads_the_playbook_and_the_files_that_it_brings_are_there():
    playbook = FOLDER / "ansible" / "install.yml"
    (play,) = pytest.importorskip("yaml").safe_load(playbook.read_text())
    brought = {name for name in re.findall(r"playbook_dir }}/([\w./-]+)", playbook.read_text()) if name != "files"}
    assert {name for name in brought if not (playbook.parent / name).resolve().is_file()} == set()
    assert play["hosts"] == "gpu_nodes"
    run(program("ansible-playbook"), "--syntax-check", "-i", "localhost,", "-e", "wheel=agent.whl", playbook)
