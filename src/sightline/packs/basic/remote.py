"""A model that lives elsewhere, asked over HTTP: another Sightline, the Open Inference Protocol, or plain JSON.

Knows how each of them is asked; `remote_calls` asks, `remote_reading` says what the answers mean.

Shape letters: H rows, W columns, C colours (blue, green, red), N pictures (one).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from sightline.core.codec import decode_sample, from_json, to_json
from sightline.core.errors import ConfigError, InvalidInput, Unavailable
from sightline.core.oip import read_outputs
from sightline.core.plugins import Context, Predictor
from sightline.core.ports import Array
from sightline.core.prediction import JsonObject, Prediction
from sightline.core.sample import Frame, Reading, Sample, Text
from sightline.packs.basic.remote_calls import Answer, RemoteCalls, checked_url
from sightline.packs.basic.remote_reading import Reads, at_path

_PLACE = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_PLACES = frozenset({"image_base64", "tensor", "width", "height", "text", "values", "id", "source", "time"})
_HEADER_LENGTH = "Inference-Header-Content-Length"


@dataclass(kw_only=True)
class Remote(Predictor):
    """Asks a model on another server.

    Attributes:
        url: address of the server; for `json` the whole address that is asked.
        protocol: `sightline` asks `/predict` of another Sightline, `oip` the Open Inference Protocol v2 with binary
            tensors, `json` sends `body` and reads JSON.
        model: name there; `sightline` may leave it out where one case is served.
        version: of the model; empty: the current one. `oip` only.
        reads: how the answer becomes a prediction; `sightline` needs none.
        key: which of several predictions is taken; empty: the only one, or the one of the last predictor.
        input: name of the input tensor; empty: the model's only one. `oip` only.
        send: the picture as a file (a BYTES tensor), or its pixels (UINT8 [1, H, W, 3], red first). `oip` only.
        picture: format in which pictures travel.
        quality: of JPEG, 1 to 100.
        method: of HTTP. `json` only.
        body: JSON in which `{image_base64}`, `{tensor}`, `{width}`, `{height}`, `{text}`, `{values}`, `{id}`,
            `{source}` and `{time}` are replaced by what the sample has. `json` only.
        headers: further headers of each request.
        token: sent as `Authorization: Bearer`.
        timeout_s: for one sample, with all tries.
        retries: further tries after a connection that failed, status 503 or 429.
        breaker_failures: after so many failures in a row the server is left alone for a while.
        breaker_pause_s: seconds that it is left alone for, before one call tries it again.
        max_answer_mb: largest answer in MiB.
    """

    url: str = field(repr=False)
    protocol: Literal["sightline", "oip", "json"] = "sightline"
    model: str = ""
    version: str = ""
    reads: Reads | None = None
    key: str = ""
    input: str = ""
    send: Literal["picture", "pixels"] = "picture"
    picture: Literal["jpeg", "png"] = "jpeg"
    quality: int = 90
    method: Literal["POST", "PUT", "GET"] = "POST"
    body: dict[str, Any] | list[Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    token: str = field(default="", repr=False)
    timeout_s: float = 10.0
    retries: int = 2
    breaker_failures: int = 5
    breaker_pause_s: float = 10.0
    max_answer_mb: int = 16

    def __post_init__(self) -> None:
        checked_url(self.url)
        for name, least in (
            ("timeout_s", 0.001),
            ("retries", 0),
            ("breaker_failures", 1),
            ("breaker_pause_s", 0),
            ("max_answer_mb", 1),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least {least}.")
        if not 1 <= self.quality <= 100:
            raise ConfigError(f"quality is {self.quality}; it must lie between 1 and 100.")
        if self.protocol == "oip" and not self.model:
            raise ConfigError("protocol oip needs the name of a model.", cure="Add model: NAME")
        if self.protocol != "sightline" and self.reads is None:
            raise ConfigError(f"protocol {self.protocol} needs `reads`.", cure="Add reads: {type: labels, ...}")
        unknown = sorted(_places(self.body) - _PLACES)
        if unknown:
            raise ConfigError(f"body has no such place: {{{unknown[0]}}}.", cure=f"Known: {', '.join(sorted(_PLACES))}")

    def open(self, context: Context) -> None:
        """Make the connections; the server is asked for nothing yet, so that a case starts while it is away."""
        super().open(context)
        token = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        self._described: JsonObject | None = None
        self._calls = RemoteCalls(
            self.url,
            headers={"User-Agent": "sightline", **self.headers, **token},
            timeout_s=self.timeout_s,
            retries=self.retries,
            max_bytes=self.max_answer_mb << 20,
            breaker=(self.breaker_failures, self.breaker_pause_s),
            stopping=context.stopping,
        )

    def close(self) -> None:
        """Close the connections."""
        self._calls.close()

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
        """Ask about one sample after the other.

        Raises:
            Unavailable: the server does not answer in time, is busy or fails, or answers something else.
            InvalidInput: it refuses the sample, or the sample holds nothing that can be sent.
        """
        asks = {"sightline": self._ask_sightline, "oip": self._ask_oip, "json": self._ask_json}[self.protocol]
        return [asks(sample) for sample in samples]

    def _ask_sightline(self, sample: Sample[Any]) -> Prediction:
        url = self._at("/predict")
        if self.model:
            url = url.copy_add_param("model", self.model)
        answer = self._calls.ask("POST", url, self._file(sample), {"Content-Type": f"image/{self.picture}"})
        try:
            predictions = decode_sample(_json(answer)).predictions
            if self.reads is not None:
                return self._read(sample, answer)
        except InvalidInput as error:
            raise self._strange(str(error)) from None
        if (self.key and self.key not in predictions) or not predictions:
            known = ", ".join(predictions) or "none"
            raise self._strange(f"no prediction {self.key!r}; there are: {known}")
        return predictions[self.key or list(predictions)[-1]]

    def _ask_oip(self, sample: Sample[Any]) -> Prediction:
        described = self._metadata()
        name, raw, entry = self._tensor(sample)
        inputs = described.get("inputs")
        if not name and isinstance(inputs, list) and inputs and isinstance(inputs[0], Mapping):
            name = str(inputs[0].get("name", ""))
        entry = {"name": name, **entry, "parameters": {"binary_data_size": len(raw)}}
        head = to_json({"inputs": [entry], "parameters": {"binary_data_output": True}})
        headers = {"Content-Type": "application/octet-stream", _HEADER_LENGTH: str(len(head))}
        answer = self._calls.ask("POST", self._at(f"{self._model_path()}/infer"), head + raw, headers)
        try:
            outputs = _outputs(answer)
        except (InvalidInput, ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._strange(f"no answer of the Open Inference Protocol ({error})") from None

        def found(output: str) -> Any:
            if output in outputs:
                return outputs[output]
            if not output and len(outputs) == 1:
                return next(iter(outputs.values()))
            raise InvalidInput(f"it has no output {output!r}; there are: {', '.join(outputs)}")

        return self._reading().prediction(found, size=_size(sample), labels=_labels(described))

    def _ask_json(self, sample: Sample[Any]) -> Prediction:
        body = b"" if self.method == "GET" else to_json(_filled(self.body, _Places(self, sample)))
        answer = self._calls.ask(self.method, self._calls.url, body, {"Content-Type": "application/json"})
        return self._read(sample, answer)

    def _read(self, sample: Sample[Any], answer: Answer) -> Prediction:
        try:
            document = _json(answer)
        except InvalidInput as error:
            raise self._strange(str(error)) from None
        return self._reading().prediction(lambda path: at_path(document, path), size=_size(sample))

    def _reading(self) -> Reads:
        if self.reads is None:  # __post_init__ saw to it
            raise ConfigError("`reads` is missing.")
        return self.reads

    def _metadata(self) -> JsonObject:
        """Return what the server says of the model, asked once."""
        if self._described is None:
            found = _json(self._calls.ask("GET", self._at(self._model_path())))
            if not isinstance(found, Mapping):
                raise self._strange("no description of the model")
            self._described = found
        return self._described

    def _model_path(self) -> str:
        return f"/v2/models/{self.model}" + (f"/versions/{self.version}" if self.version else "")

    def _at(self, path: str) -> Any:
        base = self._calls.url
        return base.copy_with(path=base.path.rstrip("/") + path)

    def _tensor(self, sample: Sample[Any]) -> tuple[str, bytes, dict[str, Any]]:
        """Return the name of the input where the case has it, its bytes, and datatype and shape."""
        payload = sample.payload
        if isinstance(payload, Frame) and self.send == "pixels":
            pixels_NHWC = np.ascontiguousarray(payload.pixels_HWC[None, :, :, ::-1])
            return self.input, pixels_NHWC.tobytes(), {"datatype": "UINT8", "shape": list(pixels_NHWC.shape)}
        data = payload.text.encode() if isinstance(payload, Text) else self._file(sample)
        return self.input, len(data).to_bytes(4, "little") + data, {"datatype": "BYTES", "shape": [1]}

    def _file(self, sample: Sample[Any]) -> bytes:
        """Return the picture of a sample as a file."""
        pixels_HWC = _pixels(sample)
        if self.picture == "jpeg":
            import simplejpeg  # a compiled library, needed only when a picture is sent

            jpeg: bytes = simplejpeg.encode_jpeg(
                np.ascontiguousarray(pixels_HWC), quality=self.quality, colorspace="BGR"
            )
            return jpeg
        from io import BytesIO

        from PIL import Image  # as above

        file = BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels_HWC[:, :, ::-1])).save(file, "PNG", compress_level=1)
        return file.getvalue()

    def _strange(self, what: str) -> Unavailable:
        return Unavailable(f"{self._calls.name} gives {what}.", cure="Check url, protocol and model.")


class _Places:
    """What stands for the places of a template, made when it is asked for."""

    def __init__(self, remote: Remote, sample: Sample[Any]) -> None:
        self._remote = remote
        self._sample = sample

    def __getitem__(self, name: str) -> Any:  # noqa: PLR0911 - one line a place
        sample, payload = self._sample, self._sample.payload
        match name:
            case "image_base64":
                return base64.b64encode(self._remote._file(sample)).decode()  # noqa: SLF001 - a part of it
            case "tensor":
                return _pixels(sample)[:, :, ::-1].tolist()
            case "width" | "height":
                return _size(sample)[name == "height"]
            case "text" if isinstance(payload, Text):
                return payload.text
            case "values" if isinstance(payload, Reading):
                return dict(payload.values)
            case "id":
                return sample.id
            case "source":
                return sample.source
            case "time":
                return sample.time.isoformat()
            case _:
                raise InvalidInput(f"The sample {sample.id} is a {type(payload).__name__} and has no {name}.")


def _places(template: Any) -> set[str]:
    """Return the names of all places in a template."""
    if isinstance(template, str):
        return set(_PLACE.findall(template))
    parts = template.values() if isinstance(template, Mapping) else template if isinstance(template, list) else ()
    return {name for part in parts for name in _places(part)}


def _filled(template: Any, places: _Places) -> Any:
    """Return a template with its places filled; a text that is one place and nothing else becomes its value."""
    if isinstance(template, str):
        whole = _PLACE.fullmatch(template)
        return places[whole[1]] if whole else _PLACE.sub(lambda match: str(places[match[1]]), template)
    if isinstance(template, Mapping):
        return {key: _filled(value, places) for key, value in template.items()}
    if isinstance(template, list):
        return [_filled(value, places) for value in template]
    return template


def _outputs(answer: Answer) -> dict[str, Array]:
    """Return the tensors of an answer of the Open Inference Protocol, JSON or binary."""
    return read_outputs(answer.body, answer.headers.get(_HEADER_LENGTH.lower(), ""))


def _json(answer: Answer) -> Any:
    return from_json(answer.body)


def _labels(described: JsonObject) -> tuple[str | None, ...]:
    """Return the labels that a server tells of its model (a Sightline does, in `parameters`)."""
    parameters = described.get("parameters")
    labels = parameters.get("labels") if isinstance(parameters, Mapping) else None
    return tuple(label if isinstance(label, str) else None for label in labels) if isinstance(labels, list) else ()


def _pixels(sample: Sample[Any]) -> Array:
    if not isinstance(sample.payload, Frame):
        raise InvalidInput(f"The sample {sample.id} holds a {type(sample.payload).__name__}, not a picture.")
    return sample.payload.pixels_HWC


def _size(sample: Sample[Any]) -> tuple[int, int]:
    return sample.payload.size if isinstance(sample.payload, Frame) else (1, 1)
