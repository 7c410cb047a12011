"""Readers and checks of our ONNX graphs: layers, precisions, chains, constants. Depends on ``errors`` alone."""
