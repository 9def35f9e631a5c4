"""Prompts are encoded once: their conditions are kept on disk, and the encoders, often the largest part of a model, are
loaded only for prompts that are new and leave memory again.

An entry is named by all that decides it: the encoders' files, their precision, the family and the prompt.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.files import write_bytes
from sds3d.priors.adapters import Change
from sds3d.priors.base import Cond
from sds3d.priors.families.base import Family, TextEncoder
from sds3d.priors.folder import Part, load_parts, read_configs

FORMAT = "2"
LIMIT = 1 << 30  # bytes of all entries together; a T5 prompt takes 8 MB
WHOLE, HEAD = 1 << 22, 1 << 16  # bytes: files up to WHOLE count by content, larger ones by size, time and HEAD
ROOM = 1.2  # free memory that encoding takes, times the encoders' size


Entry = tuple[Cond, tuple[str, ...]]  # and what the encoder said of the prompt


class StoredTexts:
    """Prompts -> conditions, one each, on the CPU: from disk, else from `load()`'s encoder, which is dropped again."""

    def __init__(self, key: str, load: Callable[[], TextEncoder], folder: Path | None = None) -> None:
        self.key, self.load, self.folder = key, load, folder or cache_folder() / "text"

    def __call__(self, prompts: Sequence[str]) -> list[Cond]:
        """Every prompt is encoded alone, so that its states never depend on the others. What the encoder has to say of
        a prompt (it is too long) is said for stored ones too."""
        found = {prompt: self.read(prompt) for prompt in prompts}
        missing = [prompt for prompt, entry in found.items() if entry is None]
        if missing:
            encode = self.load()
            made = {prompt: _listening(encode, prompt) for prompt in missing}
            del encode
            give_back_memory()
            self.write(made)
            found |= made
        entries = [entry for prompt in prompts if (entry := found[prompt]) is not None]
        for remark in dict.fromkeys(remark for _, remarks in entries for remark in remarks):
            warnings.warn(remark, stacklevel=3)
        return [cond for cond, _ in entries]

    def path(self, prompt: str) -> Path:
        name = hashlib.blake2b(f"{FORMAT}\0{self.key}\0{prompt}".encode(errors="surrogatepass"), digest_size=16)
        return self.folder / f"{name.hexdigest()}.safetensors"

    def read(self, prompt: str) -> Entry | None:
        """The stored condition; None if there is none or it is damaged."""
        from safetensors import SafetensorError, safe_open

        path = self.path(prompt)
        try:
            with safe_open(str(path), framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                header = file.metadata() or {}
            if header.get("digest") != digest(tensors):
                return None
            entry = Cond(**tensors), tuple(json.loads(header["remarks"]))
        except (SafetensorError, OSError, TypeError, ValueError, KeyError):
            return None
        with suppress(OSError):
            os.utime(path)  # the least recently used go first
        return entry

    def write(self, entries: Mapping[str, Entry]) -> None:
        """Store the conditions; where that cannot be done, a warning and nothing more."""
        from safetensors.torch import save

        try:
            for prompt, (cond, remarks) in entries.items():
                tensors = {name: value.contiguous() for name, value in vars(cond).items() if value is not None}
                header = {"digest": digest(tensors), "remarks": json.dumps(remarks)}
                write_bytes(self.path(prompt), save(tensors, header))
        except UserError as error:
            warnings.warn(f"prompts are encoded anew each time: {error}", stacklevel=3)
        trim(self.folder)


def _listening(encode: TextEncoder, prompt: str) -> Entry:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cond = encode([prompt]).to("cpu")
    return cond, tuple(str(warning.message) for warning in caught if issubclass(warning.category, UserWarning))


def of_folder(
    folder: Path,
    parts: Iterable[Part],
    family: Family,
    dtypes: Mapping[str, torch.dtype],
    device: torch.device,
    changes: Sequence[Change] = (),
) -> tuple[StoredTexts, frozenset[str]] | None:
    """The texts of a model folder, and the names of the parts that need not be loaded for anything else.

    None where there is no tokenizer in the folder: such an encoder comes from elsewhere and stays in memory.
    """
    mine = [part for part in parts if part.name.startswith(("text_encoder", "tokenizer"))]
    if not any(part.name.startswith("tokenizer") for part in mine):
        return None

    def load() -> TextEncoder:
        size = sum(part.parameters * (dtypes.get(part.name) or torch.float32).itemsize for part in mine)
        where = device if has_room(device, size) else torch.device("cpu")
        chosen = {
            part.name: on_cpu(dtypes.get(part.name)) if where != device else dtypes.get(part.name) for part in mine
        }
        components = load_parts(folder, mine, chosen)
        for change in changes:
            change.apply(components)
        return family.encode_text(components | read_configs(folder), where)

    settings = [family.name, json.dumps(read_configs(folder)["index"]), *(str(dtypes.get(p.name)) for p in mine)]
    settings += [change.identity for change in changes if change.parts & {part.name for part in mine}]
    if folder.is_file():
        settings.append(identity(folder).hex())
    key = fingerprint(settings, [part.folder for part in mine], device)
    return StoredTexts(key, load), frozenset(part.name for part in mine)


def fingerprint(settings: Iterable[str], folders: Iterable[Path], device: torch.device) -> str:
    """Hex digits of what decides the states of a prompt, but for the prompt itself."""
    versions = [metadata.version(name) for name in ("torch", "transformers")]
    total = hashlib.blake2b("\0".join([*settings, device.type, *versions]).encode(), digest_size=16)
    for folder in folders:
        for file in sorted(folder.iterdir()):
            if file.is_file():
                total.update(f"\0{folder.name}/{file.name}\0".encode() + identity(file))
    return total.hexdigest()


def identity(file: Path) -> bytes:
    """Of a small file its content; of a large one its size, its time and its beginning."""
    status = file.stat()
    with open(file, "rb") as opened:
        if status.st_size <= WHOLE:
            return hashlib.blake2b(opened.read(), digest_size=16).digest()
        head = hashlib.blake2b(opened.read(HEAD), digest_size=16).digest()
    return head + f"{status.st_size} {status.st_mtime_ns}".encode()


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Of names, types, shapes and values."""
    total = hashlib.blake2b(digest_size=16)
    for name, value in sorted(tensors.items()):
        total.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        total.update(value.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def trim(folder: Path, limit: int | None = None) -> None:
    """Delete the entries that were not used for longest until the rest fits."""
    with suppress(OSError):
        entries = sorted((file.stat().st_mtime, file.stat().st_size, file) for file in folder.glob("*.safetensors"))
        over = sum(size for _, size, _ in entries) - (LIMIT if limit is None else limit)
        for _, size, file in entries:
            if over <= 0:
                return
            file.unlink(missing_ok=True)
            over -= size


def cache_folder() -> Path:
    """SDS3D_CACHE, else sds3d in XDG_CACHE_HOME, else ~/.cache/sds3d."""
    if own := os.environ.get("SDS3D_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "sds3d"


def has_room(device: torch.device, size: int) -> bool:
    """Whether a GPU has free memory for encoders of `size` bytes beside what is already there."""
    return device.type != "cuda" or torch.cuda.mem_get_info(device)[0] > ROOM * size


def on_cpu(dtype: torch.dtype | None) -> torch.dtype | None:
    """A precision that processors compute in, no larger in memory."""
    return torch.bfloat16 if dtype == torch.float16 else dtype


def give_back_memory() -> None:
    """What nobody holds any more goes back to the system."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
