"""Evaluation: COCO AP, and the tracking metrics MOTA and IDF1."""
