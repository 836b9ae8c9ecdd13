"""The calls of etcd's services on a channel of ``grpc`` or of ``grpc.aio``."""

from __future__ import annotations

from typing import Any

from fsm_saga.etcd import messages as pb
from fsm_saga.etcd.schema import Method


def open_callable(channel: Any, method: Method) -> Any:
    """Return what makes this call on the channel."""
    shape = {
        (False, False): "unary_unary",
        (False, True): "unary_stream",
        (True, False): "stream_unary",
        (True, True): "stream_stream",
    }[method.is_request_stream, method.is_answer_stream]
    return getattr(channel, shape)(
        method.path,
        request_serializer=getattr(pb, method.request).SerializeToString,
        response_deserializer=getattr(pb, method.answer).FromString,
    )
