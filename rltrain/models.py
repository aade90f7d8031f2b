"""The policy by name: where it is, how big it is, how its prompts are written, and loading it.

A name is a short name (`smollm2-135m`, `tiny`, `tiny-untied`), a local directory or a hub id.
Nothing here imports torch or transformers before it needs them.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rltrain.builtin_models import (
    MARKER,
    SHORT_NAMES,
    SMOLLM2,
    build,
    cache_root,
    no_progress_bars,
    smollm2_facts,
    smollm2_gguf,
)
from rltrain.types import Message

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

HUB_TIMEOUT_S = 10.0  # for asking whether a model exists; the hub's own client retries for a minute
LIKELY, SURE = 0.5, 0.75  # how alike a name is (difflib) to one that may be meant, and to one that is


def locate(path: str) -> Path | str:
    """The directory of a short name or local model, or the hub id as it was given.

    A short name is built on first use. ValueError when a directory is missing or is no model, or when
    the name cannot be a hub id either.
    """
    if path in SHORT_NAMES:
        return build(path)
    directory = Path(path).expanduser()
    if path and directory.is_dir():
        _expect_model(directory)
        return directory.resolve()
    if re.fullmatch(r"(?!\.|.*(--|\.\.))[\w.-]+(/[\w.-]+)?", path):
        if "/" not in path and (near := _near(path, SURE)) and _downloaded(path) is None:
            raise ValueError(
                f"model {path!r}: no built-in name and no directory here; did you mean {near!r}? Names that need no "
                f"download: {', '.join(SHORT_NAMES)}; a model of the Hugging Face hub is given as owner/name"
            )
        return path
    raise ValueError(f"model {path!r}: no such directory, and not a hub id (owner/name). {_names(path)}")


def on_disk(path: str) -> Path | None:
    """The model's directory if it is here already; None if it would have to be built or fetched first."""
    if path == SMOLLM2 and not (cache_root() / SMOLLM2 / MARKER).is_file():
        smollm2_gguf()  # ValueError when what it is built from is missing
        return None
    place = locate(path)
    return place if isinstance(place, Path) else _downloaded(place)


def load_model(path: str, dtype: str = "float32") -> PreTrainedModel:
    """The causal language model with its weights in `dtype`. ValueError when it cannot be had."""
    import torch
    from transformers import AutoModelForCausalLM

    with no_progress_bars():
        return AutoModelForCausalLM.from_pretrained(_reachable(path), dtype=getattr(torch, dtype))


def load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """The tokenizer; the padding token is the end-of-sequence token where it has none of its own."""
    from transformers import AutoTokenizer

    place = _reachable(path)
    if isinstance(place, Path) and not any(place.glob("tokenizer*")):
        raise ValueError(f"model {path!r}: {place} holds no tokenizer (tokenizer.json); copy the base model's there")
    try:
        tokenizer = AutoTokenizer.from_pretrained(place)
    except Exception as error:  # the tokenizers library raises nothing more special
        cause = (str(error).strip() or "no reason given").splitlines()[0]
        raise ValueError(
            f"model {path!r}: its tokenizer cannot be read ({type(error).__name__}: {cause}); copy or download it again"
        ) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def memory_facts(path: str) -> dict[str, Any]:
    """Sizes without loading weights, and `reason`.

    parameters; hidden, layers, vocab; kv_width (keys of one token and layer: key-value heads x head size);
    positions (the longest sequence); tied (input and output embeddings). `reason` is None, or says why
    some of the others are None (a hub id that was never downloaded, ...).
    """
    if path == SMOLLM2 and not (cache_root() / SMOLLM2 / MARKER).is_file():
        return smollm2_facts() | {"reason": None}
    place = locate(path)
    if isinstance(place, str):
        place = _downloaded(place)
    if place is None:
        unknown = dict.fromkeys(("parameters", "hidden", "layers", "vocab", "kv_width", "positions", "tied"))
        near = _near(path, LIKELY)
        hint = f"; a model that is here: {near}" if near else ""
        return unknown | {"reason": f"{path} is not downloaded yet{hint}"}
    config = _settings(place)
    text = config.get("text_config") or config  # models that also see keep the language part's sizes apart
    parameters = _count_parameters(place)
    return {
        "parameters": parameters,
        "hidden": text.get("hidden_size"),
        "layers": text.get("num_hidden_layers"),
        "vocab": text.get("vocab_size"),
        "kv_width": _kv_width(text),
        "positions": text.get("max_position_embeddings"),
        "tied": config.get("tie_word_embeddings", text.get("tie_word_embeddings")),
        "reason": None if parameters is not None else f"{place} holds no safetensors files to count",
    }


def render(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    *,
    system: str | None = None,
    template: str | None = None,
) -> list[int]:
    """Prompt token ids, up to where the answer begins: the one rendering that engine and trainer share.

    With `template` (base models) its `{prompt}` and `{system}` are filled in; without, the tokenizer's
    chat template is applied. A system message of the task's own comes before `system`.
    """
    messages = [dict(message) for message in messages]
    if system is not None and not any(message["role"] == "system" for message in messages):
        messages.insert(0, {"role": "system", "content": system})
    if template is not None:
        return tokenizer(fill(template, messages))["input_ids"]
    if not tokenizer.chat_template:
        raise ValueError(
            "model: its tokenizer has no chat template, so a prompt cannot be written; it seems to be a base model: "
            'set model.prompt_template, for example "Question: {prompt}\\nAnswer:"'
        )
    from jinja2 import TemplateError

    try:
        return tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    except TemplateError as error:
        raise ValueError(
            f"model: its chat template refuses roles {[m['role'] for m in messages]}: {error}; "
            "change the prompt or model.system, or set model.prompt_template"
        ) from error


