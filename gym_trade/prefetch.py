"""Two things that a processor does better than a loop: block copies, and loading ahead.

Lanes stand at random places of the market, so that each lane's first look at its bars and windows
would wait for memory. The kernel asks for the next lanes' data while it works on this one.
"""

from __future__ import annotations

from typing import Any

from numba import types as numba_types
from numba.core import cgutils
from numba.extending import intrinsic

from gym_trade.jit import numba_config

_get_function: Any = cgutils.get_or_insert_function
_copy_memory: Any = cgutils.raw_memcpy


def _prefetch_in_python(array: Any, index: int) -> None:
    """Nothing to do without compiled code."""


@intrinsic  # type: ignore[untyped-decorator]
def _prefetch_compiled(typing_context: Any, array: Any, index: Any) -> Any:
    """Prefetch the cache line of a contiguous array's element `index`; it may lie outside."""
    import llvmlite.ir as ir

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        word, pointer = ir.IntType(32), cgutils.voidptr_t
        address = builder.bitcast(builder.gep(data, [arguments[1]]), pointer)
        kind = ir.FunctionType(ir.VoidType(), [pointer, word, word, word])
        function = _get_function(builder.module, kind, "llvm.prefetch.p0")
        read, keep, data_cache = word(0), word(3), word(1)
        builder.call(function, [address, read, keep, data_cache])
        return context.get_dummy_value()

    return numba_types.void(array, numba_types.intp), generate


def _copy_in_python(source: Any, begin: int, target: Any, at: int, count: int) -> None:
    target[at : at + count] = source[begin : begin + count]


@intrinsic  # type: ignore[untyped-decorator]
def _copy_compiled(
    typing_context: Any, source: Any, begin: Any, target: Any, at: Any, count: Any
) -> Any:
    """One block copy; numba's own loop would test for overlap and finish element by element."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        made = [
            context.make_array(signature.args[k])(context, builder, arguments[k]) for k in (0, 2)
        ]
        size = context.get_abi_sizeof(context.get_data_type(source.dtype))
        read = builder.gep(made[0].data, [arguments[1]])
        write = builder.gep(made[1].data, [arguments[3]])
        _copy_memory(builder, write, read, arguments[4], size)
        return context.get_dummy_value()

    i = numba_types.intp
    return numba_types.void(source, i, target, i, i), generate


copy_block: Any = _copy_in_python if numba_config.DISABLE_JIT else _copy_compiled
prefetch: Any = _prefetch_in_python if numba_config.DISABLE_JIT else _prefetch_compiled
