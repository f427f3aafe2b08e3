"""HDF5 files of training samples: layouts, reading, writing and verification."""
