"""ONNX Runtime: opens model files as sessions.

Knows devices and tensors; knows nothing of pictures, batches or queues. Each call runs in the thread of its
caller: throughput comes from several callers at once, and the threads of a spinning pool would steal their cores.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnxruntime
import structlog
from onnxruntime.capi import onnxruntime_pybind11_state as native

from sightline.core.errors import ConfigError, Conflict, FileMissing, InvalidInput, InvalidModel, Unavailable
from sightline.core.model import ModelCard, TensorSpec, card_from_props
from sightline.core.onnx_metadata import read_props
from sightline.core.ports import Array, Runtime, Session, Tensors

_log = structlog.get_logger()

PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "rocm": "MIGraphXExecutionProvider",
    "directml": "DmlExecutionProvider",
    "cpu": "CPUExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}
"""Device -> provider. `auto` takes the first that is there down to `cpu`; the others compile a model for minutes, or
run only some models, and so are taken only where they are asked for."""

_DTYPES = {"float": "float32", "double": "float64", "string": "object"}  # where ONNX Runtime's names are not NumPy's
_TENSOR = re.compile(r"tensor\((\w+)\)")
_ERRORS: tuple[type[Exception], ...] = (
    native.EPFail,
    native.EngineError,
    native.Fail,
    native.InvalidArgument,
    native.InvalidGraph,
    native.InvalidProtobuf,
    native.NoModel,
    native.NoSuchFile,
    native.NotFound,
    native.NotImplemented,
    native.RuntimeException,
    RuntimeError,
    ValueError,  # a name in the graph that is no UTF-8
)
_NO_MEMORY = re.compile(r"(?i)failed to allocate|out of memory|bad[_ ]alloc")
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")


class OnnxRuntime(Runtime):
    """Opens `.onnx` files on this machine.

    Args:
        threads: threads inside each call.
    """

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads

    @property
    def version(self) -> str:
        """Name and version of ONNX Runtime."""
        return f"onnxruntime {onnxruntime.__version__}"

    def with_threads(self, num: int) -> OnnxRuntime:
        """Return one whose sessions use `num` threads inside each call; they sleep between calls, and do not spin."""
        return OnnxRuntime(num)

    def open(self, path: Path, *, name: str = "", device: str = "auto") -> OnnxSession:
        """Open the file, by default with one thread a call, without spinning; its card is read from its metadata."""
        if not path.is_file():
            raise FileMissing(f"There is no model file {path}.", cure="Check the path.")
        kind, number = self._chosen(device)
        try:
            with path.open("rb") as file:
                props = read_props(file)  # before the runtime sees it: this names pickles and archives
            told = card_from_props(props, name=name or _name_of(path))
            session = self._session(path, kind, number, device, told)
            inputs, outputs = _specs(session.get_inputs()), _specs(session.get_outputs())
            card = card_from_props(props, name=name or _name_of(path), inputs=inputs, outputs=outputs)
        except InvalidModel as error:
            cure = error.cure or "Copy or export the model again."
            raise InvalidModel(error.message, cure=cure, location=str(path)) from None
        except UnicodeDecodeError:
            raise InvalidModel(f"{path} is damaged: a name in it is no text.", cure="Copy it again.") from None
        except OSError as error:
            raise InvalidModel(f"{path} cannot be read: {error.strerror}.", cure="Check its permissions.") from None
        return OnnxSession(session, card)

    def devices(self) -> Sequence[str]:
        """Return the kinds of device that this build of ONNX Runtime knows, the one that `auto` tries first."""
        available = set(onnxruntime.get_available_providers())
        return tuple(kind for kind, provider in PROVIDERS.items() if provider in available)

    def _session(
        self, path: Path, kind: str, number: int, device: str, card: ModelCard
    ) -> onnxruntime.InferenceSession:
        """Open on the device; `auto` goes on with the CPU where the device is known but does not work."""
        reason = "its libraries or the device are missing"
        try:
            session = _opened(path, kind, number, self._threads, card)
            if PROVIDERS[kind] in session.get_providers():
                return session
        except InvalidModel as error:
            if kind == "cpu":
                raise
            reason = error.message
        session = _opened(path, "cpu", 0, self._threads, card)  # raises where not the device but the model is at fault
        if device != "auto":
            raise _absent(device, self.devices(), reason)
        _log.warning("device does not work, going on with the cpu", device=kind, model=str(path), reason=reason)
        return session

    def _chosen(self, device: str) -> tuple[str, int]:
        """Return kind and number of the device."""
        known = self.devices()
        kind, _, number = (known[0] if device == "auto" else device).partition(":")
        if kind not in known or not (number or "0").isdecimal():
            raise _absent(device, known)
        return kind, int(number or 0)


class OnnxSession(Session):
    """A model in memory; threads may run it side by side."""

    def __init__(self, session: onnxruntime.InferenceSession, card: ModelCard) -> None:
        self.card = card
        self._session: onnxruntime.InferenceSession | None = session
        self._output_names = [spec.name for spec in card.outputs]
        self._inputs = [
            (spec.name, np.dtype(spec.dtype), tuple(side if isinstance(side, int) else None for side in spec.shape))
            for spec in card.inputs
        ]

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """Return all outputs by name."""
        session = self._session
        if session is None:
            raise Conflict(f"The session of {self.card.ref} is closed.")
        if len(feeds) != len(self._inputs):
            self._refuse_names(feeds)
        for name, dtype, shape in self._inputs:
            array = feeds.get(name)
            if array is None:
                self._refuse_names(feeds)
            if array.dtype != dtype and not (dtype.kind == "O" and array.dtype.kind == "U"):
                self._refuse(name, array)
            sides = array.shape
            if sides != shape and (
                len(sides) != len(shape)
                or any(want is not None and want != have for want, have in zip(shape, sides, strict=True))
            ):
                self._refuse(name, array)
        try:
            return dict(zip(self._output_names, session.run(None, feeds), strict=True))
        except _ERRORS as error:
            self._explain(error, feeds)

    def close(self) -> None:
        """Give back the memory as soon as the calls under way have ended."""
        self._session = None

    def _refuse(self, name: str, array: Array) -> NoReturn:
        spec = next(spec for spec in self.card.inputs if spec.name == name)
        raise InvalidInput(
            f"Input {name!r} of {self.card.ref} is {_shaped(spec.dtype, spec.shape)}, "
            f"not {_shaped(array.dtype.name, array.shape)}."
        )

    def _refuse_names(self, feeds: Tensors) -> NoReturn:
        wanted = ", ".join(repr(spec.name) for spec in self.card.inputs)
        given = ", ".join(repr(name) for name in feeds) or "nothing"
        raise InvalidInput(f"{self.card.ref} needs the inputs {wanted}; given: {given}.")

    def _explain(self, error: Exception, feeds: Tensors) -> NoReturn:
        """Raise what a failed run means: sizes that do not fit each other, or no memory."""
        if _NO_MEMORY.search(str(error)):
            raise Unavailable(
                f"There is no memory to run {self.card.ref}.", cure="Send smaller inputs or batches, or free memory."
            ) from None
        given = ", ".join(f"{name!r} {_shaped(array.dtype.name, array.shape)}" for name, array in feeds.items())
        raise InvalidInput(f"{self.card.ref} cannot run {given}: {_reason(error)}") from None


def _opened(path: Path, kind: str, number: int, threads: int, card: ModelCard) -> onnxruntime.InferenceSession:
    """Return the runtime's own session.

    It holds the memory of a call for the next one, but where it sees a volume whole: that is up to gigabytes, once.

    Raises:
        InvalidModel: the runtime cannot open the file.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    sees_windows = card.preprocessing.get("inference") == "sliding"
    options.enable_cpu_mem_arena = sees_windows or not card.sees_volumes
    options.enable_mem_pattern = not sees_windows  # it takes the memory of a window once more, in one block
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3  # errors; what matters of them is raised as well
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    providers: list[Any] = [PROVIDERS["cpu"]]
    if kind != "cpu":
        takes_number = kind in ("cuda", "tensorrt", "rocm", "directml")
        providers.insert(0, (PROVIDERS[kind], {"device_id": str(number)} if takes_number else {}))
    try:
        return onnxruntime.InferenceSession(str(path), options, providers, enable_fallback=0)
    except _ERRORS as error:
        raise _unusable(error) from None


