"""Runs exported Verilog in Icarus Verilog, or, for many inputs, compiled by Verilator."""

import re
import subprocess
from pathlib import Path

import numpy as np


def _bits(x: np.ndarray) -> np.ndarray:
    """The port of each input (N, bits), its highest bit first; bytes have eight bits a pixel."""
    flat = x.reshape(len(x), -1)
    if x.dtype == np.uint8:
        flat = np.unpackbits(flat, axis=1, bitorder="little")
    return flat[:, ::-1]


def _outputs(bits: np.ndarray, like: np.ndarray) -> np.ndarray:
    """The outputs from the bits of their port (N, bits), its lowest bit first."""
    if like.dtype == bool:
        return bits.astype(bool).reshape(like.shape)
    digits = bits.reshape(*like.shape, -1).astype(np.int32)
    values = digits @ (1 << np.arange(digits.shape[-1], dtype=np.int32))
    return values - (digits[..., -1] << digits.shape[-1])


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
    # A pipeline gets an image at every clock, and gives its output so many clocks later.
    latency = int(re.search(r"an image a clock cycle, after (\d+)", text)[1]) if pipelined else 0
    waiting = max(latency - 1, 0)
    tick = "#1 clock = 1; #1 clock = 0; " if latency else ""
    show = f'{tick}#1 $display("%b", {port});'
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
        f'      read = $fscanf(file, "%b\\n", x);\n      {show}\n    end\n'
        f"    repeat ({waiting}) begin {show} end\n  end\nendmodule\n"
    )
    program = path.with_name("bench")
    subprocess.run(["iverilog", "-Wall", "-o", program, path, bench], check=True)
    done = subprocess.run(["vvp", program], check=True, capture_output=True)
    lines = done.stdout.split()[waiting:]
    assert len(lines) == len(x)
    bits = (np.frombuffer(b"".join(lines), np.uint8).reshape(len(x), -1) - ord("0"))[:, ::-1]
    return _outputs(bits, like)


_DRIVER = """\
// Runs the module on inputs from standard input: bytes side by side, lowest bit first.
#include <cstdio>
#include <cstring>
#include "Vnetwork.h"

int main() {{
  Vnetwork network;
  unsigned char x[{x_bytes}];
  while (fread(x, 1, sizeof x, stdin) == sizeof x) {{
    memcpy(&network.x, x, sizeof x);
    {step}
    fwrite(&network.{port}, 1, {y_bytes}, stdout);
  }}
}}
"""


def simulate_compiled(
    path: Path, x: np.ndarray, like: np.ndarray, *, pipelined: bool = False
) -> np.ndarray:
    """What the module in a file computes, by Verilator: many inputs.

    Args:
      path: of the Verilog; the program and its files go beside it.
      x: bool or uint8 (N, *input_shape).
      like: an array (N, ...) of the shape and dtype of the outputs: bool, or int32 scores.
      pipelined: whether the module has a clock.
    """
    port = "scores" if like.dtype == np.int32 else "y"
    text = path.read_text()
    widths = re.findall(rf"(?:wire|reg) \[(\d+):0\] (x|{port}),?$", text, re.MULTILINE)
    x_bytes, y_bytes = ((int(width) + 8) // 8 for width, _ in widths)
    driver = path.with_name("driver.cpp")
    step = "network.eval();"
    if pipelined:
        stages = text.count("always @(posedge clock)")
        step = (
            f"for (int i = 0; i < {2 * stages}; i++) {{ network.clock = i % 2; network.eval(); }}"
        )
    driver.write_text(_DRIVER.format(port=port, x_bytes=x_bytes, y_bytes=y_bytes, step=step))
    objects = path.with_name("objects")
    build = ["verilator", "--cc", "--exe", "--build", "-O3", "--output-split", "20000"]
    build += ["-CFLAGS", "-O1", "--Mdir", str(objects), "--top-module", "network"]
    subprocess.run([*build, path, driver], check=True, stdout=subprocess.DEVNULL)
    packed = np.packbits(_bits(x)[:, ::-1], axis=1, bitorder="little")
    done = subprocess.run(
        [objects / "Vnetwork"], input=packed.tobytes(), check=True, capture_output=True
    )
    values = np.frombuffer(done.stdout, np.uint8).reshape(len(x), y_bytes)
    width = int(widths[1][0]) + 1
    return _outputs(np.unpackbits(values, axis=1, count=width, bitorder="little"), like)
