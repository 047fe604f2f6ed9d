"""Bodies that came compressed: made plain within the same bound as others."""

import zlib

from warehouse.base.errors import BodyTooLarge, InferhouseError, InvalidRequest

_WINDOW_BITS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}


class EncodingUnknown(InferhouseError):
    """The body is compressed in a way that is not understood here; nothing of it was used."""

    status, code, type = 415, "unsupported_encoding", "invalid_request_error"

    def __init__(self) -> None:
        super().__init__("the body's Content-Encoding is none of gzip, deflate and identity")
        self.lines = b"accept-encoding: gzip, deflate, identity\r\n"  # RFC 7694 (3)


def plain_body(body: bytes, encoding: bytes, bytes_max: int) -> bytes:
    """The body before it was compressed. Args: encoding: the Content-Encoding header.

    Raises: EncodingUnknown.  BodyTooLarge: more than `bytes_max` come out; no more than that is ever made.  InvalidRequest.
    """
    name = encoding.strip().lower()
    if name in (b"", b"identity"):
        return body
    if name not in _WINDOW_BITS:
        raise EncodingUnknown
    inflate = zlib.decompressobj(_WINDOW_BITS[name])
    try:
        data = inflate.decompress(body, bytes_max + 1)
    except zlib.error as error:
        raise InvalidRequest(f"the body is not what its Content-Encoding says: {name.decode()}") from error
    if len(data) > bytes_max:
        raise BodyTooLarge(f"the body is larger than {bytes_max} bytes when it is decompressed")
    if not inflate.eof:
        raise InvalidRequest("the compressed body is cut short")
    if inflate.unused_data:  # of which nobody would see anything
        raise InvalidRequest("the compressed body has something behind its end: compress it as one piece")
    return data
