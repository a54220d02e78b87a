"""Examples for the OpenAPI description; tests hold them against the wire models."""

from typing import Any

ID = "4c1f0be0a9f14f6a8d1be3f3a5d0c6de"

_BASE = f"/v1/analyses/{ID}"
_CLASSIFIER = {"name": "classifier", "version": "1.0.0", "sha256": "9b74c9897bac770f" * 4}
_SEGMENTER = {"name": "segmenter", "version": "1.0.0", "sha256": "ec2d5f1a08b7c643" * 4}


def _summary(median: float, spread: float) -> dict[str, Any]:
    return {
        "median": median,
        "mean": median,
        "min": round(median - 2 * spread, 3),
        "max": round(median + 2 * spread, 3),
        "sd": spread,
        "n": 30,
    }


ANALYSIS: dict[str, Any] = {
    "id": ID,
    "status": "succeeded",
    "created_at": "2026-03-02T09:14:03.120000Z",
    "started_at": "2026-03-02T09:14:03.131000Z",
    "finished_at": "2026-03-02T09:14:05.402000Z",
    "input": {
        "file_name": "mouse_0412.dcm",
        "size_bytes": 79_230_464,
        "sha256": "a3f5c2d1e4b60798" * 4,
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "frames": 49,
        "body_mass_g": 25.0,
        "profile": "robust",
    },
    "recording": {
        "rows": 344,
        "columns": 5842,
        "duration_s": 4.868,
        "seconds_per_column": 0.00083333,
        "mm_per_row": 0.020645,
        "region": {"index": 2, "x0": 28, "y0": 112, "x1": 1052, "y1": 456},
    },
    "quality": {
        "high_fraction": 0.71,
        "windows": [{"start_s": 0.0, "end_s": 0.215, "probability": 0.93, "label": "high"}],
    },
    "features": {
        "lvid_d_mm": _summary(2.7, 0.1),
        "lvid_s_mm": _summary(1.1, 0.08),
        "heart_rate_bpm": _summary(717.0, 12.0),
        "lv_vol_d_ul": _summary(27.02, 2.4),
        "lv_vol_s_ul": _summary(2.66, 0.5),
        "stroke_volume_ul": _summary(24.36, 2.3),
        "cardiac_output_ml_per_min": _summary(17.47, 1.7),
        "ejection_fraction_pct": _summary(90.1, 1.5),
        "fractional_shortening_pct": _summary(59.3, 2.5),
    },
    "beats": [
        {
            "diastole_s": 0.1,
            "systole_s": 0.14,
            "lvid_d_mm": 2.7,
            "lvid_s_mm": 1.1,
            "heart_rate_bpm": 717.0,
            "lv_vol_d_ul": 27.02,
            "lv_vol_s_ul": 2.66,
            "ejection_fraction_pct": 90.1,
            "fractional_shortening_pct": 59.3,
            "quality": 0.93,
            "accepted": True,
            "rejected_because": None,
        }
    ],
    "warnings": [],
    "measuring": {
        "heart_rate_min_bpm": 200.0,
        "heart_rate_max_bpm": 900.0,
        "border_convention": "expert",
    },
    "models": {"classifier": _CLASSIFIER, "segmenter": _SEGMENTER},
    "links": {
        "self": _BASE,
        "figures": {
            name: f"{_BASE}/figures/{name}.png"
            for name in (
                "echocardiogram",
                "segmentation",
                "diastole",
                "systole",
                "heart_rate",
                "function",
            )
        },
        "beats_csv": f"{_BASE}/beats.csv",
        "summary_csv": f"{_BASE}/summary.csv",
        "trace_csv": f"{_BASE}/trace.csv",
        "published_all_csv": f"{_BASE}/published_all.csv",
        "published_stats_csv": f"{_BASE}/published_stats.csv",
    },
    "timings_ms": {
        "read": 310.0,
        "stitch": 240.0,
        "segment": 1310.0,
        "classify": 290.0,
        "measure": 60.0,
        "render": 1900.0,
        "total": 2260.0,
    },
    "error": None,
}

QUEUED: dict[str, Any] = ANALYSIS | {
    "status": "queued",
    "started_at": None,
    "finished_at": None,
    "input": ANALYSIS["input"] | {"transfer_syntax_uid": None, "frames": None},
    "recording": None,
    "quality": None,
    "features": None,
    "beats": None,
    "measuring": None,
    "models": None,
    "timings_ms": dict.fromkeys(ANALYSIS["timings_ms"]),
}

RUNNING: dict[str, Any] = QUEUED | {
    "status": "running",
    "started_at": ANALYSIS["started_at"],
    "progress": {"stage": "segment", "fraction": 0.4},
}

FAILED: dict[str, Any] = QUEUED | {
    "status": "failed",
    "started_at": ANALYSIS["started_at"],
    "finished_at": ANALYSIS["finished_at"],
    "error": {
        "type": "urn:echo2pheno:problem:too_short",
        "title": "Too little M-mode",
        "status": 422,
        "detail": "The recording holds 0.21 s of M-mode; at least 0.3 s are needed.",
        "code": "too_short",
    },
}

PAGE: dict[str, Any] = {"items": [ANALYSIS], "next_cursor": "NDE"}

