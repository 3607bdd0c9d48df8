"""The Kubernetes example against the schemas of Kubernetes, and put together by kubectl."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")
validator = pytest.importorskip("kubernetes_validate")

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"


@pytest.mark.parametrize("version", ["1.30", "1.34"])
def test_every_resource_is_valid(version: str) -> None:
    for path in FOLDER.glob("*.yaml"):
        if path.name != "kustomization.yaml":
            for resource in yaml.safe_load_all(path.read_text()):
                validator.validate(resource, version, strict=True)


def test_kubectl_puts_them_together() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run([kubectl, "kustomize", str(FOLDER)], capture_output=True, text=True, check=True)
    found = list(yaml.safe_load_all(done.stdout))
    assert len(found) == 8
    [deployment] = [each for each in found if each["kind"] == "Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.org/gatewright:0.1.0"
