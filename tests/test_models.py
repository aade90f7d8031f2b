"""Models by name, their prompts, and token ids to text with exact offsets."""

from __future__ import annotations

import json
import multiprocessing

import numpy as np
import pytest

from rltrain import builtin_models, models
from rltrain.tokenizers import TokenText, character_starts

TEXTS = (
    "",
    "The answer is 42.\n\nLet me check: 6 * 7 = 42.",
    "naïve café, Straße, Ελλάδα, русский, עברית",
    "漢字かな交じり文、中文字符。한국어",
    "emoji 😀 family 👩‍👩‍👧‍👦 flag 🇫🇷 tone 👍🏽",
    "tabs\tand   spaces , punctuation . don't !",
)


@pytest.fixture(scope="module", params=["tiny", "smollm2-135m"])
def tokenizer(request):
    if request.param == "tiny":
        return models.load_tokenizer("tiny")
    # The tokenizer alone comes out of the GGUF file in seconds; converting the weights takes half a minute.
    from transformers import AutoTokenizer

    gguf_file = builtin_models.smollm2_gguf()
    return AutoTokenizer.from_pretrained(gguf_file.parent, gguf_file=gguf_file.name)


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "rltrain"


def check_against_decode(tokenizer, decode, ids):
    text, offsets = decode(ids)
    assert text == tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert offsets.dtype == np.int32 and offsets.shape == (len(ids),)
    assert (np.diff(offsets, prepend=0) >= 0).all() and (not len(ids) or offsets[-1] == len(text))
    return text, offsets


# --- token ids to text ---------------------------------------------------------------------------


@pytest.mark.parametrize("text", TEXTS)
def test_real_text_survives_with_offsets(tokenizer, text):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert check_against_decode(tokenizer, TokenText(tokenizer), np.array(ids, dtype=np.int32))[0] == text


def test_random_ids_decode_as_the_tokenizer_does(tokenizer):
    random, decode = np.random.default_rng(0), TokenText(tokenizer)
    for _ in range(500):
        # Five ids past the vocabulary: a model's output head may be padded.
        check_against_decode(tokenizer, decode, random.integers(0, len(tokenizer) + 5, random.integers(0, 60)).tolist())


def test_each_offset_counts_the_characters_complete_so_far(tokenizer):
    decode = TokenText(tokenizer)
    ids = tokenizer("".join(TEXTS), add_special_tokens=False)["input_ids"]
    _, offsets = decode(ids)
    table = [len(decode(ids[: i + 1])[0].rstrip("\N{REPLACEMENT CHARACTER}")) for i in range(len(ids))]
    assert offsets.tolist() == table


def test_the_token_that_completes_a_character_carries_it():
    tokenizer = models.load_tokenizer("tiny")
    end = tokenizer.eos_token_id
    text, offsets = TokenText(tokenizer)([*b"a", *"é".encode(), *"😀".encode(), end])
    assert text == "aé😀" and offsets.tolist() == [1, 1, 2, 2, 2, 2, 3, 3]
    text, offsets = TokenText(tokenizer)([0xE2, 0x82, ord("x"), 0x80, 0xF0])  # torn, stray, torn at the end
    assert text == "\ufffdx\ufffd\ufffd" and offsets.tolist() == [0, 1, 2, 3, 4]


def test_character_starts_agree_with_python_on_random_bytes():
    random = np.random.default_rng(1)
    interesting = np.array([*range(0x7E, 0x82), *range(0x8E, 0x92), *range(0x9E, 0xA2), 0xBF, *range(0xC0, 0x100)])
    for _ in range(3000):
        data = random.choice(interesting, random.integers(0, 12)).astype(np.uint8)
        assert character_starts(data).sum() == len(data.tobytes().decode("utf-8", errors="replace")), data.tobytes()