def _unusable(error: Exception) -> InvalidModel:
    """Return what it means that the runtime refused a file."""
    reason, version = _reason(error), onnxruntime.__version__
    if "external" in reason.lower() or isinstance(error, native.NoSuchFile):
        return InvalidModel(
            f"The weights beside the model cannot be used: {reason}",
            cure="Put the weight files into the model's own folder, or export the model as one file.",
        )
    if isinstance(error, native.InvalidProtobuf):
        return InvalidModel("The file is cut off or no ONNX model.", cure="Copy or export the model again.")
    if isinstance(error, native.NotImplemented):
        return InvalidModel(
            f"ONNX Runtime {version} lacks an operator of the model: {reason}", cure="Export it for another opset."
        )
    return InvalidModel(f"ONNX Runtime {version} cannot open it: {reason}", cure="Export the model again.")


def _specs(arguments: Sequence[Any]) -> tuple[TensorSpec, ...]:
    """Return inputs or outputs in our words.

    Raises:
        InvalidModel: one is no tensor, or of a type that NumPy has not.
    """
    specs = []
    for argument in arguments:
        found = _TENSOR.fullmatch(argument.type)
        dtype = _DTYPES.get(found[1], found[1]) if found else ""
        try:
            specs.append(TensorSpec(name=argument.name, dtype=np.dtype(dtype).name, shape=tuple(argument.shape)))
        except TypeError:
            raise InvalidModel(
                f"{argument.name!r} is {argument.type}, no tensor that NumPy knows.",
                cure="Export plain tensors (scikit-learn: zipmap=False).",
            ) from None
    return tuple(specs)


def _name_of(path: Path) -> str:
    """Return a model name made of the file's."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._")[:128] or "model"


def _shaped(dtype: str, shape: Sequence[int | str | None]) -> str:
    return f"{dtype}[{', '.join('?' if side is None else str(side) for side in shape)}]"


def _reason(error: Exception) -> str:
    return _PREFIX.sub("", str(error)).partition("\n")[0][:400]


def _absent(device: str, known: Sequence[str], reason: str = "") -> ConfigError:
    why = f" ({reason})" if reason else ""
    return ConfigError(
        f"The device {device!r} is not there{why}. Known: auto, {', '.join(known)}.",
        cure="Choose one of these, or install the ONNX Runtime for that device (onnxruntime-gpu for cuda).",
    )
