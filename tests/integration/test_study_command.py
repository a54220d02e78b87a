"""``python -m app study``: real processes, a folder in, tables and figures out."""

import collections
import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from app.client import Client
from app.keys import add_key
from app.private_service import private_service
from models.simulation.recording import simulate_recording
from models.simulation.scanner import write_screens
from tests.integration.conftest import ROOT, Process

GOOD = bytes(128) + b"DICM"


def fill(folder: Path, count: int, bad: set[int] = frozenset()) -> Path:  # type: ignore[assignment]
    """Make a folder of stubs that the gated service takes for recordings."""
    rows = ["file_name,body_mass_g,mouse_id,sex,group"]
    for n in range(count):
        path = folder / f"day {n % 3}" / f"{n}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((b"bad" if n in bad else GOOD) + n.to_bytes(2, "big"))
        rows.append(f"{n}.dcm,{20 + n % 10},M{n % 7},{'FM'[n % 2]},g{n % 3}")
    sheet = folder / "samples.csv"
    sheet.write_text("\n".join(rows) + "\n")
    return sheet


def command(folder: Path, *arguments: object, out: Path) -> list[str]:
    given = map(str, (folder, "--out", out, *arguments))
    return [sys.executable, "-m", "app", "study", *given]


def environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("ECHO2PHENO_")}


