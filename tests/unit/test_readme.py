"""What the README names exists, and what exists is named there."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from app.api.problems import CATALOGUE
from app.api.schemas import AnalysisOut
from app.main import create_app
from app.output.names import FIGURE_NAMES
from app.pipeline.results import FEATURE_NAMES, RejectedBecause
from app.settings import SHIPPED_MODELS_DIR, Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def table(first_heading: str) -> list[list[str]]:
    """Rows of the table whose header begins with this, as cells."""
    lines = README.split(f"| {first_heading} |", 1)[1].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    assert rows
    return rows


def names(first_heading: str) -> list[str]:
    return [row[0].strip("`") for row in table(first_heading)]


def shown_default(name: str) -> str:
    """A setting's default as the README should have it."""
    field = Settings.model_fields[name]
    if field.default_factory is not None:
        return "as many as there are"
    if field.default == SHIPPED_MODELS_DIR:
        return "the shipped `models`"
    if isinstance(field.default, bool):
        return f"`{str(field.default).lower()}`"
    return "(empty)" if field.default in ("", None) else f"`{field.default}`"


def test_the_settings_table_is_that_of_the_code() -> None:
    expected = [
        [f"`ECHO2PHENO_{name.upper()}`", shown_default(name), str(field.description)]
        for name, field in Settings.model_fields.items()
    ]

    assert table("variable") == expected


def test_the_calls_are_those_of_the_service() -> None:
    app = create_app(Settings())
    described = {
        f"{method.upper()} {path}"
        for path, operations in app.openapi()["paths"].items()
        for method in operations
    }

    undescribed = {"/docs", "/openapi.json"}
    assert undescribed <= {getattr(route, "path", None) for route in app.routes}
    assert set(names("call")) == described | {f"GET {path}" for path in undescribed}


def test_every_code_of_a_problem_has_its_status() -> None:
    rows = [(int(status), code.strip("`")) for status, code, _ in table("status")]

    assert rows == [(status, code) for code, (status, _) in CATALOGUE.items()]


def test_features_rejections_and_figures_are_those_of_the_code() -> None:
    assert tuple(names("feature")) == FEATURE_NAMES
    assert sorted(names("reason")) == sorted(get_args(RejectedBecause))
    assert tuple(names("figure")) == FIGURE_NAMES


def test_every_warning_is_explained_and_every_explained_one_exists() -> None:
    source = "\n".join(p.read_text("utf-8") for p in (ROOT / "app" / "pipeline").glob("*.py"))
    given = set(re.findall(r'(?:Warning\(\s*|\bcode = )"([a-z_]+)"', source))
    given -= set(CATALOGUE) | {"recording_error"}

    assert set(names("code")) == given


def test_every_make_target_that_is_named_exists_and_the_reverse() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))

    assert set(re.findall(r"make ([a-z][a-z-]*)", README.replace("and make", ""))) == targets


def test_the_answer_shown_has_the_shape_of_a_real_one() -> None:
    answer = README.split("```json\n", 1)[1].split("```", 1)[0]
    schema = AnalysisOut.model_json_schema()
    known = {
        name for part in (schema, *schema["$defs"].values()) for name in part.get("properties", {})
    }

    shown = set(re.findall(r'"(\w+)":', answer))
    assert shown <= known
    assert {"features", "beats", "warnings", "quality", "links", "lvid_d_mm"} <= shown


def test_it_says_what_it_is_not() -> None:
    assert "not a medical device" in README
    assert README.index("make demo") < README.index("make test") < 700


def test_make_lists_its_targets() -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed here")
    listed = subprocess.run([make, "help"], cwd=ROOT, capture_output=True, text=True, check=True)

    for target in ("install", "demo", "test", "serve", "train"):
        assert re.search(rf"^{target} +\w", listed.stdout, re.MULTILINE)
