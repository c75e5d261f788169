"""Inputs that are damaged at random, the same for the same number: `python fuzz.py FOLDER FIRST LAST`.

A line of JSON a step: what is about to be opened, then what came of it. A process that dies has begun its last line in
vain, and the clock ends one that hangs. A new kind of input is one more function in `KINDS`.
"""

import json
import re
import signal
import sqlite3
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

SECONDS = 60
"""Of a processor's time that one input may take; and five times as much by the clock, on a machine that others use."""

WORDS = (
    *("-1", "0", "1e309", "NaN", "inf", "1e-300", "99999999999999999999", "2147483647", "4294967295", "65536", "0x7f"),
    *("", " ", "\x00", "\x1b[31m", "\n", "\u202e", "\ud83d\ude00", "%s%n", "{}", "&a;", "<", "]]>", "<!--", '"', "'"),
    *(
        "../../../etc/passwd",
        "/etc/passwd",
        "file:///etc/passwd",
        "/vsicurl/http://127.0.0.1:1/a",
        "/dev/zero",
        "a" * 9999,
    ),
)
VALUES: tuple[Any, ...] = (
    *(None, True, [], {}, [[]], [None], {"a": {}}, -1, 0, 1, 0.5, 10**6, 10**19, 10**400, -1e308, float("nan")),
    *([0] * 999, [1, 2, 3], json.loads("[" * 500 + "]" * 500), *WORDS),
)

Rng = np.random.Generator


def pick(rng: Rng, of: Any) -> Any:
    return of[int(rng.integers(len(of)))]


def bent(rng: Rng, data: bytes, head: int = 600) -> bytes:
    """Cut bytes off, or change a few, mostly of the head."""
    if rng.random() < 0.25:
        return data[: int(rng.integers(len(data)))]
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        end = min(head, len(data)) if rng.random() < 0.8 else len(data)
        at = int(rng.integers(end))
        how = rng.random()
        if how < 0.4:
            changed[at] ^= 1 << int(rng.integers(8))
        elif how < 0.7:
            changed[at : at + 4] = pick(rng, (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4), b"\x00\x00\x01\x00"))
        else:
            changed[at] = int(rng.integers(256))
    return bytes(changed)


def garbled(rng: Rng, text: str) -> str:
    """Change words, numbers and tags of a text in a few places, or cut it off."""
    for _ in range(int(rng.integers(1, 5))):
        at, length = int(rng.integers(len(text) + 1)), int(rng.integers(1, 40))
        how = int(rng.integers(6))
        if how == 0:
            text = text[:at] + pick(rng, WORDS) + text[at:]
        elif how == 1:
            text = text[:at] + text[at + length :]
        elif how == 2:
            text = text[:at] + text[at : at + length] * int(rng.integers(2, 40)) + text[at:]
        elif how == 3:
            ends = [n for n, char in enumerate(text) if char in '>"<,=']
            if len(ends) > 1:
                n = int(rng.integers(len(ends) - 1))
                text = text[: ends[n] + 1] + pick(rng, WORDS) + text[ends[n + 1] :]
        elif how == 4:
            text = text[:at]
        else:
            text = text[:at] + chr(int(rng.integers(0x250))) + text[at + 1 :]
    return text


def warped(rng: Rng, value: Any) -> Any:
    """Put something else in a place or two of what JSON holds."""
    for _ in range(int(rng.integers(1, 3))):
        place = value
        while isinstance(place, dict | list) and place:
            key = pick(rng, list(place) if isinstance(place, dict) else range(len(place)))
            inner = place[key]
            if not isinstance(inner, dict | list) or not inner or rng.random() < 0.2:
                place[key] = pick(rng, VALUES)
                if rng.random() < 0.2:
                    place.pop(key)
                break
            place = inner
    return value


def as_json(rng: Rng, text: str) -> bytes:
    changed = garbled(rng, text) if rng.random() < 0.2 else json.dumps(warped(rng, json.loads(text)))
    return changed.encode(errors="surrogatepass")


# What is opened


def scan(path: Path | str) -> None:
    """Open a scene, look at a corner of it and at it as a whole, and plan its tiles."""
    from geoscan.grid import TileGrid, Window
    from geoscan.scaling import scaling_of
    from geoscan.scene import Scene

    with warnings.catch_warnings(action="ignore"):
        scene = Scene.open(path)
        scene.read(Window(0, 0, min(scene.rows, 64), min(scene.cols, 64)))
        scene.overview(64)
        scaling_of(scene, None, None)
        if max(scene.rows, scene.cols) < 10**6:
            scene.blank(TileGrid(scene.rows, scene.cols, 256, 256))


def tiff(folder: Path, rng: Rng) -> None:
    data = pick(rng, sorted((folder / "tiff").iterdir())).read_bytes()
    (folder / "scene.tif").write_bytes(bent(rng, data, int(rng.choice((16, 200, 600)))))
    scan(folder / "scene.tif")


def vrt(folder: Path, rng: Rng) -> None:
    text = pick(rng, sorted((folder / "vrt").glob("*.vrt"))).read_text()
    (folder / "vrt" / "scene.vrt").write_bytes(garbled(rng, text).encode(errors="replace"))
    try:
        scan(folder / "vrt" / "scene.vrt")
    finally:
        (folder / "vrt" / "scene.vrt").unlink()


