"""Alert rules, dashboard and samples: what they ask for is told by the service."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from app.jobs.load_metrics import LoadCollector
from app.metrics import Metrics
from app.storage.leases import Load

FOLDER = Path(__file__).parents[3] / "docker" / "monitoring"
ALERTS = FOLDER / "alerts.yaml"
ALERTS_TEST = Path(__file__).with_name("alerts.yaml")
RULES: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"][0]["rules"]
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
ADAPTER = yaml.safe_load((FOLDER / "prometheus-adapter.yaml").read_text("utf-8"))

OF_OTHERS = {
    "up",
    "ALERTS",
    "kubelet_volume_stats_available_bytes",
    "kubelet_volume_stats_capacity_bytes",
    "rabbitmq_alarms_free_disk_space_watermark",
    "rabbitmq_alarms_memory_used_watermark",
}
"""Metrics of Prometheus itself, of Kubernetes and of RabbitMQ."""

OF_PROMETHEUS = {"job", "instance", "namespace", "pod"}
"""Labels that Prometheus adds."""

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed here")


def told() -> dict[str, set[str]]:
    """Names of all samples that a service tells, with their labels."""
    metrics = Metrics()
    metrics.watch_queue(SimpleNamespace(queued=1, running=1))
    load = Load({"interactive": 1, "bulk": 1}, 1.0, 1, 1, 1)
    metrics.registry.register(LoadCollector(lambda: load))
    metrics.count_request("GET", "/health/ready", 503, 0.1)
    metrics.count_analysis("succeeded", {"read": 1.0})
    families = text_string_to_metric_families(metrics.expose().decode())
    return {sample.name: {*sample.labels} for family in families for sample in family.samples}


TOLD = told()


def selected(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Metrics that an expression asks for, with the labels it tells them apart by."""
    text = expression.replace("$__rate_interval", "5m")
    text = re.sub(r"<<\.Series>>", "echo2pheno_queue_length", text)
    text = re.sub(r"<<\.LabelMatchers>>", 'namespace="some"', text)
    parts: list[Any] = []
    promql_parser.walk(promql_parser.parse(text), parts.append)
    for selector in parts:
        if not isinstance(selector, promql_parser.VectorSelector):
            continue
        yield str(selector.name), {matcher.name for matcher in selector.matchers.matchers}


def panels() -> list[dict[str, Any]]:
    return DASHBOARD["panels"]


EXPRESSIONS = {
    **{rule["alert"]: rule["expr"] for rule in RULES},
    **{
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in panels()
        for target in panel["targets"]
    },
    **{f"note {its['name']}": its["expr"] for its in DASHBOARD["annotations"]["list"]},
    **{rule["name"]["as"]: rule["metricsQuery"] for rule in ADAPTER["rules"]["external"]},
}


@pytest.mark.parametrize("title", EXPRESSIONS)
def test_every_metric_that_is_asked_for_is_told(title: str) -> None:
    asked = list(selected(EXPRESSIONS[title]))

    assert asked
    for name, labels in asked:
        assert name in TOLD or name in OF_OTHERS
        if name in TOLD:
            assert labels <= TOLD[name] | OF_PROMETHEUS


def test_an_expression_of_many_parts_is_read_whole() -> None:
    asked = 'sum(rate(a{b="c"}[$__rate_interval])) > 2 * max by (d) (e) and absent(f == 1)'

    assert list(selected(asked)) == [("a", {"b"}), ("e", set()), ("f", set())]


def test_labels_that_are_grouped_by_are_told() -> None:
    for expression in EXPRESSIONS.values():
        told_there = set().union(*(TOLD.get(name, set()) for name, _ in selected(expression)))
        for grouping in re.findall(r"by \(([^)]*)\)", expression):
            labels = {label.strip() for label in grouping.split(",")}
            assert labels <= told_there | OF_PROMETHEUS | {"persistentvolumeclaim"}


def test_every_metric_of_the_scale_out_is_looked_at() -> None:
    asked = {name for expression in EXPRESSIONS.values() for name, _ in selected(expression)}

    assert {name for name in TOLD if not re.search("_created$|_sum$|_count$", name)} <= asked | {
        "echo2pheno_analyses_queued",  # the same as the lines' lengths together
    }


def test_every_alert_says_what_to_do() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description"}


def test_every_alert_is_seen_to_fire() -> None:
    tested = ALERTS_TEST.read_text("utf-8")

    assert set(re.findall(r'alertname="(\w+)"', tested)) == {rule["alert"] for rule in RULES}


def run_promtool(*arguments: str | Path) -> None:
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_alerts_fire_when_they_should_and_only_then() -> None:
    run_promtool("test", "rules", ALERTS_TEST)


@needs_promtool
def test_the_sample_for_compose_is_good() -> None:
    run_promtool("check", "config", FOLDER / "prometheus.yaml")


@needs_promtool
def test_the_sample_for_kubernetes_is_good(tmp_path: Path) -> None:
    # Debian's promtool knows no Kubernetes; the rest is checked around another discovery.
    sample = yaml.safe_load((FOLDER / "prometheus-kubernetes.yaml").read_text("utf-8"))
    (job,) = sample["scrape_configs"]
    (discovery,) = job.pop("kubernetes_sd_configs")
    job["static_configs"] = [{"targets": ["pod:1"]}]
    shutil.copy(ALERTS, tmp_path / ALERTS.name)
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(sample))

    run_promtool("check", "config", tmp_path / "prometheus.yaml")
    assert discovery["role"] == "pod"


def test_samples_ask_where_the_metrics_are() -> None:
    compose = yaml.safe_load((FOLDER.parent / "compose.scale.yml").read_text("utf-8"))["services"]
    jobs = yaml.safe_load((FOLDER / "prometheus.yaml").read_text("utf-8"))["scrape_configs"]
    asked = {}
    for job in jobs:
        for found in job.get("dns_sd_configs", []):
            asked |= dict.fromkeys(found["names"], found["port"])
        for found in job.get("static_configs", []):
            asked |= dict(target.split(":") for target in found["targets"])
    named = {job["job_name"] for job in jobs}

    assert {name: int(port) for name, port in asked.items()} == {
        "api": 8000,
        "worker": int(compose["worker"]["environment"]["ECHO2PHENO_WORKER_METRICS_PORT"]),
        "broker": 15692,
    }
    for name in asked:
        assert "monitoring" in compose[name]["networks"]
    for rule in RULES:
        assert set(re.findall(r'job="([^"]+)"', rule["expr"])) <= named


def test_panels_stand_beside_each_other() -> None:
    taken = set()
    for panel in panels():
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken
        taken |= cells
        assert panel["datasource"]["uid"] == "${datasource}"
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource"]
