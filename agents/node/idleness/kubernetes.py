"""Kubernetes: what of a node's allocatable GPUs no pod has requested; the node is tainted while something is sold.

It speaks to the API by HTTPS with the service account's token, which it reads again each time, because it is replaced.
"""

import json
import os
import ssl
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import httpx

from agents.node.idle_rules import KubernetesRule
from agents.node.idleness.source import Look, SourceFailed, Span, Use

TAINT = {"key": "hourbook.io/sold", "value": "true", "effect": "NoSchedule"}
ENDED = ("Succeeded", "Failed")
PODS_PAGE = 500
PAGES_MAX = 20
CONFLICT = 409


class Kubernetes:
    """One node of a cluster. The service account may get and patch this node, and list pods."""

    name = "Kubernetes"

    def __init__(self, rule: KubernetesRule, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._rule, self._transport = rule, transport

    async def look(self) -> Look:
        """Returns the node's GPUs and which pods have requested them; pods stay for good, as far as anybody knows."""
        async with self._client() as client:
            node = await _object(client, "GET", self._node_path())
            pods = [pod async for pod in self._pods(client)]
        try:
            total = gpus_of(node["status"]["allocatable"], self._rule.resource)
            uses = [*closed(node), *(use for pod in pods if (use := use_of(pod, self._rule.resource)))]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SourceFailed(f"{self._rule.node}: gave an unreadable answer: {error!r}") from error
        return Look(total, tuple(uses))

    async def hold(self, sold: tuple[Span, ...]) -> None:
        """Taints the node from the sale until the end of the last sold hour; pods that run stay."""
        async with self._client() as client:
            node = await _object(client, "GET", self._node_path())
            try:
                taints = list(node["spec"].get("taints") or [])
                version = node["metadata"]["resourceVersion"]
                is_ours = [taint["key"] == TAINT["key"] for taint in taints]
            except (KeyError, TypeError, AttributeError) as error:
                raise SourceFailed(f"{self._rule.node}: gave an unreadable answer: {error!r}") from error
            if any(is_ours) == bool(sold):
                return
            others = [taint for taint, ours in zip(taints, is_ours, strict=True) if not ours]
            # A list of taints is replaced as a whole: with the version that was read nobody else's edit is undone.
            wanted = [*others, TAINT] if sold else others
            patch = {"metadata": {"resourceVersion": version}, "spec": {"taints": wanted or None}}
            await _object(client, "PATCH", self._node_path(), patch)

    async def _pods(self, client: httpx.AsyncClient) -> AsyncIterator[dict[str, Any]]:
        """Yields the pods of the node, page by page."""
        query = {"fieldSelector": f"spec.nodeName={self._rule.node}", "limit": str(PODS_PAGE)}
        for _ in range(PAGES_MAX):
            page = await _object(client, "GET", "/api/v1/pods", query=query)
            if not isinstance(page.get("items"), list) or not isinstance(page.get("metadata"), dict):
                raise SourceFailed("GET /api/v1/pods: the answer is not a list of pods")
            for pod in page["items"]:
                yield pod
            if not page["metadata"].get("continue"):
                return
            query["continue"] = page["metadata"]["continue"]
        raise SourceFailed(f"GET /api/v1/pods: there are more than {PAGES_MAX} pages")

    def _node_path(self) -> str:
        return f"/api/v1/nodes/{self._rule.node}"

    def _client(self) -> httpx.AsyncClient:
        rule = self._rule
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        if rule.url is None and not host:
            raise SourceFailed("KUBERNETES_SERVICE_HOST is not set, and the policy has no idle.kubernetes.url")
        host = f"[{host}]" if host and ":" in host else host
        try:
            token = Path(rule.token_file).read_text().strip()
            trusted = ssl.create_default_context(cafile=rule.ca_file) if self._transport is None else True
        except (OSError, ssl.SSLError, ValueError) as error:
            raise SourceFailed(f"the service account cannot be used: {error}") from error
        return httpx.AsyncClient(
            base_url=rule.url or f"https://{host}:{port}",
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            timeout=rule.timeout_s,
            verify=trusted,
            transport=self._transport,
            trust_env=False,
        )


async def _object(
    client: httpx.AsyncClient, method: str, path: str, patch: dict | None = None, query: dict | None = None
) -> dict[str, Any]:
    content = None if patch is None else json.dumps(patch)
    headers = {} if patch is None else {"Content-Type": "application/merge-patch+json"}
    try:
        answer = await client.request(method, path, content=content, headers=headers, params=query)
        document = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise SourceFailed(f"{method} {path}: {error or type(error).__name__}") from error
    if answer.status_code == CONFLICT:
        raise SourceFailed(f"{method} {path}: the node was changed at the same time, it is tried again")
    if answer.status_code != httpx.codes.OK or not isinstance(document, dict):
        said = document.get("message") if isinstance(document, dict) else None
        raise SourceFailed(f"{method} {path}: {answer.status_code} {said or ''}".rstrip())
    return document


def closed(node: dict[str, Any]) -> Iterable[Use]:
    """Yields what keeps pods from the node besides the agent's own taint: somebody works on it."""
    if node["spec"].get("unschedulable"):
        yield Use(None, "the node is cordoned in Kubernetes")
    ready = [each["status"] for each in node["status"].get("conditions") or () if each["type"] == "Ready"]
    if ready != ["True"]:
        yield Use(None, "the node is not ready in Kubernetes")


def use_of(pod: dict[str, Any], resource: str) -> Use | None:
    """Returns what a pod takes: the sum of its containers and side cars, or one init container's, if that is more."""
    if pod["status"].get("phase") in ENDED:
        return None
    spec = pod["spec"]
    running = sum(_asked(container, resource) for container in spec["containers"])
    most = 0
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            running += _asked(container, resource)
        else:
            most = max(most, _asked(container, resource))
    gpus = max(running, most)
    metadata = pod["metadata"]
    return Use(gpus, f"pod {metadata.get('namespace', 'default')}/{metadata['name']}") if gpus else None


def gpus_of(amounts: dict[str, Any], resource: str) -> int:
    """Reads an amount of an extended resource, which is a whole number in a string. Raises ValueError."""
    return int(amounts.get(resource, 0))


def _asked(container: dict[str, Any], resource: str) -> int:
    resources = container.get("resources") or {}
    return max(gpus_of(resources.get(kind) or {}, resource) for kind in ("requests", "limits"))
