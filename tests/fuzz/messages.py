"""Spoiling ONNX files field by field: names, dimensions, types, attributes, weights, whole nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx

from .mutate import NUMBERS

_FLOATS = (0.0, -1.0, 1e38, float("nan"), float("inf"), float("-inf"))


def spoil_message(content: bytes, mutations: list[tuple[float, int, int]]) -> bytes:
    """Apply mutations: (where among all fields that are set, which value, how)."""
    model = onnx.ModelProto.FromString(content)
    for where, which, how in mutations:
        places = list(_places(model))
        if not places:
            break
        message, field = places[int(where * len(places))]
        _spoil(model, message, field, which, how)
    return model.SerializeToString()


def _places(message: Any) -> Iterator[tuple[Any, Any]]:
    """Every field that is set, of the message and of all messages in it."""
    for field, value in message.ListFields():
        yield message, field
        if field.type == field.TYPE_MESSAGE:
            for inner in value if _is_repeated(value) else [value]:
                yield from _places(inner)


def _is_repeated(value: Any) -> bool:
    return not isinstance(value, (str, bytes)) and hasattr(value, "__len__")


def _spoil(model: Any, message: Any, field: Any, which: int, how: int) -> None:
    value = getattr(message, field.name)
    if how % 5 == 0:
        message.ClearField(field.name)
        return
    if _is_repeated(value):
        index = which % len(value)
        if how % 5 == 1:
            del value[index]
        elif how % 5 == 2 and field.type == field.TYPE_MESSAGE:
            value.add().CopyFrom(value[index])
        elif field.type != field.TYPE_MESSAGE:
            new = _other(model, value[index], field, which, how)
            if new is not None:
                value[index] = new
        return
    if field.type != field.TYPE_MESSAGE:
        new = _other(model, value, field, which, how)
        if new is not None:
            setattr(message, field.name, new)


def _other(model: Any, value: Any, field: Any, which: int, how: int) -> Any:
    if isinstance(value, bytes):
        return (value[: len(value) // 2], value * 2, b"", bytes(len(value)), b"\xff" * len(value))[which % 5]
    if isinstance(value, str):
        names = sorted({name for node in model.graph.node for name in (*node.input, *node.output, node.op_type)})
        return (*names, "", "x" * 3000, "ü\n“", "../..", "\0")[which % (len(names) + 5)]
    if isinstance(value, float):
        return _FLOATS[which % len(_FLOATS)]
    if field.enum_type is not None:
        return field.enum_type.values[which % len(field.enum_type.values)].number
    number = NUMBERS[which % len(NUMBERS)]
    number = value + (which % 7) - 3 if how % 2 else -number if how % 4 == 0 else number
    bits = 31 if field.type == field.TYPE_INT32 else 63
    return max(min(number, 2**bits - 1), -(2**bits))