def run(folder: Path, *arguments: object, out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(folder, *arguments, out=out),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@contextlib.contextmanager
def running(folder: Path, *arguments: object, out: Path) -> Iterator[subprocess.Popen[str]]:
    popen = subprocess.Popen(
        command(folder, *arguments, out=out),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # in the background of a shell SIGINT is ignored, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield popen
    finally:
        if popen.poll() is None:
            popen.kill()
        popen.communicate()


def requests_of(service: Process) -> collections.Counter[tuple[str, str, int]]:
    return collections.Counter(
        (line["method"], line["route"], line["status"])
        for line in service.log_lines()
        if line["message"] == "request"
    )


def uploads_of(service: Process) -> int:
    route = "/v1/studies/{id}/analyses"
    return sum(
        n for (method, at, _), n in requests_of(service).items() if (method, at) == ("POST", route)
    )


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_two_hundred_with_ten_bad_ones(gated, gate: Path, tmp_path: Path) -> None:
    gate.write_text("open")
    folder, out = tmp_path / "study", tmp_path / "out"
    sheet = fill(folder, 200, bad=set(range(3, 200, 20)))
    (folder / "notes.txt").write_text("scanned on Tuesday")
    with gated() as service:
        arguments = (folder, "--server", service.address, "--sheet", sheet, "--no-figures")
        done = run(*arguments, out=out)
        assert done.returncode == 1, done.stderr
        assert "190 of 200 recordings analysed, 10 failures." in done.stderr
        assert "notes.txt" in done.stderr
        assert uploads_of(service) == 200
        again = run(*arguments, out=out)
        assert again.returncode == 1
        assert uploads_of(service) == 200, "nothing is sent twice, what failed neither"

    failures = rows_of(out / "failures.csv")
    assert [row["code"] for row in failures] == ["corrupt_pixel_data"] * 10
    summary = rows_of(out / "summary.csv")
    assert len(summary) == 200
    assert sum(row["status"] == "succeeded" for row in summary) == 190
    for row in summary:
        number = int(row["file_name"].rsplit("/", 1)[1].removesuffix(".dcm"))
        assert (row["mouse_id"], row["group"]) == (f"M{number % 7}", f"g{number % 3}")
        assert float(row["body_mass_g"]) == 20 + number % 10
        result = out / "recordings" / row["file_name"] / "analysis.json"
        assert result.exists() is (row["status"] == "succeeded")
    assert len(rows_of(out / "mice.csv")) == 42
    assert (out / "overview.png").read_bytes() == b"42 mice"
    assert len(rows_of(out / "published_stats.csv")) == 190


def test_a_folder_may_be_called_what_is_no_text(gated, gate: Path, tmp_path: Path) -> None:
    gate.write_text("open")
    folder = tmp_path / os.fsdecode(b"St\xfcdie")  # as a system in Windows-1252 wrote it
    sheet = fill(folder, 2, bad={1})
    odd = folder / os.fsdecode(b"m\xe4use.csv")
    sheet.rename(odd)
    with gated() as service, service.client() as http:
        arguments = [str(folder), "--server", service.address, "--sheet", str(odd)]
        done = subprocess.run(
            [sys.executable, "-m", "app", "study", *arguments],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 1, done.stderr.decode()
        (study,) = http.get("/v1/studies").json()["items"]
    assert study["name"] == "Stüdie"
    results = done.stdout.splitlines()[-1]
    assert results == os.fsencode(folder) + b"-results", "a script finds it by these bytes"
    assert [row["file_name"] for row in rows_of(Path(os.fsdecode(results)) / "failures.csv")] == [
        "day 1/1.dcm"
    ]
    for out in (odd, Path("/dev/null") / os.fsdecode(b"\xe4")):
        refused = run(folder, "--server", "http://127.0.0.1:9", out=out)
        assert refused.returncode == 1
        assert "python -m app study: " in refused.stderr
        assert "�" in refused.stderr
        assert "Traceback" not in refused.stderr


def test_two_runs_do_not_write_the_same_results(gated, gate: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "study", tmp_path / "out"
    fill(folder, 2)
    with gated() as service:
        arguments = (folder, "--server", service.address, "--no-figures")
        with running(*arguments, out=out) as first:
            while uploads_of(service) < 2:
                assert first.poll() is None, first.stderr.read()
            second = run(*arguments, out=out)
            assert second.returncode == 1
            assert "Another run is at work in" in second.stderr
            gate.write_text("open")
            _, said = first.communicate(timeout=120)
        assert first.returncode == 0, said
        assert run(*arguments, out=out).returncode == 0, "its place is free"
        assert uploads_of(service) == 2


def test_a_client_that_is_stopped_goes_on(gated, gate: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "study", tmp_path / "out"
    fill(folder, 30)
    (folder / "samples.csv").unlink()
    with gated() as service, service.client() as http:
        arguments = (folder, "--server", service.address, "--uploads", 2)
        for stop in (signal.SIGINT, signal.SIGKILL):
            before = uploads_of(service)
            with running(*arguments, out=out) as popen:
                while uploads_of(service) < before + 5:
                    assert popen.poll() is None, popen.stderr.read()
                popen.send_signal(stop)
                _, said = popen.communicate(timeout=60)
            if stop is signal.SIGINT:
                assert popen.returncode == 130
                assert "Stopped. The same command goes on from here." in said
        sent = uploads_of(service)
        assert sent < 30
        gate.write_text("open")
        done = run(*arguments, out=out)
        assert done.returncode == 0, done.stderr
        (study,) = http.get("/v1/studies").json()["items"]
        assert study["counts"]["succeeded"] == study["counts"]["total"] == 30
        # those under way at the kill may come once more: nobody knows whether they arrived
        assert 30 <= uploads_of(service) <= 32
    for n in range(30):
        recording = out / "recordings" / f"day {n % 3}" / f"{n}.dcm"
        names = {path.name for path in recording.iterdir()}
        assert names >= {"analysis.json", "beats.csv", "trace.csv", "function.png"}
        assert not [name for name in names if name.endswith(".part")]


def test_two_clients_with_a_service_that_is_killed(gated, gate: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    for name in ("anna", "ben"):
        (tmp_path / name).write_text(add_key(keys, name, "analyse") + "\n")
        fill(tmp_path / f"study of {name}", 20)
    port = None
    with contextlib.ExitStack() as stack:
        for restart in range(2):
            settings = {"keys_file": keys} | ({"port": port} if port else {})
            with gated(**settings) as service:
                port = int(service.address.rsplit(":", 1)[1])
                if restart == 0:
                    clients = [
                        stack.enter_context(
                            running(
                                tmp_path / f"study of {name}",
                                *("--server", service.address, "--no-figures"),
                                *("--key-file", tmp_path / name),
                                out=tmp_path / f"out of {name}",
                            )
                        )
                        for name in ("anna", "ben")
                    ]
                    while uploads_of(service) < 10:
                        assert all(client.poll() is None for client in clients)
                    service.kill()
                else:
                    gate.write_text("open")
                    for client in clients:
                        _, said = client.communicate(timeout=300)
                        assert client.returncode == 0, said
    for name in ("anna", "ben"):
        summary = rows_of(tmp_path / f"out of {name}" / "summary.csv")
        assert [row["status"] for row in summary] == ["succeeded"] * 20
        assert len({row["id"] for row in summary}) == 20


def test_files_that_change_or_cannot_be_taken(gated, gate: Path, tmp_path: Path) -> None:
    gate.write_text("open")
    folder, out = tmp_path / "study", tmp_path / "out"
    fill(folder, 3)
    sheet = folder / "samples.csv"
    with gated(max_upload_bytes=1000) as service:
        arguments = (folder, "--server", service.address, "--sheet", sheet, "--no-figures")
        assert run(*arguments, out=out).returncode == 0
        first = {row["file_name"]: row for row in rows_of(out / "summary.csv")}
        (folder / "day 0" / "0.dcm").write_bytes(GOOD + b"another")
        (folder / "day 1" / "1.dcm").write_bytes(bytes(1001))
        sheet.write_text(
            sheet.read_text().replace("2.dcm,22,", "2.dcm,23,") + "9.dcm,,,,\n=1+1,,,,\n"
        )
        done = run(*arguments, out=out)
        assert done.returncode == 1
    second = {row["file_name"]: row for row in rows_of(out / "summary.csv")}
    assert second["day 0/0.dcm"]["id"] != first["day 0/0.dcm"]["id"]
    assert second["day 2/2.dcm"]["body_mass_g"] == "23"
    assert [(row["file_name"], row["code"]) for row in rows_of(out / "failures.csv")] == [
        ("9.dcm", "not_found"),
        ("'=1+1", "not_found"),  # which no spreadsheet runs
        ("day 1/1.dcm", "too_large"),
    ]
    assert "2 of 3 recordings analysed, 3 failures." in done.stderr


def test_what_stops_a_study_is_said_in_a_line(gated, gate: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "study", tmp_path / "out"
    folder.mkdir()
    keys = tmp_path / "keys.json"
    add_key(keys, "anna", "analyse")
    with gated(keys_file=keys) as service:
        server = ("--server", service.address)
        for prepare, given, said in (
            ("", server, "There are no recordings in"),
            ("m.dcm", server, "Send a key in the header"),
            ("", ("--server", "lab:8000"), "begins with http://"),
            ("", (*server, "--sheet", folder / "m.dcm"), "line 1 has no column 'file_name'"),
            ("", (*server, "--key-file", folder / "none"), "No such file"),
            ("key", (*server, "--key-file", folder / "key"), "holds no key"),
        ):
            if prepare:
                (folder / prepare).write_bytes(GOOD if prepare == "m.dcm" else b"\xfc")
            done = run(folder, *given, out=out)
            assert done.returncode == 1
            assert said in " ".join(done.stderr.split()), done.stderr
            assert "Traceback" not in done.stderr


def test_without_a_server_this_machine_does_it(tmp_path: Path) -> None:
    folder, out = tmp_path / "study", tmp_path / "out"
    folder.mkdir()
    for seed, name in ((1, "a.dcm"), (2, "b.dcm")):
        simulated = simulate_recording(
            seed, duration_s=1.0, rows=200, seconds_per_column=1 / 800, acquisition="good"
        )
        write_screens(
            simulated.pixels,
            folder / name,
            seconds_per_column=simulated.seconds_per_column,
            mm_per_row=simulated.mm_per_row,
            encoding="jpeg",
            seed=seed,
        )
    (folder / "c.dcm").write_bytes(b"no recording")
    done = run(folder, "--body-mass-g", 25, out=out)
    assert done.returncode == 1, done.stderr
    assert done.stdout == f"{out}\n"
    summary = {row["file_name"]: row for row in rows_of(out / "summary.csv")}
    assert [summary[n]["status"] for n in ("a.dcm", "b.dcm", "c.dcm")] == [
        "succeeded",
        "succeeded",
        "failed",
    ]
    assert summary["c.dcm"]["error_code"] == "not_dicom"
    for name in ("a.dcm", "b.dcm"):
        figure = out / "recordings" / name / "segmentation.png"
        assert figure.read_bytes().startswith(b"\x89PNG")
    assert (out / "overview.png").read_bytes().startswith(b"\x89PNG")
    (folder / "c.dcm").unlink()
    again = run(folder, "--body-mass-g", 25, out=out)
    assert again.returncode == 0, again.stderr
    assert len(rows_of(out / "summary.csv")) == 2, "the study is what the folder is"


def test_ctrl_c_ends_it_though_the_service_does_not_answer(tmp_path: Path) -> None:
    uploading = threading.Event()

    class Hanging(BaseHTTPRequestHandler):
        """Has an empty study, and takes recordings without ever a word."""

        def do_GET(self) -> None:
            self._say({"items": [], "next_cursor": None})

        def do_POST(self) -> None:
            if self.path == "/v1/studies":
                self.rfile.read(int(self.headers["Content-Length"]))
                self._say({"id": "s", "links": {}})
                return
            uploading.set()
            ended.wait()

        def _say(self, answer: dict[str, object]) -> None:
            content = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    ended = threading.Event()
    folder = tmp_path / "study"
    fill(folder, 3)
    with ThreadingHTTPServer(("127.0.0.1", 0), Hanging) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        with running(folder, "--server", address, out=tmp_path / "out") as popen:
            assert uploading.wait(120)
            popen.send_signal(signal.SIGINT)
            _, said = popen.communicate(timeout=60)
        ended.set()
        server.shutdown()
    assert popen.returncode == 130
    assert "The same command goes on from here." in said
    assert "Traceback" not in said


def test_a_service_of_ones_own_that_dies_is_started_again(tmp_path: Path) -> None:
    def children() -> set[int]:
        listed = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()
        return {int(pid) for pid in listed.split()}

    before = children()
    log = tmp_path / "service.log"
    with private_service({"ECHO2PHENO_DATA_DIR": tmp_path / "data"}, log) as address:
        (first,) = children() - before
        assert httpx.get(f"{address}/health/live").is_success
        os.kill(first, signal.SIGKILL)
        with Client(address) as client:  # tries again until it is back
            study = client.create_study("still here")
            client.delete_study(study["id"])
