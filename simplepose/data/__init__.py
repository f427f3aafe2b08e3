"""Training data: COCO annotations -> an HDF5 file -> augmented batches."""