def test_sentencepiece_style_tokenizers_take_the_general_path():
    from tokenizers import Tokenizer, decoders
    from tokenizers import models as backends
    from transformers import PreTrainedTokenizerFast

    pieces = ["<s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁the", "▁sea", "s", "▁", "é", "."]
    backend = Tokenizer(backends.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[], byte_fallback=True))
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens(["<s>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>")
    decode = TokenText(tokenizer)
    the, sea, letter_s = (pieces.index(piece) for piece in ("▁the", "▁sea", "s"))
    smile = [1 + byte for byte in "😀".encode()]
    text, offsets = check_against_decode(tokenizer, decode, [0, the, sea, letter_s, *smile, the])
    assert text == "the seas😀 the" and offsets.tolist() == [0, 3, 7, 8, 8, 8, 8, 9, 13]
    random = np.random.default_rng(2)
    for _ in range(200):
        check_against_decode(tokenizer, decode, random.integers(0, len(pieces), random.integers(0, 30)).tolist())


# --- prompts -------------------------------------------------------------------------------------

QUESTION = ({"role": "user", "content": "2 {system} 3?"},)


def test_a_chat_prompt_ends_where_the_answer_begins(tokenizer):
    text = tokenizer.decode(models.render(tokenizer, QUESTION, system="Be brief.", template=None))
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n2 {system} 3?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_tasks_own_system_message_comes_first():
    tokenizer = models.load_tokenizer("tiny")
    messages = ({"role": "system", "content": "mine"}, *QUESTION)
    assert models.render(tokenizer, messages, system="config") == models.render(tokenizer, messages)


def test_a_template_is_filled_once():
    tokenizer = models.load_tokenizer("tiny")
    ids = models.render(tokenizer, QUESTION, system="S", template="{system}\nQ: {prompt}\nA:")
    assert tokenizer.decode(ids) == "S\nQ: 2 {system} 3?\nA:"


@pytest.mark.parametrize(
    ("system", "template", "message"),
    [(None, "Q: prompt", "no {prompt}"), ("S", "Q: {prompt}", "no {system}"), (None, None, "model.prompt_template")],
)
def test_a_prompt_that_cannot_be_written_says_why(system, template, message):
    tokenizer = builtin_models.byte_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match=message):
        models.render(tokenizer, QUESTION, system=system, template=template)


def test_a_chat_template_that_refuses_a_role_says_so():
    tokenizer = builtin_models.byte_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('System role not supported') }}"
    with pytest.raises(ValueError, match=r"\['system', 'user'\]: System role not supported"):
        models.render(tokenizer, QUESTION, system="S")


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "tied"), [("tiny", True), ("tiny-untied", False)])
def test_tiny_models_load_and_their_facts_are_theirs(name, tied):
    model, facts = models.load_model(name), models.memory_facts(name)
    assert (model.lm_head.weight is model.model.embed_tokens.weight) is tied
    assert facts == {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "hidden": 64,
        "layers": 2,
        "vocab": 259,
        "kv_width": 32,
        "positions": 4096,
        "tied": tied,
        "reason": None,
    }
    assert models.load_model(name, "bfloat16").lm_head.weight.dtype.itemsize == 2
    assert model.generation_config.eos_token_id == models.load_tokenizer(name).eos_token_id


def test_tiny_is_the_same_model_everywhere(own_cache):
    import torch

    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = models.locate("tiny") / "model.safetensors"
    assert torch.equal(before, torch.random.get_rng_state())
    content = first.read_bytes()
    first.write_bytes(content[:-1])  # a damaged file is noticed and the model built again
    assert (models.locate("tiny") / "model.safetensors").read_bytes() == content


def test_facts_of_smollm2_need_no_conversion(own_cache):
    assert models.memory_facts("smollm2-135m") == {
        "parameters": 134_515_008,
        "hidden": 576,
        "layers": 30,
        "vocab": 49_152,
        "kv_width": 192,
        "positions": 8192,
        "tied": True,
        "reason": None,
    }
    assert not own_cache.exists()


def test_facts_of_a_model_that_was_never_downloaded():
    facts = models.memory_facts("nobody/nothing")
    assert facts["parameters"] is None and "not downloaded" in facts["reason"]


def test_what_is_no_model_says_what_it_is(tmp_path):
    with pytest.raises(ValueError, match=r"no config\.json"):
        models.locate(str(tmp_path))
    (tmp_path / "adapter_config.json").touch()
    with pytest.raises(ValueError, match="it is an adapter"):
        models.locate(str(tmp_path))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="it looks like a run"):
        models.locate(str(tmp_path))
    with pytest.raises(ValueError, match="holds no tokenizer"):
        models.load_tokenizer(str(tmp_path / "model"))
    assert models.memory_facts(str(tmp_path / "model"))["reason"].endswith("holds no safetensors files to count")


