"""Programs of C that try the counters of `engine.c` by themselves, on 64 samples."""

import subprocess

from bimonn_jax.deployment.c.engine import ENGINE

# What the engine reads of any network: here it has one number, and nothing is computed of it.
_NETWORK = """
#include <stdint.h>
#include <stdio.h>

enum { NETWORK_LANES = 1 };
typedef struct { uint64_t lane[NETWORK_LANES]; } network_block;
typedef struct { network_block image_0[1]; } network_workspace;
typedef uint8_t pixel;
enum { VALUES = 1, CHANNELS = 1, LEVELS = 1 };
static const pixel thresholds[1][1] = {{1}};
typedef uint32_t literal;
static const network_block *compute(network_workspace *w) { return w->image_0; }

#define ENGINE_WORDS 1
#define ENGINE_COUNTER 1
"""


def tried_and_wrong(source, folder, digits, missing=0):
    """(Cases tried, wrong results), which the source prints, with counters of this many digits.

    The source includes "engine.c", after what it needs beside `_NETWORK`, and has all cases that
    take ``DIGITS + MISSING`` digits.
    """
    program, text = folder / f"counters_{digits}_{missing}", folder / "counters.c"
    text.write_text(_NETWORK + source)
    command = ["gcc", "-std=c99", "-O2", "-Wall", "-Werror", f"-I{ENGINE.parent}"]
    command += [f"-DDIGITS={digits - missing}", f"-DMISSING={missing}"]
    subprocess.run([*command, "-o", program, text], check=True)
    done = subprocess.run([program], check=True, capture_output=True, text=True)
    tried, wrong = map(int, done.stdout.split())
    return tried, wrong
