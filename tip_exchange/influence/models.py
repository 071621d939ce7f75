"""Model folders: what a buyer publishes and a seller opens without trusting it.

::

    config.json               Hugging Face configuration of an allow-listed architecture
    tokenizer.json            of a text model: the tokenizer, as the ``tokenizers`` library writes it
    columns.json              of a table model, instead: columns, means, deviations, categories
    valuation.json            labels, length, layers and ranks: all a seller needs to compute the buyer's gradients
    projections.safetensors   only with principal projections: a matrix for each checkpoint, layer and side
    base.safetensors          weights shared by every checkpoint
    checkpoint-00.safetensors …   tensors that differ from the base; one file for every checkpoint

Nothing in a folder is executed: no pickle, no Python file, no ``auto_map``. The Hugging Face loaders are not used;
the configuration is handed to the architecture's own class and the tensors are copied in after their names, shapes
and finiteness are checked. Weights may be stored as float16 or float32 and are always used as float32.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from tip_exchange.errors import ModelError
from tip_exchange.influence.architectures import CAUSAL, TABLES, build, configuration, named_architecture
from tip_exchange.influence.columns import Columns
from tip_exchange.influence.layers import layer_widths, linear_layers
from tip_exchange.influence.projection import GivenProjections, Projections, SeededProjections
from tip_exchange.influence.readers import Reader, TableReader, TextReader
from tip_exchange.influence.records import UNLABELLED, Record
from tip_exchange.influence.specification import Valuation

MAX_FOLDER_BYTES = 8 << 30
MAX_JSON_BYTES = 64 << 20
MAX_CHECKPOINTS = 100

_PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz", ".h5", ".msgpack", ".onnx"}
_READERS = (TextReader.FILE, TableReader.FILE)
_BASE = "base.safetensors"
_PROJECTIONS = "projections.safetensors"


@dataclass(frozen=True)
class ModelFolder:
    """A checked model folder. Make one with :meth:`open`."""

    path: Path
    architecture: str
    config: Mapping[str, Any]
    valuation: Valuation
    checkpoints: int
    reader: Reader

    @staticmethod
    def open(path: str | Path) -> ModelFolder:
        """Check every file of a folder and read all but the weights.

        Raises:
            ModelError: the folder holds pickles, Python files, remote code or unexpected files, lacks a file, or its
                files are malformed, too large or of an architecture that is not allowed.
        """
        path = Path(path)
        files = model_files(path)
        contents = {name: _read_json(path / name) for name in files if name.endswith(".json")}
        for name, content in contents.items():
            _refuse_remote_code(content, path / name)
        config = contents["config.json"]
        architecture = named_architecture(config, path / "config.json")
        wanted = TableReader.FILE if architecture in TABLES else TextReader.FILE
        if wanted not in files:
            raise ModelError(f"{path} lacks {wanted}, through which a {architecture} reads records; ask the buyer.")
        valuation = Valuation.from_json(contents["valuation.json"], str(path / "valuation.json"))
        if (architecture in CAUSAL) == bool(valuation.labels):
            wanted = "no labels" if architecture in CAUSAL else "labels"
            raise ModelError(f"{path / 'valuation.json'}: a {architecture} needs {wanted}; ask the buyer.")
        folder = ModelFolder(
            path=path,
            architecture=architecture,
            config=config,
            valuation=valuation,
            checkpoints=sum(name.startswith("checkpoint-") for name in files),
            reader=_reader(path, architecture, config, valuation, contents),
        )
        if (valuation.projection == "principal") != (_PROJECTIONS in files):
            raise ModelError(f"{path} needs {_PROJECTIONS} with principal projections, and only then; ask the buyer.")
        folder._check_weights()
        folder._check_projections()
        folder.reader.check(path)
        return folder

    @property
    def causal(self) -> bool:
        """Whether it is a language model, whose records have no labels."""
        return self.architecture in CAUSAL

    @property
    def vocabulary(self) -> int:
        """Number of tokens the model knows."""
        return int(configuration(self.architecture, self.config).vocab_size)

    def projections(self, seed: bytes, checkpoint: int) -> Projections:
        """The projections of one checkpoint: from an order's seed (32 bytes), or the folder's own."""
        if self.valuation.projection == "principal":
            own = self._tensors(_PROJECTIONS, f"{checkpoint}/")
            matrices = {name: tensor.numpy() for name, tensor in own.items()}
            return GivenProjections(matrices, str(checkpoint))
        return SeededProjections(seed, str(checkpoint), self.valuation.projection)

    def skeleton(self) -> nn.Module:
        """The model without weights, on torch's ``meta`` device: names and shapes only."""
        with torch.device("meta"):
            return build(self.architecture, self.config, len(self.valuation.labels), str(self.path))

    def load_model(self) -> nn.Module:
        """The model at its first checkpoint: float32, evaluation mode, every parameter frozen."""
        model = build(self.architecture, self.config, len(self.valuation.labels), str(self.path))
        copy_tensors(model, self._tensors(_BASE))
        self.apply_checkpoint(model, 0)
        return model.train(False).requires_grad_(False)

    def load_checkpoint(self, index: int) -> nn.Module:
        """A fresh model at checkpoint ``index``: float32, evaluation mode, every parameter frozen."""
        model = self.load_model()
        self.apply_checkpoint(model, index)
        return model

    def apply_checkpoint(self, model: nn.Module, index: int) -> None:
        """Turn a model of this folder into checkpoint ``index``, in place; base tensors are not read again."""
        copy_tensors(model, self.checkpoint_tensors(index))

    def checkpoint_tensors(self, index: int) -> dict[str, Tensor]:
        """What checkpoint ``index`` changes, float32 by parameter name.

        Raises:
            ModelError: there is no such checkpoint, or a tensor holds NaN or infinity.
        """
        if not 0 <= index < self.checkpoints:
            raise ModelError(f"{self.path} has {self.checkpoints} checkpoints; there is no number {index}.")
        return self._tensors(_checkpoint_name(index))

    def unusable(self, record: Record) -> str:
        """Why a counterparty's record is none for this model; "" if it is one."""
        labels = len(self.valuation.labels)
        if record.label != UNLABELLED if self.causal else record.label >= labels:
            wanted = f"below {labels}" if labels else f"{UNLABELLED}, for none"
            return f"label {record.label}, and the model's are {wanted}"
        return self.reader.unusable(record)

    def _tensors(self, name: str, prefix: str = "") -> dict[str, Tensor]:
        """A file's tensors whose names begin with the prefix."""
        tensors: dict[str, Tensor] = {}
        with safe_open(str(self.path / name), framework="pt") as file:
            for key in filter(lambda key: key.startswith(prefix), file.keys()):
                tensor = file.get_tensor(key).float()
                if not bool(torch.isfinite(tensor).all()):
                    raise ModelError(f"{self.path / name}: tensor {key} holds NaN or infinity; ask the buyer.")
                tensors[key] = tensor
        return tensors

    def _check_projections(self) -> None:
        """Names and shapes of the folder's own projections."""
        if self.valuation.projection != "principal":
            return
        skeleton = self.skeleton()
        wanted = {}
        for k in range(self.checkpoints):
            for layer in self.valuation.layers:
                width_in, width_out = layer_widths(skeleton, layer)
                for side, rank, width in (("in", layer.rank_in, width_in), ("out", layer.rank_out, width_out)):
                    if rank is not None:
                        wanted[f"{k}/{layer.name}/{side}"] = (rank, width)
        if (found := _shapes(self.path / _PROJECTIONS)) != wanted:
            name = sorted(found.items() ^ wanted.items())[0][0]
            raise ModelError(
                f"{self.path / _PROJECTIONS}: {name} is missing, unknown or of wrong shape; ask the buyer."
            )

    def _check_weights(self) -> None:
        """Names, shapes and types of all tensors against the architecture, before anything large is allocated."""
        skeleton = self.skeleton()
        wanted = {name: tuple(tensor.shape) for name, tensor in skeleton.state_dict().items()}
        for name in [_BASE, *map(_checkpoint_name, range(self.checkpoints))]:
            where = self.path / name
            shapes = _shapes(where)
            for key, shape in shapes.items():
                if key not in wanted:
                    raise ModelError(f"{where}: the {self.architecture} has no tensor {key}; ask the buyer.")
                if shape != wanted[key]:
                    raise ModelError(f"{where}: tensor {key} has shape {shape}, not {wanted[key]}; ask the buyer.")
            if name == _BASE and (missing := sorted(_untied(skeleton) - shapes.keys())):
                raise ModelError(f"{where} lacks tensor {missing[0]} and {len(missing) - 1} more; ask the buyer.")
        linear = set(linear_layers(skeleton))
        for layer in self.valuation.layers:
            if layer.name not in linear:
                raise ModelError(f"{self.path / 'valuation.json'}: {layer.name!r} is no linear layer of the model.")
            widths = layer_widths(skeleton, layer)
            if any(r is not None and r > w for r, w in zip((layer.rank_in, layer.rank_out), widths, strict=True)):
                raise ModelError(f"{self.path / 'valuation.json'}: a rank of {layer.name!r} exceeds the layer's width.")