@pytest.mark.parametrize("path", ["", "./nowhere", "a/b/c", "a--b/c", "../x"])
def test_names_that_cannot_be_a_model(path):
    with pytest.raises(ValueError, match="no such directory, and not a hub id"):
        models.locate(path)


def test_a_name_that_is_nearly_one_that_is_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert models.locate("gpt2") == "gpt2"  # of the hub's early days, without an owner
    (tmp_path / "gpt2-mine").mkdir()
    (tmp_path / "gpt2-mine" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"did you mean 'gpt2-mine'.*smollm2-135m.*owner/name"):
        models.locate("gpt2-min")
    with pytest.raises(ValueError, match=f"no such directory.*Did you mean '{tmp_path}/gpt2-mine'"):
        models.locate(f"{tmp_path}/gpt2_mine")
    assert "a model that is here: smollm2-135m" in models.memory_facts("somebody/smollm2-135")["reason"]


@pytest.mark.parametrize(
    ("text", "told"), [("{", "config.json is no JSON"), ("[]", r"holds \[\], expected what"), ("\udcff", "is no JSON")]
)
def test_a_config_that_is_none_is_told_with_its_file(tmp_path, text, told):
    (tmp_path / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=told):
        models.memory_facts(str(tmp_path))


def test_a_hub_id_is_passed_on_and_its_absence_explained(monkeypatch):
    from huggingface_hub import HfApi

    assert models.locate("nobody/smolm2-135m") == "nobody/smolm2-135m"

    def unreachable(*_args, **_kwargs):
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(HfApi, "model_info", unreachable)
    with pytest.raises(ValueError, match=r"could not be fetched .*not known.* mean 'smollm2-135m'\?.*tiny-untied"):
        models.load_model("nobody/smolm2-135m")


# --- the cache -----------------------------------------------------------------------------------


def build_counted(root, barrier):
    def write(directory):
        (directory / "config.json").write_text("{}")
        with (root / "built").open("a") as log:
            log.write("x")

    barrier.wait()
    builtin_models.cached("demo", "source 1", write)


def test_two_processes_build_a_model_once(own_cache, tmp_path):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    workers = [context.Process(target=build_counted, args=(tmp_path, barrier)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert (tmp_path / "built").read_text() == "x"


def test_a_killed_build_leaves_nothing_behind_and_a_new_source_replaces_the_old(own_cache):
    (own_cache / ".demo.partial").mkdir(parents=True)
    (own_cache / ".demo.partial" / "rubbish").touch()
    first = builtin_models.cached("demo", "source 1", lambda d: (d / "config.json").write_text("1"))
    assert sorted(file.name for file in first.iterdir()) == ["config.json", builtin_models.MARKER]
    second = builtin_models.cached("demo", "source 2", lambda d: (d / "config.json").write_text("2"))
    assert (second / "config.json").read_text() == "2"
    assert json.loads((second / builtin_models.MARKER).read_text())["source"] == "source 2"
    assert not (own_cache / ".demo.partial").exists()


@pytest.mark.parametrize("marker", ["", "{}", "[]"], ids=["blank", "without files", "a list"])
def test_a_damaged_marker_is_that_of_no_whole_model(own_cache, marker):
    made = builtin_models.cached("demo", "source 1", lambda d: (d / "config.json").write_text("1"))
    (made / builtin_models.MARKER).write_text(marker)
    builtin_models.cached("demo", "source 1", lambda d: (d / "config.json").write_text("again"))
    assert (made / "config.json").read_text() == "again"


def test_a_whole_model_in_a_cache_of_others_is_taken_as_it_is(own_cache):
    made = builtin_models.cached("demo", "source 1", lambda d: (d / "config.json").write_text("1"))
    (own_cache / ".demo.lock").unlink()
    (own_cache / ".demo.lock").mkdir()  # cannot be opened for writing, by root neither
    assert builtin_models.cached("demo", "source 1", lambda d: pytest.fail("built again")) == made


def test_a_cache_that_cannot_be_written_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ValueError, match="set XDG_CACHE_HOME"):
        models.locate("tiny")