MODELS: dict[str, Any] = {
    "classifier": _CLASSIFIER
    | {"trained_on": "simulated recordings", "accuracy": {"simulated_test": {"auc": 0.98}}},
    "segmenter": _SEGMENTER
    | {"trained_on": "simulated recordings", "accuracy": {"simulated_test": {"dice": 0.97}}},
}

USAGE: dict[str, Any] = {
    "analyses": {"running": 2, "queued": 31, "succeeded": 812, "failed": 9},
    "disk": {
        "uploads_bytes": 2_614_605_312,
        "results_bytes": 3_221_225_472,
        "records_bytes": 1_048_576,
        "free_bytes": 812_646_400_000,
    },
    "callers": [
        {
            "key_id": "4b1d0c52", "key_name": "anna",
            "analyses": 854, "disk_bytes": 5_835_830_784,
        }
    ],
    "retention": {
        "results_expire_after_h": 720.0, "results_max_bytes": None, "keep_uploads": False,
    },
}  # fmt: skip

BEATS_CSV = (
    "diastole_s,systole_s,lvid_d_mm,lvid_s_mm,heart_rate_bpm,lv_vol_d_ul,lv_vol_s_ul,"
    "ejection_fraction_pct,fractional_shortening_pct,quality,accepted,rejected_because\n"
    "0.1,0.14,2.7,1.1,717.0,27.02,2.66,90.1,59.3,0.93,true,\n"
)
SUMMARY_CSV = "\n".join(
    ",".join(cells)
    for cells in zip(
        ("id", ID),
        ("file_name", "mouse_0412.dcm"),
        ("body_mass_g", "25.0"),
        ("profile", "robust"),
        ("figures", "true"),
        *(
            (f"{name}_{kind}", str(value))
            for name, summary in ANALYSIS["features"].items()
            for kind, value in summary.items()
        ),
        strict=True,
    )
)
TRACE_CSV = (
    "time_s,upper_mm,lower_mm,lvid_mm,quality_probability\n"
    "0.0,2.31,5.01,2.7,0.93\n0.000833,,,,0.93\n"
)
PUBLISHED_ALL_CSV = (
    "file,lvid;d,lvid;d time,lvid;s,lvid;s time,heart rate,heart rate time\n"
    "mouse_0412.dcm,2.7,0.1,1.1,0.14,717.0,0.1\n"
)
PUBLISHED_STATS_CSV = (
    "file,median_diastole,median_systole,median_heartrate,avg_diastole,avg_systole,avg_heartrate,"
    "max_diastole,max_systole,max_heartrate,min_diastole,min_systole,min_heartrate\n"
    "mouse_0412.dcm,2.7,1.1,717.0,2.7,1.1,717.0,2.9,1.26,741.0,2.5,0.94,693.0\n"
)
EVENTS = (
    f'event: progress\ndata: {{"id":"{ID}","status":"running",'
    '"progress":{"stage":"segment","fraction":0.4},"error":null}\n\n'
    f'event: end\ndata: {{"id":"{ID}","status":"succeeded","progress":null,"error":null}}\n\n'
)
METRICS = (
    "# HELP echo2pheno_analyses_total Analyses ended, by outcome.\n"
    "# TYPE echo2pheno_analyses_total counter\n"
    'echo2pheno_analyses_total{outcome="succeeded"} 12.0\n'
)

DETAILS: dict[str, str] = {
    "malformed_request": "The form has no part named 'file'.",
    "unauthenticated": "Send a key in the header 'Authorization: Bearer KEY'.",
    "forbidden": "This key reads analyses; it neither sends nor removes any.",
    "not_found": "There is no such analysis.",
    "method_not_allowed": "PUT is not possible here; GET, DELETE is.",
    "not_finished": "The analysis is running; its figures and tables come when it has succeeded.",
    "name_taken": "The study has another file of this name: send a file_name of its own, or remove "
    "the other one first.",
    "corrupt_archive": "The ZIP archive is damaged.",
    "idempotency_conflict": "This Idempotency-Key came with another recording or other options "
    "before. Give each request a key of its own.",
    "too_large": "The recording is larger than the 1,073,741,824 bytes accepted here.",
    "not_dicom": "The file is not a DICOM file.",
    "unsupported_media_type": "Send the file as the part 'file' of multipart/form-data, or as the "
    "body itself with 'Content-Type: application/dicom' (curl's --data-binary sends another type "
    "unless told).",
    "invalid_option": "Option body_mass_g: input should be greater than 0.",
    "no_pixel_data": "The file holds no image.",
    "no_m_mode_region": "No region of the image is marked as M-mode.",
    "no_calibration": "The M-mode region does not say how long a column lasts.",
    "unsupported_transfer_syntax": "The image is encoded in a way that is not read here.",
    "corrupt_pixel_data": "The image data ends before the last screen.",
    "sweep_not_ordered": "The screens do not scroll: a bar overwrites them from left to right, and "
    "too much between them is missing to put them in order.",
    "too_short": "The recording holds 0.21 s of M-mode; at least 0.3 s are needed.",
    "queue_full": "Too many analyses are waiting; try again in a moment.",
    "internal_error": "Something broke that is not your fault. Give the request_id to whoever "
    "runs the service.",
    "not_ready": "The service is stopping or not ready yet; try again in a moment.",
    "time_limit": "The analysis took longer than the 600 seconds it may take.",
    "storage_full": "There is no room left; what was there is kept.",
}
"""A detail for every code of the catalogue of problems."""
