"""Reading and checking our ONNX graphs, by one recognizer; depends on ``errors`` and ``io``.

``reader`` makes a ``network`` (scalers, layers, activations, Q/DQ pairs in order) of a graph; ``chain`` is its float32
form, with which quantization computes; ``precision`` counts the multiply-adds of any graph by precision;
``unoptimized`` runs a graph without optimizations.
"""
