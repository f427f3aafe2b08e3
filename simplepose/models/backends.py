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

from simplepose.models.fastpose import FastPose
from simplepose.models.fused import fuse
from simplepose.models.imhn import IMHN
from simplepose.models.layers import DTYPES
from simplepose.models.run_modes import RunMode

logger = logging.getLogger(__name__)

Runtime = Literal["auto", "torch", "openvino", "onnx"]
"""Names of the inference runtimes, see `build_backend`."""

Network = Callable[[Tensor], Tensor]
"""(N, H, W, 3) uint8 BGR -> (N, C, H / 4, W / 4), as `fused.FusedIMHN`."""

PACKAGES = {"openvino": ("openvino", "onnx"), "onnx": ("onnxruntime", "onnx")}
"""The packages of each optional runtime, fastest runtime first; torch's exporter needs onnx."""

PRECISIONS = {"openvino": ("fp32", "bf16"), "onnx": ("fp32",)}

TOLERANCES = {"fp32": 1e-3, "bf16": 0.1}
"""Largest difference between a converted network's maps and torch's, relative to the largest value."""

OPSET = 17
"""Version of the ONNX operators: torch 2.6 exports it, and each supported runtime reads it."""

MAX_CACHED_LAYERS = 2000
"""Largest number of shape-specific layers in OpenVINO's cache: about 16 shapes of a network with 130 layers,
8 MB per shape."""

