"""What callers ask for, read from headers and parts."""

import pytest

from app.api.options import Preference, clean_file_name, read_options, read_preference


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ([], Preference()),
        (["respond-async"], Preference(respond_async=True)),
        (["Respond-Async"], Preference(respond_async=True)),
        (["wait=10"], Preference(wait_s=10)),
        (["respond-async, wait=10"], Preference(True, 10)),
        (["respond-async", 'wait = "10"'], Preference(True, 10)),
        (["wait=10, wait=20"], Preference(wait_s=10)),  # RFC 7240, 2: the first one counts
        (["respond-async; x=y"], Preference(respond_async=True)),
        (["wait=soon"], Preference()),
        (["wait=-1"], Preference()),
        (["wait=²"], Preference()),
        (["return=minimal"], Preference()),
        (["wait=" + "9" * 5000], Preference(wait_s=86_400)),
    ],
)
def test_preferences(headers: list[str], wanted: Preference) -> None:
    assert read_preference(headers) == wanted


@pytest.mark.parametrize(
    ("preference", "timeout_s"),
    [
        (Preference(), None),
        (Preference(respond_async=True), 0),
        (Preference(wait_s=7), 7),
        (Preference(True, 7), 7),
    ],
)
def test_how_long_to_wait(preference: Preference, timeout_s: float | None) -> None:
    assert preference.timeout_s == timeout_s


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("mouse 7.dcm", "mouse 7.dcm"),
        ("Mäuse/Käfig 1/ü.dcm", "ü.dcm"),
        ("C:\\scans\\m.dcm", "m.dcm"),
        ("../../etc/passwd", "passwd"),
        ("a\r\nX-Header: b", "aX-Header: b"),
        ("\u202egnp.exe", "gnp.exe"),
        ("x" * 300, "x" * 255),
        ("/", None),
        ("  ", None),
        (None, None),
    ],
)
def test_file_names(given: str | None, kept: str | None) -> None:
    assert clean_file_name(given) == kept


@pytest.mark.parametrize(("text", "value"), [("true", True), ("0", False), ("False", False)])
def test_figures(text: str, value: bool) -> None:
    assert read_options([("figures", text)]).settle(figures=not value).figures is value


@pytest.mark.parametrize("default", [True, False])
def test_figures_by_default(default: bool) -> None:
    assert read_options([]).settle(figures=default).figures is default
