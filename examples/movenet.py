"""Find people with Google's MoveNet MultiPose Lightning, and write them in COCO's result format.

The results can be evaluated beside those of this project: see docs/evaluation.md. The network and the decoder
are those of the published TensorFlow.js graph, here in PyTorch: six people an image, the keypoints of each in
its own bounding box. An image is resized to the given longer side.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from simplepose import image_io
from simplepose.models.encoders import PYRAMID_BLOCKS, MobileNetV2
from simplepose.models.importers import import_movenet, read_graph_model
from simplepose.utils import atomic

STRIDE, MULTIPLE = 4, 32
MAX_PEOPLE = 6
# Side of the square in which a person's center is the largest value, cells.
PEAK_WINDOW = 5
# A keypoint counts in a person's score from this score on.
MIN_KEYPOINT_SCORE = 0.127
# Weight of a heatmap at d cells from the regressed keypoint: exp(-d^2 / (REACH * shorter side)).
REACH = 0.3

# Head -> numbers of its separable and its last convolution in the graph.
HEADS = {
    "center_0": (3, 4),
    "box_scale_0": (4, 5),
    "box_offset_0": (5, 6),
    "kpt_heatmap_0": (6, 7),
    "kpt_regress_0": (7, 8),
    "kpt_offset_0": (8, 9),
}


class MoveNet(nn.Module):
    """MoveNet MultiPose Lightning with its published weights.

    Args:
        path: movenet-multipose.json, a TensorFlow.js graph model; its binary file is in the same folder.

    Raises:
        FileNotFoundError, ValueError: see `import_movenet`; or it is a MoveNet for one person.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        imported = import_movenet(path)
        self.encoder = MobileNetV2(imported.multiplier)
        self.encoder.load_state_dict(imported.state)
        constants = read_graph_model(path)
        if not any("box_scale_0" in name for name in constants):
            raise ValueError(f"{path}: expected MoveNet MultiPose, got a MoveNet for one person")
        self.heads = nn.ModuleDict({name: _build_head(constants, name) for name in HEADS})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) BGR in [0, 1], H and W multiples of 32 -> (N, C, H / 4, W / 4) maps by head."""
        skip = self.encoder.blocks[PYRAMID_BLOCKS[0]].project.out_channels
        finest = self.encoder(images)[0]
        features = finest[:, skip : skip + self.encoder.smooth[0].pointwise.out_channels]
        return {name: head(features) for name, head in self.heads.items()}


def _build_head(constants: dict[str, np.ndarray], name: str) -> nn.Sequential:
    """Build a head from its constants: 3x3 depthwise, 1x1, ReLU, 1x1."""
    separable, last = HEADS[name]
    hidden = f"StatefulPartitionedCall/{name}/separable_conv2d_{separable}"
    output = f"StatefulPartitionedCall/{name}/conv2d_{last}"
    kernels = [
        (constants[f"{hidden}/separable_conv2d/ReadVariableOp"].transpose(2, 3, 0, 1), None),
        (
            constants[f"{hidden}/separable_conv2d/ReadVariableOp_1"].transpose(3, 2, 0, 1),
            constants[f"{hidden}/BiasAdd/ReadVariableOp"],
        ),
        (
            constants[f"{output}/Conv2D/ReadVariableOp"].transpose(3, 2, 0, 1),
            constants[f"{output}/BiasAdd/ReadVariableOp"],
        ),
    ]
    layers = []
    for number, (kernel, bias) in enumerate(kernels):
        outputs, inputs, side, _ = kernel.shape
        groups = 1 if number else outputs
        layer = nn.Conv2d(
            inputs * groups, outputs, side, padding=side // 2, groups=groups, bias=bias is not None
        )
        layer.weight.data = torch.from_numpy(np.ascontiguousarray(kernel))
        if bias is not None:
            layer.bias.data = torch.from_numpy(bias)
        layers.append(layer)
    return nn.Sequential(layers[0], layers[1], nn.ReLU(), layers[2])


def decode(maps: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Find the people of one image in the maps of `MoveNet`, as the published graph does.

    Returns:
        (6, 17, 3) keypoints, x and y in pixels of the model input and a score, and (6,) scores of the people.
    """
    centers = maps["center_0"][0, 0].sigmoid()
    height, width = centers.shape
    peaks = centers * (centers == functional.max_pool2d(centers[None], PEAK_WINDOW, 1, PEAK_WINDOW // 2)[0])
    center_scores, indices = peaks.flatten().topk(MAX_PEOPLE)
    y, x = indices // width, indices % width
    cells = torch.stack([y, x], 1)

    half_size = maps["box_scale_0"][0, :, y, x].T.clamp(min=0) / 2
    middle = cells + maps["box_offset_0"][0, :, y, x].T
    rows, columns = torch.arange(height), torch.arange(width)
    limits = torch.tensor([height, width])
    first, last = (middle - half_size).clamp(min=0), torch.minimum(middle + half_size, limits)
    in_rows = (rows >= first[:, :1]) & (rows < last[:, :1])
    in_columns = (columns >= first[:, 1:]) & (columns < last[:, 1:])
    in_box = (in_rows[:, :, None] & in_columns[:, None, :])[:, None]

    expected = cells[:, None] + maps["kpt_regress_0"][0, :, y, x].T.reshape(MAX_PEOPLE, -1, 2)
    distance = (rows[:, None] - expected[..., 0, None, None]) ** 2
    distance = distance + (columns - expected[..., 1, None, None]) ** 2
    heatmaps = maps["kpt_heatmap_0"][0].sigmoid()
    weighted = heatmaps * torch.exp(-distance / (REACH * min(height, width))) * in_box

    keypoints = weighted.flatten(2).argmax(2)  # (6, 17) cells
    joints = torch.arange(keypoints.shape[1])
    offsets = maps["kpt_offset_0"][0].reshape(-1, 2, height * width)[joints, :, keypoints]
    scores = weighted.amax(0).flatten(1)[joints, keypoints]
    xy = STRIDE * torch.stack([keypoints % width + offsets[..., 1], keypoints // width + offsets[..., 0]], 2)
    counted = scores > MIN_KEYPOINT_SCORE
    people = center_scores * (scores * counted).sum(1) / counted.sum(1).clamp(min=1)
    return torch.cat([xy, scores[..., None]], 2), people


def find_people(network: MoveNet, image: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the people of one image.

    Args:
        network: the network with its weights.
        image: (H, W, 3) BGR, uint8.
        side: longer side of the model input, pixels.

    Returns:
        (P, 17, 3) keypoints, x and y in image pixels and a score, and (P,) scores of the people, P <= 6.
    """
    scale = side / max(image.shape[:2])
    height, width = (max(1, round(length * scale)) for length in image.shape[:2])
    resized = cv2.resize(
        image, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    padded = np.pad(resized, ((0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0)))
    with torch.inference_mode():
        maps = network(torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255)
        keypoints, scores = decode(maps)
    found = scores > 0
    to_image = torch.tensor([image.shape[1] / width, image.shape[0] / height, 1])
    return (keypoints[found] * to_image).numpy(), scores[found].numpy()


def main(argv: Sequence[str] | None = None) -> None:
    """Find the people of all images of an annotation file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="movenet-multipose.json")
    parser.add_argument("--annotations", type=Path, required=True, metavar="FILE.json")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR")
    parser.add_argument("--output", type=Path, required=True, metavar="RESULTS.json")
    parser.add_argument("--side", type=int, default=256, help="longer side of the model input (default: 256)")
    args = parser.parse_args(argv)
    network = MoveNet(args.model).eval()
    rows = []
    for entry in tqdm(json.loads(args.annotations.read_bytes())["images"]):
        content = image_io.read_bytes(args.images / entry["file_name"])
        people, scores = find_people(network, image_io.decode(content, upright=False), args.side)
        for keypoints, score in zip(people.round(2), scores.tolist(), strict=True):
            values = {"image_id": entry["id"], "category_id": 1, "keypoints": keypoints.ravel().tolist()}
            rows.append({**values, "score": round(score, 4)})
    atomic.write_json(args.output, rows)
    print(f"{args.output}: {len(rows)} people")


if __name__ == "__main__":
    main()
