from pathlib import Path

import pytest
from PIL import Image

from models.compare_profiles import main
from tests.stand_in import heart


def test_the_table_has_both_profiles(
    stand_in_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    pixels, lumen_rows = heart(2100)
    Image.fromarray(pixels).save(tmp_path / "strip.png")
    monkeypatch.setenv("ECHO2PHENO_MODELS_DIR", str(stand_in_folder))
    calibration = ["--seconds-per-column", "0.001", "--mm-per-row", "0.02"]
    main([str(tmp_path / "strip.png"), *calibration, "--body-mass-g", "25"])
    lines = capsys.readouterr().out.splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:9]]
    rows = {name: cells for name, *cells in table}
    for cell in rows["LVIDd, mm"]:
        assert float(cell.split()[0]) == pytest.approx(lumen_rows.max() * 0.02, abs=0.06)
    for cell in rows["heart rate, 1/min"]:
        assert float(cell.split()[0]) == pytest.approx(60 / 0.105, rel=0.02)
    assert rows["beats found"] == ["20", "20"]
    assert "stand-in-mask 1" in lines[-1]