def _reader(
    path: Path, architecture: str, config: Mapping[str, Any], valuation: Valuation, contents: Mapping[str, Any]
) -> Reader:
    if architecture in TABLES:
        return TableReader.open(path, config, valuation, contents[TableReader.FILE])
    return TextReader.open(path, architecture, config, valuation)


def model_files(path: str | Path) -> list[str]:
    """Names of a model folder's files in canonical order: JSON, projections if any, the base, the checkpoints.

    Raises:
        ModelError: the path is no folder, a file is missing, or there is one that does not belong.
    """
    path = Path(path)
    if not path.is_dir():
        raise ModelError(f"{path} is not a folder; give the folder that holds config.json and the weights.")
    found = sorted(entry.name for entry in path.iterdir())
    for name in found:
        suffix = Path(name).suffix.lower()
        if suffix in _PICKLES:
            raise ModelError(f"{path / name} may run code when it is loaded; convert the weights to safetensors.")
        if suffix in {".py", ".pyc", ".so", ".dll"}:
            raise ModelError(f"{path / name} is code; a model folder must hold none, so refuse it or remove the file.")
    checkpoints = [name for name in found if name.startswith("checkpoint-")]
    optional = [name for name in (_PROJECTIONS,) if name in found]
    # a table's columns in the tokenizer's place; where both are there, one does not belong
    reader = next((name for name in _READERS if name in found), _READERS[0])
    wanted = [
        "config.json",
        reader,
        "valuation.json",
        *optional,
        _BASE,
        *map(_checkpoint_name, range(max(1, len(checkpoints)))),
    ]
    for name in wanted:
        if name not in found:
            raise ModelError(f"{path} lacks {name}; a model folder needs {', '.join(wanted)}.")
    if len(checkpoints) > MAX_CHECKPOINTS:
        raise ModelError(f"{path} holds {len(checkpoints)} checkpoints; at most {MAX_CHECKPOINTS} are allowed.")
    if extra := [name for name in found if name not in wanted]:
        raise ModelError(f"{path / extra[0]} does not belong in a model folder; remove it.")
    for name in wanted:
        if (path / name).is_symlink() or not (path / name).is_file():
            raise ModelError(f"{path / name} is not a plain file; copy the file itself into the folder.")
    if (total := sum((path / name).stat().st_size for name in wanted)) > MAX_FOLDER_BYTES:
        raise ModelError(f"{path} holds {total} bytes; at most {MAX_FOLDER_BYTES} are allowed.")
    return wanted


