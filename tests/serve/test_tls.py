"""HTTPS and gRPC over TLS by certificate files, in a server of its own; and files that do not do."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from socket import create_server

import grpc
import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.programs import sightline
from tests.serve.conftest import only_cause
from tests.serve.processes import server_process
from tritonclient.grpc import service_pb2, service_pb2_grpc


def made_pair(folder: Path, name: str = "server", password: bytes | None = None) -> tuple[Path, Path]:
    """Write a certificate of the loopback that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    locked = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    cert_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    return cert_file, key_file


def test_https_and_grpc_are_served_with_the_files(tmp_path: Path) -> None:
    certificate, key = made_pair(tmp_path)
    with create_server(("127.0.0.1", 0)) as free:
        grpc_port = free.getsockname()[1]
    files: list[str | Path] = ["--tls-cert", certificate, "--tls-key", key, "--grpc-port", str(grpc_port)]
    with server_process(tmp_path, *files) as server:
        assert server.scheme == "https"
        trusting = ssl.create_default_context(cafile=str(certificate))
        with httpx2.Client(base_url=server.url, verify=trusting, timeout=30) as client:
            assert client.get("/livez").status_code == 200
            assert client.get("/api/v1/models").status_code == 200
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(server.url + "/livez", timeout=30)  # nobody else vouches for it
        with pytest.raises(httpx2.TransportError):
            httpx2.get(server.url.replace("https", "http") + "/livez", timeout=30)
        credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
        with grpc.secure_channel(f"127.0.0.1:{grpc_port}", credentials) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            assert stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=20).live
        with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            with pytest.raises(grpc.RpcError):
                stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=20)


def test_files_that_do_not_do_are_told(tmp_path: Path) -> None:
    certificate, key = made_pair(tmp_path)
    _, other = made_pair(tmp_path, "other")
    _, locked = made_pair(tmp_path, "locked", b"secret")
    noise = tmp_path / "noise.pem"
    noise.write_text("no certificate")
    cases: list[tuple[list[str | Path], str]] = [
        (["--tls-cert", certificate], "key"),
        (["--tls-key", key], "certificate"),
        (["--tls-cert", certificate, "--tls-key", tmp_path / "nowhere.key"], "nowhere.key"),
        (["--tls-cert", certificate, "--tls-key", other], "mismatch"),
        (["--tls-cert", certificate, "--tls-key", locked], "password"),
        (["--tls-cert", noise, "--tls-key", key], "noise.pem"),
    ]
    for files, said in cases:
        finished = sightline(tmp_path, "serve", "--port", "0", *files)
        assert finished.code == 4, finished
        assert said in only_cause(finished)
        assert "serving" not in finished.err
