"""Models and assets small enough to be made by the tests: the architectures of the real ones, random weights."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np

_MEAN, _STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def make_clip(folder: Path, seed: int = 0) -> Path:
    """A CLIP of two layers and 512 dimensions, as a folder that open-clip loads."""
    from pgsim.encoders import torch_setup

    torch_setup.prepare(None)
    import torch
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
    from safetensors.torch import save_file

    vision = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32}
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = CLIP(512, CLIPVisionCfg(**vision), CLIPTextCfg(**text))
    folder.mkdir(parents=True)
    settings = {"embed_dim": 512, "vision_cfg": vision, "text_cfg": text}
    document = {"model_cfg": settings, "preprocess_cfg": {"mean": _MEAN, "std": _STD}}
    (folder / "open_clip_config.json").write_text(json.dumps(document))
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    return folder


def make_mpnet(folder: Path, seed: int = 0) -> Path:
    """An MPNet of one layer and 768 dimensions over a vocabulary of letters, as a folder of sentence-transformers."""
    from pgsim.encoders import torch_setup

    torch_setup.prepare(None)
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import MPNetConfig, MPNetModel, MPNetTokenizerFast

    letters = [chr(code) for code in range(33, 127)]
    words = ["<s>", "<pad>", "</s>", "<unk>", "[UNK]", "<mask>", *letters, *(f"##{letter}" for letter in letters)]
    inner = folder.with_name(f"{folder.name}-inner")
    inner.mkdir(parents=True)
    (inner / "vocab.txt").write_text("\n".join(words) + "\n")
    MPNetTokenizerFast(vocab=str(inner / "vocab.txt"), model_max_length=66).save_pretrained(inner)
    config = MPNetConfig(
        vocab_size=len(words),
        hidden_size=768,
        num_hidden_layers=1,
        num_attention_heads=12,
        intermediate_size=64,
        max_position_embeddings=70,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        MPNetModel(config).save_pretrained(inner)
    transformer = Transformer(str(inner), max_seq_length=66)
    SentenceTransformer(modules=[transformer, Pooling(768)]).save(str(folder))
    return folder


def write_image(path: Path, seed: int) -> None:
    """Write a small picture of its own."""
    from PIL import Image

    numbers = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(numbers).resize((40, 30), Image.Resampling.BICUBIC).save(path)


def write_pdf(path: Path) -> None:
    """Write a document of two pages."""
    import pypdfium2

    document = pypdfium2.PdfDocument.new()
    document.new_page(200, 300)
    document.new_page(10, 10)
    buffer = io.BytesIO()
    document.save(buffer)
    path.write_bytes(buffer.getvalue())
