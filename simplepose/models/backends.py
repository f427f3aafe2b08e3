"""Inference runtimes: the fused network in torch, OpenVINO or ONNX Runtime.

OpenVINO and ONNX Runtime are optional, are imported only when they are used, and run on a CPU. Both read the
fused network as an ONNX model in memory, with a dynamic batch, height and width.
"""

from __future__ import annotations

import functools
import importlib
import io
import logging
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, get_args

import torch
from torch import Tensor, nn

from simplepose.models.fused import for_use
from simplepose.models.imhn import IMHN
from simplepose.models.layers import DTYPES
from simplepose.models.run_modes import Run

logger = logging.getLogger(__name__)

Runtime = Literal["auto", "torch", "openvino", "onnx"]
"""What runs a network, see `build_backend`."""

Network = Callable[[Tensor], Tensor]
"""(N, H, W, 3) uint8 BGR -> (N, C, H / 4, W / 4), as `for_use.NetworkForUse`."""

PACKAGES = {"openvino": ("openvino", "onnx"), "onnx": ("onnxruntime", "onnx")}
"""The packages of each optional runtime, fastest runtime first; torch's exporter needs onnx."""

PRECISIONS = {"openvino": ("fp32", "bf16"), "onnx": ("fp32",)}

TOLERANCES = {"fp32": 1e-3, "bf16": 0.1}
"""Largest difference from torch's maps that a converted network may have, relative to the largest value."""

OPSET = 17
"""Version of the ONNX operators: torch 2.6 exports it, and each supported runtime reads it."""

CACHED_LAYERS = 2000
"""Layers prepared for a shape that OpenVINO keeps: about 16 shapes of a network of 130 layers, 8 MB each."""

EXAMPLE_SHAPE = (2, 64, 128, 3)
"""Of the images that the network is traced with: a batch and an aspect ratio that are not 1."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Backend:
    """A network that is ready to run.

    Attributes:
        network: the callable; safe to call from several threads at once.
        runtime: "torch", "openvino" or "onnx".
        precision: "fp32", "bf16" or "fp16".
    """

    network: Network
    runtime: str
    precision: str


def build_backend(
    network: IMHN,
    runtime: Runtime = "auto",
    precision: str = "fp32",
    *,
    stacks: int | None = None,
    device: str | torch.device = "cpu",
    run: Run = "eager",
) -> Backend:
    """Build what runs a network.

    Args:
        network: trained, on any device. It is not changed.
        runtime: "torch", "openvino" or "onnx" (ONNX Runtime). "auto" uses on a CPU the first of OpenVINO,
            ONNX Runtime and torch that is installed, and torch on a GPU or with a `run` other than "eager".
        precision: "fp32", "bf16" or "fp16". With "bf16", OpenVINO uses half precision only where the CPU is
            fast at it.
        stacks, device, run: see `for_use`.

    Raises:
        ValueError: an argument is not usable, or the requested runtime is not installed or does not work.
    """
    device = torch.device(device)
    _check(runtime, precision, device, run)
    if runtime == "auto":
        names = _usable_runtimes(precision, device, run)
    else:
        names = [] if runtime == "torch" else [runtime]
    fused = None
    for name in names:
        if not _import_packages(name, required=runtime != "auto"):
            continue
        if fused is None:
            fused = for_use(network, stacks=stacks)
        try:
            return Backend(_convert(fused, name, precision), name, precision)
        except Exception as error:
            _raise_or_warn(name, error, required=runtime != "auto")
    fused = for_use(network, stacks=stacks, dtype=DTYPES[precision], device=device, run=run)
    return Backend(fused, "torch", precision)


def export_onnx(fused: nn.Module) -> bytes:
    """Export a fused float32 network as an ONNX model, from "images" to "maps".

    torch's exporter by tracing takes about a second; its newer one takes a minute and larger packages.
    """
    file = io.BytesIO()
    axes = {"images": {0: "N", 1: "H", 2: "W"}, "maps": {0: "N", 2: "h", 3: "w"}}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # on constants that are not folded, and on the exporter's age
        torch.onnx.export(
            fused,
            (torch.zeros(EXAMPLE_SHAPE, dtype=torch.uint8),),
            file,  # type: ignore[arg-type]  # its types leave out files in memory
            input_names=["images"],
            output_names=["maps"],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    return file.getvalue()


class ThreadCountCache(Generic[T]):
    """Builds an object for each number of threads that callers have, once.

    A caller's number is torch's for the calling thread: all cores, or its share (`inference.passes.share`).

    Args:
        build: (threads, callers) -> object, where as many callers with so many threads each use all cores.
    """

    def __init__(self, build: Callable[[int, int], T]) -> None:
        self._build, self._cores = build, torch.get_num_threads()
        self._built: dict[int, T] = {}
        self._lock = threading.Lock()

    def get(self) -> T:
        """Return the object for the calling thread."""
        threads = torch.get_num_threads()
        with self._lock:
            if threads not in self._built:
                self._built[threads] = self._build(threads, max(1, self._cores // threads))
            return self._built[threads]


class OpenVINONetwork:
    """Runs an ONNX model in OpenVINO.

    One model of dynamic shape serves all images. A new shape costs about half a forward pass once. A model of
    a fixed shape is about 5 % faster, but takes three forward passes to compile.
    """

    def __init__(self, model: bytes, precision: str) -> None:
        openvino = importlib.import_module("openvino")
        self._core = openvino.Core()
        self._model = self._core.read_model(io.BytesIO(model))
        self._precision = precision
        self._compiled = ThreadCountCache(self._compile)

    def __call__(self, images: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 -> (N, C, H / 4, W / 4) float32."""
        compiled, idle = self._compiled.get()
        try:
            request = idle.pop()
        except IndexError:
            request = compiled.create_infer_request()
        maps = request.infer([images.contiguous().numpy()], share_inputs=True)[0]
        idle.append(request)
        return torch.from_numpy(maps)

    def _compile(self, threads: int, callers: int) -> tuple[Any, list[Any]]:
        """A compiled model, and its requests that no thread uses now."""
        options: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": threads * callers,
            "NUM_STREAMS": callers,
            "ENABLE_CPU_PINNING": False,  # several processes would be pinned to the same cores
            "CPU_RUNTIME_CACHE_CAPACITY": CACHED_LAYERS,
        }
        if self._precision == "fp32":  # otherwise OpenVINO uses bf16 where the CPU is fast at it
            options["INFERENCE_PRECISION_HINT"] = "f32"
        return self._core.compile_model(self._model, "CPU", options), []


