"""Reading and checking our ONNX graphs, by one recognizer; depends on ``errors`` alone.

``reader`` makes a ``network`` (scalers, layers, activations, Q/DQ pairs in order) of a graph; ``chain`` is its float32
form, with which quantization computes; ``graph`` counts the precisions of any graph; ``reference`` runs a graph without
optimizations.
"""
