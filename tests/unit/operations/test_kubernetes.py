"""The Kubernetes manifests: valid, confined, and at one with the compose file and the code."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from sqlalchemy import make_url

from app.api.access import DOCS_ASSETS
from app.main import create_app
from app.settings import Settings

DOCKER = Path(__file__).parents[3] / "docker"
FOLDER = DOCKER / "kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text("utf-8"))
TEMPLATES = {"secret.template.yaml", "keys.template.yaml"}
VERSIONS = ("1.30", "1.37")
"""The oldest that is promised, and the newest that is known."""


def read() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(FOLDER.glob("*.yaml")):
        if path.name != "kustomization.yaml":
            for manifest in yaml.safe_load_all(path.read_text("utf-8")):
                yield f"{path.name}: {manifest['kind']} {manifest['metadata']['name']}", manifest


MANIFESTS = dict(read())
PODS = {
    manifest["metadata"]["name"].removeprefix("echo2pheno-"): manifest["spec"]["template"]
    for manifest in MANIFESTS.values()
    if manifest["kind"] in ("Deployment", "StatefulSet")
}
OURS = ("api", "worker")
each_pod = pytest.mark.parametrize("name", sorted(PODS))


def find(kind: str, name: str) -> dict[str, Any]:
    (found,) = [
        manifest
        for manifest in MANIFESTS.values()
        if (manifest["kind"], manifest["metadata"]["name"]) == (kind, name)
    ]
    return found


def container(name: str) -> dict[str, Any]:
    (found,) = PODS[name]["spec"]["containers"]
    return found


def ports(name: str) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container(name)["ports"]}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("title", MANIFESTS)
def test_it_is_valid(title: str, version: str) -> None:
    kubernetes_validate.validate(MANIFESTS[title], version, strict=True)


def test_a_field_that_does_not_exist_would_be_noticed() -> None:
    wrong = {**find("Deployment", "echo2pheno-api"), "sepc": {}}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_all_of_them_are_applied_in_whatever_namespace() -> None:
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}

    assert set(KUSTOMIZATION["resources"]) == files - TEMPLATES
    for manifest in MANIFESTS.values():
        assert "namespace" not in manifest["metadata"]
    assert set(PODS) == {"api", "worker", "broker", "database"}


@each_pod
def test_a_pod_is_confined(name: str) -> None:
    spec, its = PODS[name]["spec"], container(name)

    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert its["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(its["resources"]) == {"requests", "limits"}
    assert {"startupProbe", "livenessProbe"} <= set(its)
    assert ("readinessProbe" in its) == (name != "worker"), "nobody calls a worker"


@each_pod
def test_addresses_of_services_are_not_taken_for_settings(name: str) -> None:
    # Kubernetes would put ECHO2PHENO_API_PORT=tcp://… into the environment.
    assert PODS[name]["spec"]["enableServiceLinks"] is False


@each_pod
def test_what_is_mounted_and_probed_is_there(name: str) -> None:
    spec, its = PODS[name]["spec"], container(name)
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    claimed = [claim["metadata"]["name"] for claim in claims(name)]
    assert {mount["name"] for mount in its["volumeMounts"]} == set(volumes) | set(claimed)
    for volume in volumes.values():
        if claim := volume.get("persistentVolumeClaim"):
            found = find("PersistentVolumeClaim", claim["claimName"])
            assert found["spec"]["accessModes"] == ["ReadWriteMany"]
        if secret := volume.get("secret"):
            template = find("Secret", secret["secretName"])
            assert {item["key"] for item in secret["items"]} <= set(template["stringData"])
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        for how in ("httpGet", "tcpSocket"):
            if how in its.get(kind, {}):
                assert its[kind][how]["port"] in ports(name)


def claims(name: str) -> list[dict[str, Any]]:
    sets = [m for m in MANIFESTS.values() if m["kind"] == "StatefulSet"]
    found = [m for m in sets if m["metadata"]["name"] == f"echo2pheno-{name}"]
    return [claim for m in found for claim in m["spec"]["volumeClaimTemplates"]]


def settings_of(name: str) -> dict[str, str]:
    """What a node of ours finds in its environment, but for what the cluster fills in."""
    shared = find("ConfigMap", "echo2pheno-settings")["data"]
    assert container(name)["envFrom"] == [{"configMapRef": {"name": "echo2pheno-settings"}}]
    return shared | {entry["name"]: entry.get("value", "1") for entry in container(name)["env"]}


@pytest.mark.parametrize("name", OURS)
def test_nodes_start_with_what_they_are_given(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logins = find("Secret", "echo2pheno-logins")["stringData"]
    for key, value in logins.items():
        (tmp_path / key).write_text(value)
    mounts = {mount["mountPath"] for mount in container(name)["volumeMounts"]}
    given = settings_of(name)
    assert set(given) <= {f"ECHO2PHENO_{field.upper()}" for field in Settings.model_fields}
    for key, value in given.items():
        if key.endswith("_URL_FILE"):
            assert str(Path(value).parent) in mounts
            value = str(tmp_path / Path(value).name)
        monkeypatch.setenv(key, value)
    settings = Settings()

    assert settings.queue == "celery"
    assert settings.broker_url is not None
    assert settings.database_url is not None
    assert "/data" in mounts
    grace_s = PODS[name]["spec"]["terminationGracePeriodSeconds"]
    before = container(name).get("lifecycle", {}).get("preStop", {}).get("exec", {})
    assert grace_s > settings.shutdown_grace_s + float(before.get("command", [0])[-1]) + 10
    assert ports(name) == (
        {"http": settings.port} if name == "api" else {"metrics": settings.worker_metrics_port}
    )


def test_the_addresses_in_the_secret_are_those_of_services() -> None:
    logins = find("Secret", "echo2pheno-logins")["stringData"]
    broker, database = urlsplit(logins["broker_url"]), make_url(logins["database_url"])

    for name, host, port in (
        ("broker", broker.hostname, broker.port),
        ("database", database.host, database.port),
    ):
        service = find("Service", str(host))
        assert port in [its["port"] for its in service["spec"]["ports"]]
        assert service["spec"]["selector"] == PODS[name]["metadata"]["labels"]
        assert {its["targetPort"] for its in service["spec"]["ports"]} == set(ports(name))
    assert database.password == logins["database_password"]
    assert f"default_pass = {broker.password}\n" in logins["broker_login.conf"]


def test_probes_ask_what_they_are_for() -> None:
    known = set(create_app(Settings()).openapi()["paths"])
    kinds = ("startup", "readiness", "liveness")
    asked = {kind: container("api")[f"{kind}Probe"]["httpGet"]["path"] for kind in kinds}

    assert asked == {
        "startup": "/health/live",
        "readiness": "/health/ready",
        "liveness": "/health/live",
    }
    assert set(asked.values()) <= known
    assert container("worker")["livenessProbe"]["httpGet"]["path"] == "/metrics"


def test_the_way_in_leads_everywhere_but_to_the_metrics() -> None:
    (rule,) = find("Ingress", "echo2pheno")["spec"]["rules"]
    prefix = settings_of("api")["ECHO2PHENO_ROOT_PATH"]
    ways = [path["path"].removeprefix(prefix) for path in rule["http"]["paths"]]
    app = create_app(Settings())
    addresses = {*app.openapi()["paths"], "/docs", "/openapi.json", f"{DOCS_ASSETS}/some.css"}

    def led(address: str) -> bool:
        return any(address == way or address.startswith(f"{way}/") for way in ways)

    assert {address for address in addresses if not led(address)} == {"/metrics"}
    for path in rule["http"]["paths"]:
        backend = path["backend"]["service"]
        service = find("Service", backend["name"])
        assert backend["port"]["name"] in [port["name"] for port in service["spec"]["ports"]]


def test_the_autoscaler_finds_its_metric_and_rules_alone() -> None:
    scaler = find("HorizontalPodAutoscaler", "echo2pheno-worker")["spec"]
    target = find("Deployment", scaler["scaleTargetRef"]["name"])
    (metric,) = scaler["metrics"]
    adapter = yaml.safe_load((DOCKER / "monitoring" / "prometheus-adapter.yaml").read_text())
    (rule,) = adapter["rules"]["external"]

    assert "replicas" not in target["spec"]
    assert metric["external"]["metric"]["name"] == rule["name"]["as"]
    assert scaler["minReplicas"] >= 1


def test_no_pod_is_left_open() -> None:
    policies = [m["spec"] for m in MANIFESTS.values() if m["kind"] == "NetworkPolicy"]
    shut = [spec for spec in policies if not {"ingress", "egress"} & set(spec)]
    (selector,) = [spec["podSelector"]["matchLabels"] for spec in shut]

    assert set(shut[0]["policyTypes"]) == {"Ingress", "Egress"}
    for template in PODS.values():
        assert selector.items() <= template["metadata"]["labels"].items()
    for spec in policies:
        for rule in [*spec.get("ingress", []), *spec.get("egress", [])]:
            assert rule.get("from") or rule.get("to"), "named callers only"
            known = {53, *(port for name in PODS for port in ports(name).values())}
            assert {port["port"] for port in rule["ports"]} <= known


def test_images_are_pinned_and_those_of_the_compose_file() -> None:
    compose = yaml.safe_load((DOCKER / "compose.scale.yml").read_text("utf-8"))["services"]

    for name in PODS:
        image, tag = container(name)["image"].rsplit(":", 1)
        assert re.match(r"\d+\.\d+", tag)
        assert compose[name]["image"] in (image, f"{image}:{tag}")
    (ours,) = KUSTOMIZATION["images"]
    assert {container(name)["image"] for name in OURS} == {f"{ours['name']}:{ours['newTag']}"}


def test_keys_are_made_where_api_nodes_read_them() -> None:
    pod = find("Pod", "echo2pheno-keys")
    (its,) = pod["spec"]["containers"]
    api = PODS["api"]["spec"]

    assert its["securityContext"] == container("api")["securityContext"]
    assert pod["spec"]["securityContext"] == api["securityContext"]
    assert its["image"] == container("api")["image"]
    (entry,) = its["env"]
    assert settings_of("api")[entry["name"]] == entry["value"]
    assert [mount in container("api")["volumeMounts"] for mount in its["volumeMounts"]] == [True]
    assert [volume in api["volumes"] for volume in pod["spec"]["volumes"]] == [True]


def test_the_broker_is_set_up_alike() -> None:
    def lines(text: str) -> list[str]:
        return [line for line in text.splitlines() if line and not line.startswith("#")]

    (here,) = find("ConfigMap", "echo2pheno-broker")["data"].values()
    there = (DOCKER / "scale" / "rabbitmq.conf").read_text("utf-8")

    assert lines(here) == lines(there)