EXAMPLE_SHAPE = (2, 64, 128, 3)
"""Shape of the images for tracing: batch size and aspect ratio differ from 1."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Backend:
    """A network in an inference runtime.

    Attributes:
        network: the callable; thread-safe.
        runtime: "torch", "openvino" or "onnx".
        precision: "fp32", "bf16" or "fp16".
    """

    network: Network
    runtime: str
    precision: str


def build_backend(
    network: IMHN | FastPose,
    runtime: Runtime = "auto",
    precision: str = "fp32",
    *,
    stacks: int | None = None,
    device: str | torch.device = "cpu",
    run: RunMode = "eager",
) -> Backend:
    """Fuse a network and convert it for an inference runtime.

    Args:
        network: a trained network on any device. It is not changed.
        runtime: "torch", "openvino" or "onnx" (ONNX Runtime). "auto" uses the first installed of OpenVINO,
            ONNX Runtime and torch on a CPU, and torch on a GPU or with a `run` other than "eager".
        precision: "fp32", "bf16" or "fp16". With "bf16", OpenVINO uses half precision only where the CPU is
            fast at it.
        stacks, device, run: see `fuse`.

    Raises:
        ValueError: an argument is not usable, or the requested runtime is not installed or does not work.
    """
    device = torch.device(device)
    _check_arguments(runtime, precision, device, run)
    if runtime == "auto":
        names = _list_usable_runtimes(precision, device, run)
    else:
        names = [] if runtime == "torch" else [runtime]
    fused = None
    for name in names:
        if not _import_packages(name, required=runtime != "auto"):
            continue
        if fused is None:
            fused = fuse(network, stacks=stacks)
        try:
            return Backend(_convert(fused, name, precision), name, precision)
        except Exception as error:
            _raise_or_warn(name, error, required=runtime != "auto")
    fused = fuse(network, stacks=stacks, dtype=DTYPES[precision], device=device, run=run)
    return Backend(fused, "torch", precision)


def export_onnx(fused: nn.Module) -> bytes:
    """Export a fused float32 network as an ONNX model, from "images" to "maps".

    torch's exporter by tracing takes about a second; its newer one takes a minute and larger packages.
    """
    file = io.BytesIO()
    axes = {"images": {0: "N", 1: "H", 2: "W"}, "maps": {0: "N", 2: "h", 3: "w"}}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # constants that are not folded; the exporter is deprecated
        torch.onnx.export(
            fused,
            (torch.zeros(EXAMPLE_SHAPE, dtype=torch.uint8),),
            file,  # type: ignore[arg-type]  # torch's annotation lacks files in memory
            input_names=["images"],
            output_names=["maps"],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    return file.getvalue()


class ThreadCountCache(Generic[T]):
    """Builds one object per number of threads of a caller.

    A caller's number of threads is torch's for the calling thread: all cores, or its part of them
    (`inference.concurrency.limit_torch_threads`).

    Args:
        build: (threads, callers) -> object; `callers` concurrent callers with `threads` threads each use all
            cores.
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

    One model with dynamic shape runs all images. A new shape costs about half a forward pass once. A model
    with a fixed shape is about 5 % faster, but compiling it takes as long as three forward passes.
    """

    def __init__(self, model: bytes, precision: str) -> None:
        self._core = _openvino_core()
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
        """Compile the model; return it and its list of idle requests, empty at first."""
        options: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": threads * callers,
            "NUM_STREAMS": callers,
            "ENABLE_CPU_PINNING": False,  # pinning would bind several processes to the same cores
            "CPU_RUNTIME_CACHE_CAPACITY": MAX_CACHED_LAYERS,
        }
        if self._precision == "fp32":  # otherwise OpenVINO uses bf16 where the CPU is fast at it
            options["INFERENCE_PRECISION_HINT"] = "f32"
        return self._core.compile_model(self._model, "CPU", options), []


@functools.cache
def _openvino_core() -> Any:
    """Create OpenVINO's core once; it is never freed.

    OpenVINO's CPU engine moves the signal stack (sigaltstack) of the thread that creates it into its own
    memory. If the engine is freed in another thread, the first thread's next signal, such as Ctrl-C, writes
    to freed memory.
    """
    return importlib.import_module("openvino").Core()


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
        # the session's own threads run for all callers, beside the calling threads
        options.intra_op_num_threads = (threads - 1) * callers + 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        return self._runtime.InferenceSession(self._model, options, providers=["CPUExecutionProvider"])


NETWORKS: dict[str, Callable[[bytes, str], Network]] = {
    "openvino": OpenVINONetwork,
    "onnx": ONNXRuntimeNetwork,
}


def _check_arguments(runtime: str, precision: str, device: torch.device, run: str) -> None:
    """Raise ValueError if the runtime is unknown or does not support the other arguments."""
    if runtime not in get_args(Runtime):
        raise ValueError(f"runtime: expected one of {', '.join(get_args(Runtime))}, got {runtime!r}")
    if runtime not in PACKAGES:
        return
    arguments = (("device", device.type, ("cpu",)), ("run", run, ("eager",)))
    for name, value, supported in (*arguments, ("precision", precision, PRECISIONS[runtime])):
        if value not in supported:
            raise ValueError(
                f"runtime {runtime!r}: expected {name} {' or '.join(supported)}, got {value}; "
                f"choose that, or runtime torch"
            )


def _list_usable_runtimes(precision: str, device: torch.device, run: str) -> list[str]:
    """List the optional runtimes that support the arguments, fastest first."""
    if device.type != "cpu" or run != "eager":
        return []
    return [name for name in PACKAGES if precision in PRECISIONS[name]]


def _import_packages(name: str, required: bool) -> bool:
    """Import a runtime's packages; return False if an import fails.

    Raises:
        ValueError: an import fails, and the runtime is required.
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
    """Convert the fused network for an optional runtime and compare it with torch on a random image.

    Raises:
        Exception: the runtime fails, or its maps differ from torch's.
    """
    network = NETWORKS[name](export_onnx(fused), precision)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (1, 128, 64, 3), dtype=torch.uint8, generator=generator)
    with torch.inference_mode():
        expected = fused(images)
        difference = ((network(images) - expected).abs().max() / expected.abs().max()).item()
    if not difference <= TOLERANCES[precision]:  # also raised for NaN
        raise ValueError(f"expected torch's maps within {TOLERANCES[precision]}, got {difference:.2g}")
    return network


def _raise_or_warn(name: str, error: Exception, required: bool) -> None:
    lines = str(error).strip().splitlines() or ["no message"]
    message = f"runtime {name!r} does not work here: {type(error).__name__}: {lines[0]}"
    if required:
        install = f"pip install --force-reinstall 'simplepose[{name}]'"
        raise ValueError(f"{message}; run: {install}, or choose runtime torch") from error
    _warn_once(f"{message}; another runtime is used")


@functools.cache
def _warn_once(message: str) -> None:
    logger.warning(message)
