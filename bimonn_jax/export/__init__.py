"""Boolean networks as files that other tools take: C, ONNX, StableHLO, Verilog, Python."""
