"MTProto on one socket: frames, the key exchange and the encrypted envelope, on Telethon's own classes and crypto."

import asyncio
import os
import struct
import time
from collections.abc import AsyncIterator, Iterator
from hashlib import sha1, sha256
from typing import Any
from zlib import crc32

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from telethon.crypto import AES, AuthKey, rsa
from telethon.extensions import BinaryReader
from telethon.helpers import generate_key_data_from_nonce
from telethon.network.mtprotostate import MTProtoState
from telethon.tl import TLObject, types
from telethon.tl.core import GzipPacked, MessageContainer
from telethon.tl.functions import ReqDHParamsRequest, ReqPqMultiRequest, SetClientDHParamsRequest

PRIME = int(  # RFC 3526, group 14
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F14374FE1356D"
    "6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A"
    "69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E86039B2783A2"
    "EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF",
    16,
)
P, Q = 10007, 10009


class ServerKey:
    "The RSA key that the client must know before it says a word."

    def __init__(self) -> None:
        key = generate_private_key(65537, 2048)
        self.pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1)
        self.n, self.d = key.public_key().public_numbers().n, key.private_numbers().d
        number = rsa.get_byte_array
        self.fingerprint = struct.unpack(
            "<q", sha1(TLObject.serialize_bytes(number(self.n)) + TLObject.serialize_bytes(number(65537))).digest()[-8:]
        )[0]

    def trust(self) -> None:
        "Make this the only server key that Telethon accepts in this process."
        rsa._server_keys.clear()
        rsa.add_key(self.pem, old=False)


class Gone(Exception):
    "The other side closed the connection."


class Wire:
    "One connection: hands out the requests that arrive and encrypts what is sent."

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: ServerKey, keys: dict[int, AuthKey]) -> None:
        self.reader, self.writer, self.server_key, self.keys = reader, writer, key, keys
        self.auth: AuthKey | None = None
        self.session = self.frames = self.last_id = self.sequence = 0

    async def frame(self) -> bytes:
        "One TCP-full frame, its checksum verified."
        try:
            head = await self.reader.readexactly(8)
            body = await self.reader.readexactly(struct.unpack("<i", head[:4])[0] - 8)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Gone from error
        assert struct.unpack("<I", body[-4:])[0] == crc32(head + body[:-4])
        return body[:-4]

    def write(self, body: bytes) -> None:
        if self.writer.is_closing():
            return
        packet = struct.pack("<ii", len(body) + 12, self.frames) + body
        self.frames += 1
        self.writer.write(packet + struct.pack("<I", crc32(packet)))

    def next_id(self) -> int:
        "Odd and increasing, as a server's must be."
        self.last_id = max(self.last_id + 4, int(time.time() * 2**32) // 4 * 4 + 1)
        return self.last_id

    async def requests(self) -> AsyncIterator[tuple[int, Any]]:
        "Requests in order, as (message id, object); the key exchange is served on the way."
        exchange = Exchange(self.server_key)
        while True:
            body = await self.frame()
            if body[:8] == bytes(8):
                answer = exchange.answer(read(body[20:]))
                if exchange.auth:
                    self.keys[exchange.auth.key_id] = exchange.auth
                plain = bytes(answer)
                self.write(struct.pack("<qqi", 0, self.next_id(), len(plain)) + plain)
                continue
            self.auth = self.keys.get(struct.unpack("<Q", body[:8])[0])
            if self.auth is None:
                self.write(struct.pack("<i", -404))
                raise Gone
            for item in self.open(body):
                yield item

    def open(self, body: bytes) -> Iterator[tuple[int, Any]]:
        assert self.auth
        key = self.auth.key
        plain = AES.decrypt_ige(body[24:], *MTProtoState._calc_key(key, body[8:24], True))
        assert sha256(key[88:120] + plain).digest()[8:24] == body[8:24]
        _, self.session, message_id, _, length = struct.unpack("<qqqii", plain[:32])
        return unwrap(message_id, read(plain[32 : 32 + length]))

    def send(self, body: bytes) -> None:
        "Encrypt one object for the client."
        if self.auth is None:
            return
        self.sequence += 2
        key = self.auth.key
        plain = struct.pack("<qqqii", 0, self.session, self.next_id(), self.sequence + 1, len(body)) + body
        plain += os.urandom(-(len(plain) + 12) % 16 + 12)
        message_key = sha256(key[96:128] + plain).digest()[8:24]
        sealed = AES.encrypt_ige(plain, *MTProtoState._calc_key(key, message_key, False))
        self.write(struct.pack("<Q", self.auth.key_id) + message_key + sealed)

    def reply(self, message_id: int, body: bytes) -> None:
        "Answer a request: `rpc_result` has no class that packs it."
        self.send(struct.pack("<Iq", 0xF35C6D01, message_id) + body)


class Exchange:
    "The Diffie-Hellman exchange that gives both sides the authorization key."

    def __init__(self, key: ServerKey) -> None:
        self.key, self.auth = key, None
        self.server_nonce = int.from_bytes(os.urandom(16), "little", signed=True)
        self.a = int.from_bytes(os.urandom(256), "big") % PRIME

    def answer(self, request: Any) -> TLObject:
        number = rsa.get_byte_array
        if isinstance(request, ReqPqMultiRequest):
            return types.ResPQ(request.nonce, self.server_nonce, number(P * Q), [self.key.fingerprint])
        if isinstance(request, ReqDHParamsRequest):
            opened = pow(int.from_bytes(request.encrypted_data, "big"), self.key.d, self.key.n).to_bytes(255, "big")
            self.new_nonce = read(opened[20:]).new_nonce
            self.secret = generate_key_data_from_nonce(self.server_nonce, self.new_nonce)
            inner = bytes(
                types.ServerDHInnerData(request.nonce, self.server_nonce, 2, number(PRIME), number(pow(2, self.a, PRIME)), int(time.time()))
            )
            answer = sha1(inner).digest() + inner
            return types.ServerDHParamsOk(
                request.nonce, self.server_nonce, AES.encrypt_ige(answer + bytes(-len(answer) % 16), *self.secret)
            )
        assert isinstance(request, SetClientDHParamsRequest), request
        inner = read(AES.decrypt_ige(request.encrypted_data, *self.secret)[20:])
        # 256 bytes, as Telegram makes it: one key in 256 begins with a zero, which Telethon drops; it sees another hash, and tries anew.
        self.auth = AuthKey(pow(int.from_bytes(inner.g_b, "big"), self.a, PRIME).to_bytes(256, "big"))
        return types.DhGenOk(request.nonce, self.server_nonce, self.auth.calc_new_nonce_hash(self.new_nonce, 1))


def read(data: bytes) -> Any:
    "The TL object at the start of `data`."
    with BinaryReader(data) as reader:
        return reader.tgread_object()


def unwrap(message_id: int, item: Any) -> Iterator[tuple[int, Any]]:
    "Requests inside containers, gzip and the invoke-with wrappers."
    if isinstance(item, MessageContainer):
        for inner in item.messages:
            yield from unwrap(inner.msg_id, inner.obj)
    elif isinstance(item, GzipPacked):
        yield from unwrap(message_id, read(item.data))
    elif hasattr(item, "query"):
        yield from unwrap(message_id, item.query)
    else:
        yield message_id, item
