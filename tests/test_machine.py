import subprocess
import sys

import pytest

from geoscan import machine


def test_small_chips_make_larger_batches_and_gpus_much_larger_ones(monkeypatch):
    monkeypatch.setattr(machine, "may_have_gpu", lambda: True)
    assert machine.batch_of(256, "openvino") == 16
    assert machine.batch_of(48, "openvino") == 455
    assert machine.batch_of(1000, "openvino") == 16
    assert machine.batch_of(256, "tensorflow") == 256
    monkeypatch.setattr(machine, "may_have_gpu", lambda: False)
    assert machine.batch_of(256, "tensorflow") == 16


def test_the_flags_of_the_cpu_tell_whether_it_multiplies_bfloat16(tmp_path, monkeypatch):
    told = tmp_path / "cpuinfo"
    monkeypatch.setattr(machine, "_CPU", told)
    assert not machine.multiplies_bfloat16()
    for flags, wanted in (
        ("fma avx512f avx512_bf16 pku", True),
        ("avx512f amx_bf16 amx_tile", True),
        ("fma avx2 avx512f avx512_vnni", False),
        ("avx512_bf16x", False),
    ):
        told.write_text(f"processor\t: 0\nflags\t\t: {flags}\n\nprocessor\t: 1\nflags\t\t: {flags}\n")
        assert machine.multiplies_bfloat16() == wanted, flags


ASK = "from geoscan.machine import peak_rss_mb; print(peak_rss_mb())"


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells of a process")
def test_the_peak_of_memory_is_that_of_this_process_and_not_of_the_one_that_started_it():
    large = bytearray(600 * 2**20)
    large[::4096] = b"x" * len(large[::4096])
    assert machine.peak_rss_mb() > 600
    told = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True).stdout
    assert 5 < float(told) < 200
