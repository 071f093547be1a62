"""Kubernetes as a source of idleness, against a played API whose objects its own OpenAPI schema holds.

No cluster is tried here: what is played is the API's two lists, its merge patch with a version, and its errors.
"""

import copy
import json
from pathlib import Path

import httpx
import pytest
from jsonschema import Draft202012Validator

from agents.node.idle_rules import IdleRule, KubernetesRule
from agents.node.idleness.kubernetes import Kubernetes
from agents.node.idleness.source import Look, SourceFailed, Span, Use
from agents.node.idleness.watch import SourceWatch, ask_once
from agents.node.state import StateFolder

SCHEMA = json.loads((Path(__file__).parents[2] / "fixtures" / "kubernetes" / "core-v1.34.json").read_text())
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "gpu07", "resourceVersion": "1001", "labels": {"nvidia.com/gpu.product": "H100-SXM"}},
    "spec": {"podCIDR": "10.244.7.0/24", "taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]},
    "status": {
        "capacity": {"cpu": "192", "memory": "2113563832Ki", "nvidia.com/gpu": "8", "pods": "110"},
        "allocatable": {"cpu": "191", "memory": "2113461432Ki", "nvidia.com/gpu": "8", "pods": "110"},
        "conditions": [
            {"type": "MemoryPressure", "status": "False"},
            {"type": "Ready", "status": "True", "reason": "KubeletReady"},
        ],
    },
}
VALIDATORS = {
    kind: Draft202012Validator(SCHEMA | {"$ref": f"#/$defs/io.k8s.api.core.v1.{kind}"}) for kind in ("Node", "PodList")
}
SOLD = (Span(0, 3600),)
SOLD_TAINT = {"key": "hourbook.io/sold", "value": "true", "effect": "NoSchedule"}


def pod(name: str, *gpus: int, phase: str = "Running", init: tuple[dict, ...] = ()) -> dict:
    containers = [
        {"name": f"c{place}", "image": "cuda", "resources": {"limits": {"nvidia.com/gpu": str(count), "cpu": "500m"}}}
        for place, count in enumerate(gpus)
    ]
    spec = {"nodeName": "gpu07", "containers": containers, "initContainers": list(init)}
    return {"metadata": {"name": name, "namespace": "ml"}, "spec": spec, "status": {"phase": phase}}


def init(gpus: int, **fields: str) -> dict:
    return {"name": "init", "image": "cuda", "resources": {"requests": {"nvidia.com/gpu": str(gpus)}}} | fields