def safe(folder: Path, rng: Rng) -> None:
    root = pick(rng, sorted((folder / "safe").iterdir()))
    file = pick(rng, sorted(file for file in root.rglob("*") if file.suffix in (".xml", ".gml", ".jp2")))
    before = file.read_bytes()
    file.write_bytes(
        bent(rng, before) if file.suffix == ".jp2" else garbled(rng, before.decode()).encode(errors="replace")
    )
    try:
        scan(root)
    finally:
        file.write_bytes(before)


def stac(folder: Path, rng: Rng) -> None:
    root = pick(rng, sorted((folder / "stac").iterdir()))
    (root / "bent.json").write_bytes(as_json(rng, (root / "item.json").read_text()))
    scan(root / "bent.json")


def seal(path: Path, text: bytes) -> None:
    """Write the card of a package as if whoever bent it, or another file, had sealed it."""
    from geoscan.model import package as packages

    try:
        facts = json.loads(text)
        facts["digest"] = packages._digest([path / name for name in packages._SEALED], text)
        text = json.dumps(facts).encode()
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass  # what is no card has no digest
    (path / packages.CARD).write_bytes(text)


def network(folder: Path, rng: Rng) -> None:
    from geoscan.model.openvino_runtime import OpenVinoDetector
    from geoscan.model.package import load

    path = folder / "network"
    text = (folder / "network.xml").read_text()
    if rng.random() < 0.5:
        for _ in range(int(rng.integers(1, 4))):
            number = pick(rng, list(re.finditer(r"\d+", text)))
            text = text[: number.start()] + pick(rng, WORDS[:11]) + text[number.end() :]
    else:
        text = garbled(rng, text)
    (path / "network.xml").write_bytes(text.encode(errors="replace"))
    seal(path, (path / "card.json").read_bytes())
    scores = OpenVinoDetector(load(path))(np.zeros((1, 256, 256, 3), np.uint8))
    assert scores.shape == (1, 17)


def card(folder: Path, rng: Rng) -> None:
    from geoscan.cli.streams import spelt
    from geoscan.model import package as packages
    from geoscan.model.card import Card
    from geoscan.model.markdown import card_markdown
    from geoscan.scanning.cost import multiplications

    path = folder / "package"
    text = as_json(rng, pick(rng, sorted((folder / "cards").iterdir())).read_text())
    seal(path, text)
    read = packages.load(path).card
    multiplications(read.spec)
    spelt(card_markdown(read))
    Card.from_json(read.to_json())


def table(folder: Path, rng: Rng) -> None:
    from geoscan.data.kaggle import read_kaggle
    from geoscan.data.mine_chips import read_mine_chips

    if rng.random() < 0.5:
        text = (folder / "index.csv").read_text()
        (folder / "bent.csv").write_bytes(garbled(rng, text).encode(errors="replace"))
        chips: Any = read_mine_chips(folder / "small.zip", folder / "bent.csv")
    else:
        text = (folder / "tags.csv").read_text()
        (folder / "kaggle" / "train_v2.csv").write_bytes(garbled(rng, text).encode(errors="replace"))
        chips = read_kaggle(folder / "kaggle")
    assert len(chips) == len(chips.targets) > 0
    assert chips.fingerprint


def journal(folder: Path, rng: Rng) -> None:
    from geoscan.scanning.journal.rows import seal as row_seal
    from geoscan.scanning.merge import merge_journal
    from geoscan.scanning.options import ScanOptions

    path = folder / "bent.journal"
    path.write_bytes((folder / "scan.journal").read_bytes())
    if rng.random() < 0.5:
        path.write_bytes(bent(rng, path.read_bytes(), 20_000))
    else:  # by somebody who knows how it is sealed
        with closing(sqlite3.connect(path)) as db:
            key, plan = db.execute("SELECT key, plan FROM scan").fetchone()
            plan = as_json(rng, plan.decode())
            db.execute("UPDATE scan SET plan = ?, seal = ?", (plan, row_seal(0, (key, plan))))
            db.commit()
    result, _ = merge_journal(path, ScanOptions(), pointed=False)
    assert len(result.detections) < 100


KINDS: dict[str, Callable[[Path, Rng], None]] = {
    "tiff": tiff,
    "vrt": vrt,
    "safe": safe,
    "stac": stac,
    "card": card,
    "network": network,
    "table": table,
    "journal": journal,
}


def once(folder: Path, number: int) -> str:
    """Open input `number`; tell what came of it: `result`, `error: ` and a line, or a traceback."""
    from geoscan.errors import GeoscanError

    kind = KINDS[list(KINDS)[number % len(KINDS)]]
    try:
        kind(folder, np.random.default_rng(number))
    except GeoscanError as error:
        return f"error: {error}"
    except Exception:
        return traceback.format_exc()
    return "result"


def say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main(folder: Path, first: int, last: int) -> None:
    import logging

    logging.getLogger("geoscan").addHandler(logging.NullHandler())
    for number in range(first, last):
        say(begun=number)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.alarm(5 * SECONDS)
        say(number=number, outcome=once(folder, number))
    signal.alarm(0)
    signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
