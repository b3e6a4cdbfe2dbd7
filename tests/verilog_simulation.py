"""Runs exported Verilog in Icarus Verilog."""

import subprocess
from pathlib import Path

import numpy as np


def _bits(x: np.ndarray) -> np.ndarray:
    """The port of each input (N, bits), its highest bit first; bytes have eight bits a pixel."""
    flat = x.reshape(len(x), -1)
    if x.dtype == np.uint8:
        flat = np.unpackbits(flat, axis=1, bitorder="little")
    return flat[:, ::-1]


def simulate(path: Path, x: np.ndarray, like: np.ndarray, *, pipelined: bool = False) -> np.ndarray:
    """What the module in a file computes.

    Args:
      path: of the Verilog; the bench and its files go beside it.
      x: bool or uint8 (N, *input_shape).
      like: an array (N, ...) of the shape and dtype of the outputs: bool, or int32 scores.
      pipelined: whether the module has a clock.
    """
    text = path.read_text()
    entry = next(line for line in text.splitlines() if "wire [" in line and line.endswith(" x,"))
    port = "scores" if like.dtype == np.int32 else "y"
    width = next(line for line in text.splitlines() if line.rstrip(",").endswith(f"] {port}"))
    stages = text.count("always @(posedge clock)")
    vectors = path.with_suffix(".txt")
    vectors.write_bytes(
        b"".join(row.tobytes() + b"\n" for row in _bits(x).astype(np.uint8) + ord("0"))
    )
    bench = path.with_name("bench.v")
    bench.write_text(
        f"module bench;\n  reg clock = 0;\n  reg {entry.split('wire ')[1][:-1]};\n"
        f"  wire {width[width.index('[') :].rstrip(',')};\n  integer file, read;\n"
        f"  network under_test ({'.clock(clock), ' * pipelined}.x(x), .{port}({port}));\n"
        f'  initial begin\n    file = $fopen("{vectors}", "r");\n'
        f"    repeat ({len(x)}) begin\n"
        '      read = $fscanf(file, "%b\\n", x);\n'
        f"      repeat ({stages}) begin #1 clock = 1; #1 clock = 0; end\n"
        f'      #1 $display("%b", {port});\n    end\n  end\nendmodule\n'
    )
    program = path.with_name("bench")
    subprocess.run(["iverilog", "-Wall", "-o", program, path, bench], check=True)
    done = subprocess.run(["vvp", program], check=True, capture_output=True)
    lines = done.stdout.split()
    assert len(lines) == len(x)
    bits = (np.frombuffer(b"".join(lines), np.uint8).reshape(len(x), -1) - ord("0"))[:, ::-1]
    if like.dtype == bool:
        return bits.astype(bool).reshape(like.shape)
    digits = bits.reshape(*like.shape, -1).astype(np.int32)
    values = digits @ (1 << np.arange(digits.shape[-1], dtype=np.int32))
    return values - (digits[..., -1] << digits.shape[-1])
