"""PyTorch: TorchScript and exported programs, with scaling and decision computed beside them.

The one file of the engine that imports torch.  The arithmetic is that of ``deployment.py``, line by line, so
that the same network gives the same map from an ONNX file and from a PyTorch file.
"""

from __future__ import annotations

import contextlib
import os
import platform
import threading
from typing import Any

import numpy as np

# Threads that spin while they wait take the cores that reading and writing need; read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
import torch

from ..errors import InputError, ModelError
from ..models.torch_file import read_torch_facts
from .deployment import output_of
from .library_messages import catch_messages, explain
from .providers import Order, Provider
from .pt2_archive import without_code
from .session import Session
from .torch_network import TorchDeployment, TorchHead

# PyTorch's own unsigned types know few operations: the bits travel as signed ones and are mended on the device.
_SIGNED = {np.dtype(np.uint16): (np.int16, 0xFFFF), np.dtype(np.uint32): (np.int32, 0xFFFFFFFF)}


class TorchSession(Session):
    """A PyTorch network on a device."""

    backend = "torch"
    deployment: TorchDeployment

    def __init__(
        self, deployment: TorchDeployment, order: Order, used: Provider, device: str, threads: int, precision: str
    ) -> None:
        super().__init__(deployment, order, used, threads, precision)
        self.provider = device
        self.title = {"cpu": "the CPU", "cuda": "CUDA", "mps": "the Apple GPU"}[device]
        self.device = torch.device(device)
        self._streams = threading.local()
        self._network = _load(deployment, self.device)

        def column(values: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(values.astype(np.float32)).reshape(1, -1, 1, 1).to(self.device)

        # As in deployment.py: what changes nothing is left out.
        self._low = self._high = self._gain = self._bias = None
        if np.isfinite(deployment.low).any() or np.isfinite(deployment.high).any():
            self._low, self._high = column(deployment.low), column(deployment.high)
        if not np.all(deployment.gain == 1):
            self._gain = column(deployment.gain)
        if not np.all(deployment.bias == 0):
            self._bias = column(deployment.bias)

    def _run(self, tiles: np.ndarray, options: Any) -> dict[str, np.ndarray]:
        if getattr(options, "terminate", False):
            raise RuntimeError("The run was told to stop.")
        with torch.inference_mode(), self._stream():
            results: dict[str, torch.Tensor] = {}
            for number, scores in enumerate(self._scores(self._scaled(self._upload(tiles)))):
                decided = self._decide(scores, number)
                results.update({output_of(name, number): tensor for name, tensor in decided.items()})
            return self._download(results)

    def _stream(self) -> contextlib.AbstractContextManager[Any]:
        """A CUDA stream of the thread's own: one thread's copies run beside another's computing."""
        if self.device.type != "cuda":
            return contextlib.nullcontext()
        if not hasattr(self._streams, "own"):
            self._streams.own = torch.cuda.Stream(self.device)
        return torch.cuda.stream(self._streams.own)

    def _upload(self, tiles: np.ndarray) -> torch.Tensor:
        """Samples as they are stored, on the device, as float32 (or as they are where the network takes integers)."""
        mask = 0
        kind = tiles.dtype
        if kind in _SIGNED:
            signed, mask = _SIGNED[kind]
            tiles = tiles.view(signed)
        elif kind in (np.uint64, np.float64) and self.device.type == "mps":
            tiles = tiles.astype(np.float32)
        elif kind == np.uint64:
            tiles = tiles.astype(np.float64)
        samples = torch.from_numpy(tiles)
        if self.device.type == "cuda":
            samples = samples.pin_memory().to(self.device, non_blocking=True)
        else:
            samples = samples.to(self.device)
        if mask:
            samples = samples.to(torch.int64 if mask > 0xFFFF else torch.int32) & mask
        return samples

    def _scaled(self, samples: torch.Tensor) -> torch.Tensor:
        wanted = self.deployment.wanted
        untouched = self._low is None and self._gain is None and self._bias is None
        if wanted.kind == "u" and untouched:
            return samples.to(torch.uint8)
        # Arithmetic in single precision whatever enters and leaves: 16 bits would lose radiometry.
        values = samples.to(torch.float32)
        if self._low is not None and self._high is not None:
            values = torch.minimum(torch.maximum(values, self._low), self._high)
        if self._gain is not None:
            values = values * self._gain
        if self._bias is not None:
            values = values + self._bias
        if wanted.kind == "u":
            values = values.round().clamp(0, float(np.iinfo(wanted).max))
        return values.to(getattr(torch, wanted.name))

    def _scores(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The network's outputs in float32: (N, K, H, W)."""
        half = self.precision == "fp16"
        with torch.autocast(self.device.type, dtype=torch.float16) if half else contextlib.nullcontext():
            if self.deployment.kind != "pixel":
                given = images.unsqueeze(1) if self.deployment.window_axis else images
                results = [scores.to(torch.float32) for scores in self._outputs(self._network(given))]
                # (N, H, W): one score per pixel.
                return [scores.unsqueeze(1) if scores.ndim == 3 else scores for scores in results]
            # (N, C, H, W) → (pixels, C) and back.
            count, _, height, width = images.shape
            rows = images.permute(0, 2, 3, 1).reshape(count * height * width, -1)
            results = [scores.to(torch.float32) for scores in self._rows(rows)]
        for scores in results:
            if scores.ndim != 2 or scores.shape[0] != rows.shape[0]:
                raise ModelError(
                    f"The network turned {rows.shape[0]} pixels into a tensor of shape {tuple(scores.shape)}: that "
                    "contradicts its card; it cannot be used for a map pixel by pixel."
                )
        return [scores.reshape(count, height, width, -1).permute(0, 3, 1, 2) for scores in results]

    def _rows(self, rows: torch.Tensor) -> list[torch.Tensor]:
        step = self.deployment.rows
        if not step:
            return self._outputs(self._network(rows))
        parts = []
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            short = step - len(part)
            if short:
                part = torch.cat([part, part[-1:].expand(short, -1)])
            parts.append([scores[: step - short] for scores in self._outputs(self._network(part))])
        return [torch.cat(scores) for scores in zip(*parts, strict=True)]

    def _outputs(self, result: Any) -> list[torch.Tensor]:
        return [_output(result, head) for head in self.deployment.heads]

    def _failure(self, tiles: np.ndarray, error: Exception) -> ModelError:
        # What was said here already is plainer than that the run failed.
        if isinstance(error, ModelError):
            return ModelError(error.message, error.details)
        return super()._failure(tiles, error)

    def _decide(self, result: torch.Tensor, number: int) -> dict[str, torch.Tensor]:
        """Class indices, a NaN check and the scores asked for; index K (the number of classes): under the threshold."""
        deployment, card = self.deployment, self.deployment.heads[number]
        results = {"check": result.sum(), "shape": torch.tensor(result.shape)}
        binary = deployment.channels[number] == 1
        probabilities = result
        needed = bool(deployment.scores or card.thresholds or not deployment.decide)
        if card.activation == "logits" and (binary or (deployment.several and needed)):
            probabilities = torch.sigmoid(result)
        elif card.activation == "logits" and needed:
            probabilities = torch.softmax(result, 1)
        if binary:
            threshold = np.float32(card.thresholds[-1] if card.thresholds else 0.5)
            index = (probabilities >= float(threshold)).squeeze(1)
            probabilities = torch.cat([1 - probabilities, probabilities], 1)
        else:
            index = result.argmax(1)
        if not deployment.decide:
            return {**results, "probabilities": probabilities}
        if binary and "confidence" in deployment.scores:
            results["confidence"] = torch.where(index, probabilities[:, 1], probabilities[:, 0])
        elif "confidence" in deployment.scores or (card.thresholds and not binary):
            best = probabilities.amax(1)
            results["confidence"] = best
            if card.thresholds and not binary:
                limits = np.broadcast_to(np.asarray(card.thresholds, np.float32), (card.classes,))
                limit_here = torch.from_numpy(limits.copy()).to(self.device)[index]
                index = torch.where(best < limit_here, card.classes, index)
        results["classes"] = index.to(torch.int32 if card.classes > 255 else torch.uint8)
        if "margin" in deployment.scores:
            top = probabilities.topk(2, dim=1).values
            results["margin"] = top[:, 0] - top[:, 1]
        if "entropy" in deployment.scores:
            shares = probabilities / probabilities.sum(1, keepdim=True).clamp(min=1e-12)
            terms = shares * shares.clamp(min=1e-12).log()
            results["entropy"] = terms.sum(1) * float(np.float32(-1 / np.log(max(card.classes, 2))))
        if "probabilities" in deployment.scores:
            results["probabilities"] = probabilities
        return results

    def _download(self, results: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
        cuda = self.device.type == "cuda"
        here: dict[str, torch.Tensor] = {}
        for name in self.deployment.outputs:
            tensor = results[name].contiguous()
            if cuda and tensor.is_cuda:
                # Pinned memory is copied to without a detour; PyTorch keeps it for the next batch.
                kept = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
                here[name] = kept.copy_(tensor, non_blocking=True)
            else:
                here[name] = tensor.cpu()
        if cuda:
            torch.cuda.current_stream(self.device).synchronize()
        arrays = {name: tensor.numpy() for name, tensor in here.items()}
        if "classes" in arrays and arrays["classes"].dtype == np.int32:
            arrays["classes"] = arrays["classes"].astype(np.uint16)
        return arrays

    def _free_memory(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()


def _output(result: Any, head: TorchHead) -> torch.Tensor:
    """The scores of one output among what a network gives: a tensor, or a dictionary or tuple with them."""
    if isinstance(result, dict) and result:
        if head.name not in result and not head.any_will_do:
            raise ModelError(
                f"The network has no output “{head.name}”; its outputs are {', '.join(map(str, result))}: choose one "
                "of these (--output-name), or call them so in its card."
            )
        result = result[head.name] if head.name in result else result.get("out", next(iter(result.values())))
        if isinstance(result, (tuple, list)) and result:
            result = result[0]
    else:
        given = result if isinstance(result, (tuple, list)) else [result]
        if head.place is None:
            count = "a single output" if len(given) == 1 else f"{len(given)} outputs"
            raise ModelError(
                f"The network gives {count} without a name, so that there is no “{head.name}”: name its outputs in "
                "its card (mlm:output), in their order."
            )
        if given and head.place >= len(given):
            raise ModelError(
                f"The network has no output “{head.name}”: its card names it as number {head.place + 1}, but the "
                f"network gives {len(given)}; correct the card."
            )
        result = given[head.place] if given else None
    if not isinstance(result, torch.Tensor) or result.ndim < 2:
        raise ModelError("The network gives no tensor of class scores; it cannot be used for a map.")
    return result


def create_torch_session(deployment: TorchDeployment, order: Order, threads: int, precision: str) -> TorchSession:
    """Load a network on the first device of an order that is there.

    Raises:
        InputError: none of the providers asked for is a device of PyTorch.
        ModelError: PyTorch cannot load the network.
    """
    torch.set_num_threads(threads)
    # TF32 would round float32 to 10 bits without saying so.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    if order.wanted and not any(entry.device for entry in order.wanted):
        raise InputError(
            f"The provider “{order.asked}” ({order.source}) runs ONNX files; a PyTorch file runs on cuda, mps or cpu: "
            "choose one of these, or export the network as ONNX."
        )
    why_not: dict[str, str] = {}
    tried: set[str] = set()
    for entry in order.providers:
        if not entry.device and order.asked:
            why_not[entry.short] = "it runs ONNX files, not those of PyTorch"
        # ROCm's builds of PyTorch call their GPU cuda, too.
        if not entry.device or entry.device in tried:
            continue
        tried.add(entry.device)
        reason = why_not_device(entry.device)
        if reason:
            # Where nothing was asked for, only a build made for GPUs that finds none is worth a word.
            if order.asked or (entry.device == "cuda" and torch.version.cuda):
                why_not[entry.short] = reason
            continue
        # Single pixels enter as they are stored, which 16 bits do not hold.
        half = precision in ("fp16", "auto") and entry.on_gpu and deployment.kind != "pixel"
        session = TorchSession(deployment, order, entry, entry.device, threads, "fp16" if half else "fp32")
        session.why_not = why_not
        return session
    raise InputError(f"PyTorch runs on nothing that was asked for ({order.asked}); use --provider cpu.")


def why_not_device(device: str) -> str:
    """Why PyTorch cannot compute on a device, found by computing on it; empty where it can."""
    if device == "cpu":
        return ""
    if device == "mps" and not torch.backends.mps.is_available():
        return "there is no Apple GPU that this build of PyTorch can use"
    if device == "cuda" and not (torch.version.cuda or torch.version.hip):
        return f"this build of PyTorch ({torch.__version__}) is for the CPU only"
    try:
        with catch_messages():
            torch.ones(2, device=device).sum().item()
    except Exception as error:  # noqa: BLE001 - PyTorch raises bare errors of its C++ side
        return explain(str(error))
    return ""


def torch_facts() -> dict[str, Any]:
    """Version, CUDA and devices of PyTorch, and why devices are not there, for the doctor."""
    device = "mps" if platform.system() == "Darwin" else "cuda"
    reason = why_not_device(device)
    devices: list[dict[str, Any]] = []
    if not reason and device == "mps":
        devices = [{"device": device, "name": "Apple GPU", "memory": None}]
    elif not reason:
        for index in range(torch.cuda.device_count()):
            found = torch.cuda.get_device_properties(index)
            devices.append({"device": f"cuda:{index}", "name": found.name, "memory": found.total_memory})
    return {
        "version": str(torch.__version__),
        "cuda": torch.version.cuda or torch.version.hip,
        "devices": devices,
        "why_not": {device: reason} if reason else {},
    }


def _load(deployment: TorchDeployment, device: torch.device) -> Any:
    """The network, on the device; nothing in the file is unpickled in Python."""
    path = deployment.path
    # Looked at again: what was a network when the job was planned may be another file now.
    kind = read_torch_facts(path).kind
    try:
        with catch_messages():
            if kind == "torchscript":
                network = torch.jit.load(str(path), map_location=device)
                network.eval()
                return network
            program = torch.export.load(without_code(path))
            if device.type != "cpu":
                from torch.export.passes import move_to_device_pass

                program = move_to_device_pass(program, device)
            return program.module()
    except ModelError:
        raise
    except Exception as error:  # PyTorch raises bare errors of its C++ side
        raise ModelError(
            f"PyTorch {torch.__version__} cannot load “{path}”: it was saved by another version, or needs operators of "
            "another package; save it again with this version, or export it as ONNX.",
            str(error)[:2000],
        ) from error
