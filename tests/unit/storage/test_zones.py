"""The lock of the sensitive zone, between real processes."""

import signal
import subprocess
import sys
from pathlib import Path

from ctdc_pipeline.storage.zones import Zones

HOLD = """
import sys
from pathlib import Path
from ctdc_pipeline.storage.zones import Zones
with Zones(Path(sys.argv[1])).alone():
    print("in", flush=True)
    {inside}
print("out", flush=True)
"""
COUNT = """
    path = Path(sys.argv[1]) / "number"
    for _ in range(20):
        number = int(path.read_text())
        time.sleep(0.001)
        path.write_text(str(number + 1))
"""


def process(home: Path, inside: str) -> "subprocess.Popen[str]":
    code = "import time\n" + HOLD.replace("    {inside}\n", inside)
    return subprocess.Popen(
        [sys.executable, "-c", code, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_two_processes_write_one_after_the_other(tmp_path: Path) -> None:
    """Two materialisations that read the same state, so that the second undoes the first."""
    Zones(tmp_path).prepare()
    (tmp_path / "number").write_text("0")
    both = [process(tmp_path, COUNT) for _ in range(2)]
    assert [one.wait() for one in both] == [0, 0], [one.communicate()[1] for one in both]
    assert (tmp_path / "number").read_text() == "40"


def test_who_waits_says_so_and_goes_on_when_the_other_is_killed(tmp_path: Path) -> None:
    """A lock that outlives its process would need a person at night; silent waiting looks like a hung run."""
    zones = Zones(tmp_path).prepare()
    holder = process(tmp_path, "    sys.stdin.read()\n")
    assert holder.stdout
    assert holder.stdout.readline() == "in\n"
    (zones.tmp / "spill").mkdir()
    (zones.sensitive / "counts" / ".length_1.parquet.123.part").touch()
    (zones.landing / ".upload.part").touch()
    (zones.sensitive / "counts" / "length_1.parquet").touch()
    waiting = process(tmp_path, "    pass\n")
    assert waiting.stderr
    assert "waiting" in waiting.stderr.readline()
    assert waiting.poll() is None
    holder.send_signal(signal.SIGKILL)
    holder.communicate()

    assert waiting.communicate()[0] == "in\nout\n"
    assert not list(zones.tmp.iterdir())
    assert [path.name for path in (zones.sensitive / "counts").iterdir()] == ["length_1.parquet"]
    assert (zones.landing / ".upload.part").exists(), "what others are uploading is not ours"