def write_model_folder(
    path: str | Path,
    model: nn.Module,
    config: Mapping[str, Any],
    reading: Tokenizer | Columns,
    valuation: Valuation,
    checkpoints: Sequence[Mapping[str, Tensor]],
    projections: Mapping[str, NDArray[np.float32]] | None = None,
) -> ModelFolder:
    """Write a model folder and open it again.

    Args:
        path: a folder that does not exist yet, or is empty.
        model: supplies the base; weights are rounded to float16.
        config: content of ``config.json``, with ``architectures``.
        reading: written as ``tokenizer.json`` or ``columns.json``.
        valuation: written as ``valuation.json``.
        checkpoints: for each checkpoint the tensors that differ from the model's, by name.
        projections: principal directions, see :mod:`tip_exchange.influence.principal`.

    Raises:
        ModelError: the folder is in use, or what was written does not pass :meth:`ModelFolder.open`.
    """
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ModelError(f"{path} is already in use; choose a folder that is empty or does not exist.")
    path.mkdir(parents=True, exist_ok=True)
    settled = {**config, "num_labels": len(valuation.labels)} if valuation.labels else dict(config)
    (path / "config.json").write_text(json.dumps(settled, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    if isinstance(reading, Columns):
        (path / TableReader.FILE).write_text(reading.to_json(), encoding="utf-8")
    else:
        reading.save(str(path / TextReader.FILE), pretty=False)
    (path / "valuation.json").write_text(valuation.to_json(), encoding="utf-8")
    untied = _untied(model)
    contents = {_BASE: model.state_dict(), **{_checkpoint_name(k): tensors for k, tensors in enumerate(checkpoints)}}
    for name, tensors in contents.items():
        save_file(_halved({key: tensor for key, tensor in tensors.items() if key in untied}), path / name)
    if projections is not None:
        save_file({name: torch.from_numpy(matrix.copy()) for name, matrix in projections.items()}, path / _PROJECTIONS)
    return ModelFolder.open(path)


def copy_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors into a model's parameters and buffers by name."""
    model.load_state_dict(dict(tensors), strict=False)


def _untied(model: nn.Module) -> set[str]:
    """Names of a model's own tensors: a head that shares the embeddings' weight is not stored twice."""
    return {name for name, _ in [*model.named_parameters(), *model.named_buffers()]} & model.state_dict().keys()


def _read_json(path: Path) -> dict[str, Any]:
    if (size := path.stat().st_size) > MAX_JSON_BYTES:
        raise ModelError(f"{path} holds {size} bytes; at most {MAX_JSON_BYTES} are allowed.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not valid JSON; ask the buyer for a sound model folder.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} is not a JSON object; ask the buyer for a sound model folder.")
    return content


def _refuse_remote_code(content: Mapping[str, Any], where: Path) -> None:
    for key in ("auto_map", "custom_pipelines", "trust_remote_code"):
        if content.get(key):
            raise ModelError(
                f"{where} asks for remote code ({key}); such models are refused, use a built-in architecture."
            )


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    try:
        with safe_open(str(path), framework="pt") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
            for key, part in slices.items():
                if part.get_dtype() not in {"F16", "F32"}:
                    raise ModelError(f"{path}: tensor {key} is stored as {part.get_dtype()}; use F16 or F32.")
            return {key: tuple(part.get_shape()) for key, part in slices.items()}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is not a sound safetensors file ({error}); ask the buyer.") from error


def _halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to(torch.float16).contiguous() for name, tensor in tensors.items()}


def _checkpoint_name(index: int) -> str:
    return f"checkpoint-{index:02d}.safetensors"