def fill(template: str, messages: Sequence[Message]) -> str:
    """A prompt template with `{prompt}` (the messages, a blank line between) and `{system}` replaced, once."""
    system = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
    prompt = "\n\n".join(m["content"] for m in messages if m["role"] != "system")
    if "{prompt}" not in template:
        raise ValueError(f"model.prompt_template: {template!r} has no {{prompt}}, so every prompt would be the same")
    if system and "{system}" not in template:
        raise ValueError(f"model.prompt_template: {template!r} has no {{system}}, but there is a system message")
    return re.sub(r"\{(prompt|system)\}", lambda hit: prompt if hit[1] == "prompt" else system, template)


def stored_shapes(directory: Path) -> dict[str, list[int]]:
    """Name -> shape of the tensors that `from_pretrained` will read; of files other than safetensors, nothing.

    ValueError unless they are here, every shard of them, none cut short.
    """
    name, again = str(directory), "copy or download it again, or give what save_pretrained wrote"
    single, index = directory / "model.safetensors", directory / "model.safetensors.index.json"
    if single.is_file():
        files = [single]
    elif index.is_file():
        shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        files = [directory / shard for shard in sorted(set(shards))]
    elif any(directory.glob("pytorch_model*.bin")):
        return {}
    else:
        raise ValueError(f"model {name!r}: no weights in it (model.safetensors); {again}")
    shapes: dict[str, list[int]] = {}
    for file in files:
        if not file.is_file():
            raise ValueError(f"model {name!r}: no {file.name}, which {index.name} names; {again}")
        length, header = _header(file)
        header.pop("__metadata__", None)
        ends = [tensor["data_offsets"][1] for tensor in header.values()]
        if (size := file.stat().st_size) < 8 + length + max(ends, default=0):
            raise ValueError(f"model {name!r}: {file.name} is cut short at {size:,} bytes; {again}")
        shapes |= {key: tensor["shape"] for key, tensor in header.items()}
    return shapes


# --- where a model is ----------------------------------------------------------------------------


def _expect_model(directory: Path) -> None:
    """ValueError unless the directory holds a model; points to the model that was probably meant."""
    if (directory / "config.json").is_file():
        return
    if (directory / "model" / "config.json").is_file():
        hint = f"it looks like a run, whose model is {directory / 'model'}"
    elif (directory / "adapter_config.json").is_file():
        hint = "it is an adapter; give the merged model, or the base model and train another adapter"
    else:
        hint = "expected a directory written by save_pretrained (config.json, *.safetensors, tokenizer.json)"
    raise ValueError(f"model {str(directory)!r}: no config.json in it; {hint}")


def _settings(place: Path) -> dict[str, Any]:
    """What a model's config.json says. ValueError where it cannot be read."""
    try:
        found = json.loads((place / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:  # bad UTF-8 too
        raise ValueError(
            f"model {str(place)!r}: config.json is no JSON ({error}); copy or download it again"
        ) from error
    if not isinstance(found, dict):
        raise ValueError(f"model {str(place)!r}: config.json holds {found!r}, expected what save_pretrained writes")
    return found


def _reachable(path: str) -> Path | str:
    """`locate`, and for a hub id that is not downloaded one quick question to the hub whether it can be."""
    place = locate(path)
    if isinstance(place, Path) or _downloaded(place):
        return place
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # its HTTP client's error, whichever that is

    try:
        HfApi().model_info(place, timeout=HUB_TIMEOUT_S)
    except (HTTPError, OSError) as error:
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"model {path!r}: no local directory, and it could not be fetched from the Hugging Face hub ({cause}). "
            + _names(path)
        ) from error
    return place


def _downloaded(hub_id: str) -> Path | None:
    """The hub cache's directory of a model, if its config is there."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(hub_id, "config.json")
    return Path(config).parent if isinstance(config, str) else None


def _names(path: str) -> str:
    near = _near(path, LIKELY)
    return (f"Did you mean {near!r}? " if near else "") + f"Names that need no download: {', '.join(SHORT_NAMES)}"


def _near(path: str, alike: float) -> str | None:
    """The built-in name, or the model in a directory beside, that was probably meant."""
    asked = Path(path).expanduser()
    readable = asked.parent.is_dir() and os.access(asked.parent, os.R_OK | os.X_OK)
    beside = list(asked.parent.iterdir()) if readable else []
    known = {one.name.lower(): str(one) for one in beside if os.path.isfile(one / "config.json")}
    known |= {name: name for name in SHORT_NAMES}
    found = difflib.get_close_matches(asked.name.lower(), known, n=1, cutoff=alike)
    return known[found[0]] if found else None


def _kv_width(config: dict[str, Any]) -> int | None:
    """Key-value heads x head size of a transformers config, where it says them."""
    heads, hidden = config.get("num_attention_heads"), config.get("hidden_size")
    if not heads or not hidden:
        return None
    return (config.get("num_key_value_heads") or heads) * (config.get("head_dim") or hidden // heads)


def _count_parameters(directory: Path) -> int | None:
    """Elements of all tensors, from the safetensors headers (8 bytes of length, then JSON)."""
    count = 0
    for file in (files := sorted(directory.glob("*.safetensors"))):
        _, header = _header(file)
        count += sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    return count if files else None


def _header(file: Path) -> tuple[int, dict[str, Any]]:
    """What a safetensors file says of its tensors, and in how many bytes. ValueError where it cannot be read."""
    with file.open("rb") as stream:
        try:
            (length,) = struct.unpack("<Q", stream.read(8))
            return length, json.loads(stream.read(length))
        except (struct.error, ValueError, OverflowError, MemoryError) as error:
            raise ValueError(f"{file} is no whole safetensors file ({error}); copy or download it again") from error
