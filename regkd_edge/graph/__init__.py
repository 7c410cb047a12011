"""Reading and checking our ONNX graphs: layers, precisions, chains, constants. Stands on ``errors`` alone."""