class ONNXRuntimeNetwork:
    """Runs an ONNX model in ONNX Runtime."""

    def __init__(self, model: bytes, precision: str) -> None:
        self._runtime = importlib.import_module("onnxruntime")
        self._model = model
        self._sessions = ThreadCountCache(self._build)

    def __call__(self, images: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 -> (N, C, H / 4, W / 4) float32."""
        (maps,) = self._sessions.get().run(None, {"images": images.contiguous().numpy()})
        return torch.from_numpy(maps)

    def _build(self, threads: int, callers: int) -> Any:
        options = self._runtime.SessionOptions()
        # a session's own threads, without the one that calls it, serve all callers
        options.intra_op_num_threads = (threads - 1) * callers + 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        return self._runtime.InferenceSession(self._model, options, providers=["CPUExecutionProvider"])


NETWORKS: dict[str, Callable[[bytes, str], Network]] = {
    "openvino": OpenVINONetwork,
    "onnx": ONNXRuntimeNetwork,
}


def _check(runtime: str, precision: str, device: torch.device, run: str) -> None:
    """Raises ValueError for a runtime that is unknown or does not support the other arguments."""
    if runtime not in get_args(Runtime):
        raise ValueError(f"runtime: expected one of {', '.join(get_args(Runtime))}, got {runtime!r}")
    if runtime not in PACKAGES:
        return
    given = (("device", device.type, ("cpu",)), ("run", run, ("eager",)))
    for name, value, supported in (*given, ("precision", precision, PRECISIONS[runtime])):
        if value not in supported:
            raise ValueError(
                f"runtime {runtime!r}: expected {name} {' or '.join(supported)}, got {value}; "
                f"choose that, or runtime torch"
            )


def _usable_runtimes(precision: str, device: torch.device, run: str) -> list[str]:
    """The optional runtimes that support the arguments, fastest first."""
    if device.type != "cpu" or run != "eager":
        return []
    return [name for name in PACKAGES if precision in PRECISIONS[name]]


def _import_packages(name: str, required: bool) -> bool:
    """Import a runtime's packages; False where they cannot be imported.

    Raises:
        ValueError: they cannot be imported, and the runtime is required.
    """
    try:
        for package in PACKAGES[name]:
            importlib.import_module(package)
    except Exception as error:
        if not isinstance(error, ModuleNotFoundError) or error.name not in PACKAGES[name]:
            _raise_or_warn(name, error, required)
        elif required:
            packages = " and ".join(PACKAGES[name])
            raise ValueError(
                f"runtime {name!r}: expected the packages {packages}, got no {error.name}; "
                f"run: pip install 'simplepose[{name}]'"
            ) from error
        return False
    return True


def _convert(fused: nn.Module, name: str, precision: str) -> Network:
    """The fused network in an optional runtime, compared with torch on a random image.

    Raises:
        Exception: the runtime does not work, or its maps differ from torch's.
    """
    network = NETWORKS[name](export_onnx(fused), precision)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (1, 128, 64, 3), dtype=torch.uint8, generator=generator)
    with torch.inference_mode():
        expected = fused(images)
        difference = ((network(images) - expected).abs().max() / expected.abs().max()).item()
    if not difference <= TOLERANCES[precision]:  # nor if it is not a number
        raise ValueError(f"expected torch's maps within {TOLERANCES[precision]}, got {difference:.2g}")
    return network


def _raise_or_warn(name: str, error: Exception, required: bool) -> None:
    lines = str(error).strip().splitlines() or ["no message"]
    broken = f"runtime {name!r} does not work here: {type(error).__name__}: {lines[0]}"
    if required:
        install = f"pip install --force-reinstall 'simplepose[{name}]'"
        raise ValueError(f"{broken}; run: {install}, or choose runtime torch") from error
    _warn_once(f"{broken}; another runtime is used")


@functools.cache
def _warn_once(message: str) -> None:
    logger.warning(message)
