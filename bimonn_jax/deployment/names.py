"""Names and comments in exported files."""

import keyword
import re
from typing import Literal

Language = Literal["C", "Verilog", "Python"]

# Keywords of C up to C23 and of C++ up to C++23: an exported C file is both.
_C = """
    alignas alignof and and_eq asm atomic_cancel atomic_commit atomic_noexcept auto bitand bitor
    bool break case catch char char8_t char16_t char32_t class co_await co_return co_yield compl
    concept const const_cast consteval constexpr constinit continue decltype default delete do
    double dynamic_cast else enum explicit export extern false float for friend goto if inline int
    long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected
    public reflexpr register reinterpret_cast requires restrict return short signed sizeof static
    static_assert static_cast struct switch synchronized template this thread_local throw true try
    typedef typeid typename typeof typeof_unqual union unsigned using virtual void volatile wchar_t
    while xor xor_eq
"""

# Keywords of SystemVerilog (IEEE 1800-2017, which has those of Verilog), and the ports.
_VERILOG = """
    accept_on alias always always_comb always_ff always_latch and assert assign assume automatic
    before begin bind bins binsof bit break buf bufif0 bufif1 byte case casex casez cell chandle
    checker class clocking cmos config const constraint context continue cover covergroup coverpoint
    cross deassign default defparam design disable dist do edge else end endcase endchecker endclass
    endclocking endconfig endfunction endgenerate endgroup endinterface endmodule endpackage
    endprimitive endprogram endproperty endsequence endspecify endtable endtask enum event
    eventually expect export extends extern final first_match for force foreach forever fork
    forkjoin function generate genvar global highz0 highz1 if iff ifnone ignore_bins illegal_bins
    implements implies import incdir include initial inout input inside instance int integer
    interconnect interface intersect join join_any join_none large let liblist library local
    localparam logic longint macromodule matches medium modport module nand negedge nettype new
    nexttime nmos nor noshowcancelled not notif0 notif1 null or output package packed parameter pmos
    posedge primitive priority program property protected pull0 pull1 pulldown pullup
    pulsestyle_ondetect pulsestyle_onevent pure rand randc randcase randsequence rcmos real realtime
    ref reg reject_on release repeat restrict return rnmos rpmos rtran rtranif0 rtranif1 s_always
    s_eventually s_nexttime s_until s_until_with scalared sequence shortint shortreal showcancelled
    signed small soft solve specify specparam static string strong strong0 strong1 struct super
    supply0 supply1 sync_accept_on sync_reject_on table tagged task this throughout time
    timeprecision timeunit tran tranif0 tranif1 tri tri0 tri1 triand trior trireg type typedef union
    unique unique0 unsigned until until_with untyped use uwire var vectored virtual void wait
    wait_order wand weak weak0 weak1 while wildcard wire with within wor xnor xor
    clock scores x y
"""

# What an exported Python file calls or defines beside the network.
_PYTHON = """
    binary_dilation binary_erosion enumerate footprint level_sets math np union_over_windows
"""

_RESERVED = {
    "C": frozenset(_C.split()),
    "Verilog": frozenset(_VERILOG.split()),
    "Python": frozenset([*keyword.kwlist, *_PYTHON.split()]),
}


def check_identifier(name: str, language: Language) -> None:
    """Raises ValueError unless ``name`` can be the name of a network in a language.

    In C it is the prefix of all public names, in Verilog the name of the module, in Python that of
    the function.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(
            f"name must be letters, digits and underscores, a letter first; got {name!r}"
        )
    is_stage = language == "Verilog" and re.fullmatch(r"stage_[0-9]+", name)
    if name in _RESERVED[language] or is_stage:
        raise ValueError(f"name must not be {name!r}, which has a meaning in {language}: add to it")


def in_comment(text: str) -> str:
    """Text for a comment of any language: ASCII, and nothing that could end the comment."""
    return re.sub(r"[^A-Za-z0-9_/., -]", "?", text)