class Api:
    """An API server with one node and its pods."""

    def __init__(self) -> None:
        self.node, self.pods = copy.deepcopy(NODE), []
        self.page = 500
        self.patches: list[dict] = []
        self.others_edit = False
        self.failure: tuple[int, str] | None = None
        self.tokens: list[str] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.tokens.append(request.headers["Authorization"])
        if self.failure:
            status, message = self.failure
            return httpx.Response(status, json={"kind": "Status", "status": "Failure", "message": message})
        if request.url.path == "/api/v1/pods":
            assert request.url.params["fieldSelector"] == "spec.nodeName=gpu07"
            first = int(request.url.params.get("continue", "0"))
            metadata = {"continue": str(first + self.page)} if first + self.page < len(self.pods) else {}
            return self._valid("PodList", {"metadata": metadata, "items": self.pods[first : first + self.page]})
        assert request.url.path == "/api/v1/nodes/gpu07"
        if request.method == "PATCH":
            return self._patch(request)
        return self._valid("Node", self.node)

    def _patch(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["Content-Type"] == "application/merge-patch+json"
        patch = json.loads(request.content)
        if self.others_edit or patch["metadata"]["resourceVersion"] != self.node["metadata"]["resourceVersion"]:
            return httpx.Response(409, json={"message": "the object has been modified"})
        self.patches.append(patch)
        self.node["spec"] = {
            name: value for name, value in (self.node["spec"] | patch["spec"]).items() if value is not None
        }
        self.node["metadata"]["resourceVersion"] = str(int(self.node["metadata"]["resourceVersion"]) + 1)
        return self._valid("Node", self.node)

    def _valid(self, kind: str, document: dict) -> httpx.Response:
        VALIDATORS[kind].validate(document)
        return httpx.Response(200, json=document)


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def kubernetes(api, tmp_path) -> Kubernetes:
    (tmp_path / "token").write_text("secret-1\n")
    rule = KubernetesRule(node="gpu07", url="https://10.0.0.1:6443", token_file=str(tmp_path / "token"))
    return Kubernetes(rule, httpx.MockTransport(api.answer))


async def test_what_is_allocatable_and_no_pod_requests_is_free(kubernetes, api):
    assert await kubernetes.look() == Look(8)
    api.pods = [pod("train", 2, 1), pod("over", 4, phase="Succeeded"), pod("cpu"), pod("waits", 1, phase="Pending")]
    look = await kubernetes.look()
    assert look == Look(8, (Use(3, "pod ml/train"), Use(1, "pod ml/waits")))
    assert look.free(0, 3600) == (4, "pod ml/train, pod ml/waits")


@pytest.mark.parametrize(
    ("containers", "inits", "gpus"),
    [
        ((1, 2), (), 3),
        ((1,), (init(4),), 4),
        ((3,), (init(2), init(1)), 3),
        ((1,), (init(1, restartPolicy="Always"), init(1)), 2),
    ],
)
async def test_a_pod_takes_the_sum_of_its_containers_or_the_most_that_an_init_container_needs(
    kubernetes, api, containers, inits, gpus
):
    api.pods = [pod("train", *containers, init=inits)]
    assert (await kubernetes.look()).uses == (Use(gpus, "pod ml/train"),)


async def test_pods_on_several_pages_all_count(kubernetes, api):
    api.pods, api.page = [pod(f"p{number}", 1) for number in range(7)], 3
    assert (await kubernetes.look()).free(0, 1)[0] == 1
    api.page = 0
    with pytest.raises(SourceFailed, match="there are more than 20 pages"):
        await kubernetes.look()


async def test_a_node_that_is_cordoned_or_not_ready_is_not_idle(kubernetes, api):
    api.node["spec"]["unschedulable"] = True
    assert (await kubernetes.look()).free(0, 1) == (0, "the node is cordoned in Kubernetes")
    del api.node["spec"]["unschedulable"]
    api.node["status"]["conditions"][1]["status"] = "Unknown"
    assert (await kubernetes.look()).free(0, 1) == (0, "the node is not ready in Kubernetes")


async def test_the_node_is_tainted_once_while_sold_and_others_taints_stay(kubernetes, api):
    for _ in range(2):
        await kubernetes.hold(SOLD)
    assert api.node["spec"]["taints"] == [*NODE["spec"]["taints"], SOLD_TAINT]
    assert (await kubernetes.look()).free(0, 1) == (8, "")
    for _ in range(2):
        await kubernetes.hold(())
    assert api.node["spec"]["taints"] == NODE["spec"]["taints"]
    assert len(api.patches) == 2
    api.node["spec"]["taints"] = [SOLD_TAINT]
    await kubernetes.hold(())
    assert "taints" not in api.node["spec"]


async def test_an_edit_at_the_same_time_is_not_undone_but_tried_again(kubernetes, api):
    api.others_edit = True
    with pytest.raises(SourceFailed, match="the node was changed at the same time, it is tried again"):
        await kubernetes.hold(SOLD)
    api.others_edit = False
    await kubernetes.hold(SOLD)
    assert SOLD_TAINT in api.node["spec"]["taints"]


async def test_a_token_that_was_replaced_is_used_at_the_next_request_and_one_that_is_gone_is_named(
    kubernetes, api, tmp_path
):
    await kubernetes.look()
    (tmp_path / "token").write_text("secret-2")
    await kubernetes.look()
    assert list(dict.fromkeys(api.tokens)) == ["Bearer secret-1", "Bearer secret-2"]
    (tmp_path / "token").unlink()
    with pytest.raises(SourceFailed, match=r"the service account cannot be used: .*No such file"):
        await kubernetes.look()


@pytest.mark.parametrize(
    ("status", "message", "words"),
    [
        (403, 'nodes "gpu07" is forbidden', 'GET /api/v1/nodes/gpu07: 403 nodes "gpu07" is forbidden'),
        (404, 'nodes "gpu07" not found', "404 nodes"),
        (500, "etcd is away", "500 etcd is away"),
    ],
)
async def test_a_refusal_is_said_in_the_servers_words(kubernetes, api, status, message, words):
    api.failure = (status, message)
    with pytest.raises(SourceFailed, match=words):
        await kubernetes.look()


@pytest.mark.parametrize(
    "answer", [b"[]", b"{}", b"<html>", b'{"spec": {}, "status": {"allocatable": {"nvidia.com/gpu": "x"}}}']
)
async def test_an_answer_that_is_no_node_is_said_and_taken_for_no_idleness(tmp_path, answer):
    (tmp_path / "token").write_text("secret")
    rule = KubernetesRule(node="gpu07", url="https://10.0.0.1", token_file=str(tmp_path / "token"))
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=answer))
    with pytest.raises(SourceFailed):
        await Kubernetes(rule, transport).look()


async def test_without_a_cluster_nothing_is_offered_and_the_reason_is_said_once(monkeypatch, caplog):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    rule, watch = IdleRule(kubernetes=KubernetesRule(node="gpu07")), SourceWatch(None)
    for _ in range(3):
        assert await watch.follow(rule, (), 0) == (None, "Kubernetes cannot be asked what is idle")
    words = "KUBERNETES_SERVICE_HOST is not set, and the policy has no idle.kubernetes.url"
    assert watch.notices.about()["idleness"] == f"Kubernetes: {words}"
    assert sum(words in record.getMessage() for record in caplog.records) == 2, "once of the look, once of the taint"
    assert await ask_once(rule) == (None, f"Kubernetes: {words}")
    assert await watch.follow(IdleRule(), (), 0) == (None, "")
    assert await ask_once(IdleRule()) == (None, "")


async def test_what_is_held_is_remembered_over_a_restart_of_the_agent(tmp_path):
    state = StateFolder(tmp_path / "state")
    watch = SourceWatch(state)
    await watch.follow(IdleRule(), (Span(100, 200), Span(200, 300)), 50)
    assert SourceWatch(state).held == (Span(100, 200), Span(200, 300))
    again = SourceWatch(state)
    await again.follow(IdleRule(), (), 200)
    assert SourceWatch(state).held == again.held == (Span(200, 300),)
    (tmp_path / "state" / "held.json").write_text('{"spans": [["x"]]}')
    assert SourceWatch(state).held == ()
