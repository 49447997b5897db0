"""The server itself: certificate, ports, and its end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from grpc.aio import _server as grpc_server
from tests.serve.rpc.conftest import serving
from tests.serve.test_serve_process import until

LIVE = "/inference.GRPCInferenceService/ServerLive"


def certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sightline")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


def test_a_certificate_makes_the_port_speak_tls_only(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    tls: dict[str, Any] = {"SIGHTLINE_SERVER__TLS_CERT": str(cert), "SIGHTLINE_SERVER__TLS_KEY": str(key)}
    with serving(tmp_path, **tls) as (_, port):
        trusted = grpc.ssl_channel_credentials(cert.read_bytes())
        with grpc.secure_channel(f"127.0.0.1:{port}", trusted) as channel:
            assert channel.unary_unary(LIVE)(b"", timeout=20) == b"\x08\x01"
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError) as found:
            channel.unary_unary(LIVE)(b"", timeout=20)
        assert found.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_platform_that_ends_is_not_ready_and_takes_no_calls(tmp_path: Path) -> None:
    with serving(tmp_path) as (platform, port), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        ready = channel.unary_unary("/inference.GRPCInferenceService/ServerReady")
        assert ready(b"", timeout=20) == b"\x08\x01"
        platform.stopping = True
        with pytest.raises(grpc.RpcError) as found:
            channel.unary_unary("/inference.GRPCInferenceService/RepositoryIndex")(b"", timeout=20)
        assert found.value.code() is grpc.StatusCode.UNAVAILABLE


def test_where_grpc_cannot_drain_its_calls_are_broken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, over = grpc_server.Server.stop, Event()

    async def fails(server: Any, grace: float | None) -> None:
        if grace is not None:
            raise RuntimeError("Something is wrong.")
        await stop(server, grace)

    def nothing() -> Iterator[bytes]:
        over.wait(60)
        yield b""

    monkeypatch.setattr(grpc_server.Server, "stop", fails)
    with serving(tmp_path) as (platform, port), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.stream_unary("/inference.GRPCInferenceService/ModelInfer").future(nothing(), timeout=60)
        until(lambda: platform.num_running == 1)
        platform.stopping = True
        code = call.code()
        over.set()
    assert code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
