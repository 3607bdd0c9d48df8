"""The files of `deploy/` and the Dockerfile agree with the server, with each other and with docs/deploy.md."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gatewright.cli import app
from gatewright.serve.http.middleware import _PUBLIC_PATHS
from gatewright.serve.models import parse_models
from gatewright.serve.server import _FINISH_TIMEOUT, _SHUTDOWN_TIMEOUT
from gatewright.serve.settings import Settings
from tests.support.forks import SERVING, fork_server
from tests.support.stream_models import text_model

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
PAGE = (ROOT / "docs" / "deploy.md").read_text("utf-8")


def resources() -> dict[tuple[str, str], Any]:
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    assert {*listed, "kustomization.yaml"} == {path.name for path in FOLDER.iterdir()}
    found = [each for name in listed for each in yaml.safe_load_all((FOLDER / name).read_text())]
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


def pod(kind: str, name: str) -> Any:
    return resources()[kind, name]["spec"]["template"]["spec"]


def values(tree: Any, key: str) -> Iterator[Any]:
    """All values of a key, at any depth."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name == key:
                yield value
            yield from values(value, key)
    elif isinstance(tree, list):
        for value in tree:
            yield from values(value, key)


def test_the_server_takes_the_arguments_of_its_pod() -> None:
    [container] = pod("Deployment", "gatewright")["containers"]
    environment = {each["name"] for each in container["env"]}
    assert set(re.findall(r"\$\((\w+)\)", " ".join(container["args"]))) <= environment
    assert "GATEWRIGHT_TOKEN" in environment
    words = [re.sub(r"\$\(\w+\)", "value", word) for word in container["args"]]
    command, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    assert command.__name__ == "serve"
    given = bound.arguments
    models = parse_models(given["models"])
    settings = Settings(models, store=given["store"], replica=given["replica_id"], drain=given["drain"])
    assert settings.replica == "value"
    assert given["host"] == "0.0.0.0"
    mounted = [each["mountPath"] for each in container["volumeMounts"]]
    assert all(str(path).startswith("/models/") for path in models.values())
    assert {"/models", "/tmp"} <= set(mounted)
    grace = pod("Deployment", "gatewright")["terminationGracePeriodSeconds"]
    assert grace > settings.drain + _FINISH_TIMEOUT + _SHUTDOWN_TIMEOUT
    assert given["port"] == container["ports"][0]["containerPort"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):  # of kubelets, which send no token
        assert container[probe]["httpGet"]["path"] in _PUBLIC_PATHS
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_names_lead_to_what_is_there() -> None:
    found = resources()
    for service, backing in (("gatewright", "Deployment"), ("gatewright-valkey", "StatefulSet")):
        labels = found[backing, service]["spec"]["template"]["metadata"]["labels"]
        assert found["Service", service]["spec"]["selector"] == labels
        assert found[backing, service]["spec"]["selector"]["matchLabels"] == labels
        ports = {port["name"] for port in next(iter(values(found[backing, service], "containers")))[0]["ports"]}
        assert {port["targetPort"] for port in found["Service", service]["spec"]["ports"]} <= ports
    assert found["PodDisruptionBudget", "gatewright"]["spec"]["selector"]["matchLabels"] == {"app": "gatewright"}
    [store] = [word for word in pod("Deployment", "gatewright")["containers"][0]["args"] if "--store" in word]
    assert "@gatewright-valkey:6379/" in store
    [backend] = values(found["Ingress", "gatewright"], "backend")
    assert ("Service", backend["service"]["name"]) in found
    host = found["Ingress", "gatewright"]["spec"]["rules"][0]["host"]
    assert f"--allow-host={host}" in pod("Deployment", "gatewright")["containers"][0]["args"]
    [claim] = values(found["Deployment", "gatewright"], "claimName")
    assert ("PersistentVolumeClaim", claim) in found
    secrets = {(each["name"], each["key"]) for each in values(list(found.values()), "secretKeyRef")}
    assert {name for name, _ in secrets} == {"gatewright"}
    for _, key in secrets:  # which docs/deploy.md creates
        assert f"--from-literal={key}=" in PAGE
    replicas = found["NetworkPolicy", "gatewright-valkey"]["spec"]["ingress"][0]["from"][0]["podSelector"]
    assert replicas["matchLabels"] == {"app": "gatewright"}


@pytest.mark.parametrize(("kind", "name"), [("Deployment", "gatewright"), ("StatefulSet", "gatewright-valkey")])
def test_pods_may_do_little(kind: str, name: str) -> None:
    spec = pod(kind, name)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert container["resources"]["limits"]["memory"]


def test_the_image_is_that_of_the_pod() -> None:
    text = (ROOT / "Dockerfile").read_text()
    user = pod("Deployment", "gatewright")["securityContext"]
    assert f"USER {user['runAsUser']}:{user['runAsGroup']}" in text
    assert 'ENTRYPOINT ["gatewright"]' in text
    port = pod("Deployment", "gatewright")["containers"][0]["ports"][0]["containerPort"]
    assert f"EXPOSE {port}" in text
    assert f"127.0.0.1:{port}/healthz" in text
    last = text[text.rindex("FROM ") :]
    assert "g++" not in last  # no compiler
    kept = (ROOT / ".dockerignore").read_text().split()
    for needed in ("src", "native", "CMakeLists.txt", "pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
        assert f"!{needed}" in kept
        assert (ROOT / needed).exists()


def test_sigterm_ends_a_server_that_is_still_loading(tmp_path: Path) -> None:
    """The first process of a container ignores signals without a handler."""
    text_model().save(tmp_path / "model.safetensors")
    code = (
        "import os, signal\n"
        "from gatewright.serve import server\n"
        "from gatewright.serve.settings import Settings\n"
        "from pathlib import Path\n"
        "def load(settings):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    signal.pause()\n"
        "server.load_models = load\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "server.serve(Settings({'default': Path(os.environ['MODEL'])}, port=0, durability='memory'))\n"
    )
    environment = {**os.environ, "MODEL": str(tmp_path / "model.safetensors")}
    done = fork_server(*SERVING).run(["-c", code], env=environment)
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
